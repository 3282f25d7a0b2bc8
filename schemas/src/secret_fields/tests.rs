//! The declarations against the JSON schemas, and what shows a resource against its secrets.

use std::{collections::BTreeSet, fmt::Debug};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::{
    testing::{CANARY, declared, secret_properties, with_canaries},
    *,
};
use crate::{KeyHash, Tenant};

/// The resource types that belong to a tenant. A list of a tenant that is missing here fails a test.
const RESOURCES: [&str; 4] = ["Endpoint", "Key", "SourceConfig", "Subscription"];

#[track_caller]
fn check<T>(fields: &Value)
where
    T: SecretFields + JsonSchema + Serialize + DeserializeOwned + Debug + PartialEq,
{
    assert!(RESOURCES.contains(&&*T::schema_name()), "{}", T::schema_name());
    assert_eq!(declared::<T>(), secret_properties::<T>(), "{}", T::schema_name());
    let resource = with_canaries::<T>(fields);
    let shown = format!("{resource:?} {}", serde_json::to_string(&resource).unwrap());
    assert!(!shown.contains(CANARY), "{shown}");
    let revealed = Value::Object(resource.reveal());
    assert_eq!(serde_json::from_value::<T>(revealed.clone()).unwrap(), resource, "what was revealed reads as it was");
    for field in T::SECRET_FIELDS.iter().filter(|field| !matches!(field.form, SecretForm::Hash)) {
        assert!(revealed[field.name].to_string().contains(CANARY), "{}", field.name);
        assert!(resource.secrets().any(|secret| secret.reveal() == format!("{CANARY}-{}", field.name)));
    }
}

#[test]
fn every_secret_field_is_declared_and_masked_and_can_be_revealed() {
    check::<Endpoint>(&json!({"id": "crm", "url": "https://crm.example/"}));
    check::<SourceConfig>(&json!({"id": "main", "dialect": "whazing"}));
    check::<Key>(&json!({"id": "backend", "scopes": ["read"], "hash": String::from(KeyHash::of("k"))}));
    check::<Subscription>(&json!({"id": "all", "endpoint_id": "crm"}));
}

#[test]
fn every_list_of_a_tenant_is_of_a_declared_type_and_its_other_fields_hold_no_secret() {
    let schema = schemars::schema_for!(Tenant).to_value();
    let properties = schema["properties"].as_object().unwrap();
    let item =
        |property: &Value| property["items"]["$ref"].as_str().map(|name| name.rsplit('/').next().unwrap().to_owned());
    let lists: BTreeSet<String> = properties.values().filter_map(item).collect();
    assert_eq!(lists, RESOURCES.map(str::to_owned).into());
    let secret = secret_properties::<Tenant>();
    assert!(secret.iter().all(|name| item(&properties[name]).is_some()), "{secret:?}");
}

#[test]
fn a_field_that_is_called_like_a_secret_is_declared_or_known_to_be_none() {
    fn suspicious<T: SecretFields + JsonSchema>() -> Vec<String> {
        let schema = schemars::schema_for!(T).to_value();
        let known = declared::<T>();
        let names = schema["properties"].as_object().unwrap().keys().cloned();
        let words = ["secret", "token", "key", "password", "hash", "credential"];
        names.filter(|name| words.iter().any(|word| name.contains(word)) && !known.contains(name)).collect()
    }
    assert_eq!(suspicious::<Endpoint>(), ["public_key"]);
    assert_eq!(suspicious::<SourceConfig>(), [""; 0]);
    assert_eq!(suspicious::<Key>(), [""; 0]);
    assert_eq!(suspicious::<Subscription>(), [""; 0]);
}
