//! Describes a tenant without default values, and without secrets unless they are asked for.

use schemas::{Endpoint, Key, MASK, SecretFields, SourceConfig, Subscription, Tenant};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::settings::Object;

pub(super) fn describe(tenant: &Tenant, with_secrets: bool) -> Object {
    let mut described = Object::new();
    described.insert("id".to_owned(), tenant.id.as_str().into());
    if let Some(name) = &tenant.name {
        described.insert("name".to_owned(), name.as_str().into());
    }
    if let Some(quota) = &tenant.quota {
        described.insert("quota".to_owned(), json!(quota));
    }
    if let Some(retention) = &tenant.retention {
        described.insert("retention".to_owned(), json!(retention));
    }
    let mut endpoint = defaults::<Endpoint>(&json!({"id": "", "url": ""}));
    if with_secrets {
        // An apply keeps stored secrets when `secrets` is left out. An empty list would say that there are none.
        endpoint.shift_remove("secrets");
    }
    let subscription = defaults::<Subscription>(&json!({"id": "", "endpoint_id": ""}));
    let source = defaults::<SourceConfig>(&json!({"id": "", "dialect": "whazing", "token": ""}));
    put(&mut described, "endpoints", list(&tenant.endpoints, &endpoint, with_secrets));
    put(&mut described, "subscriptions", list(&tenant.subscriptions, &subscription, with_secrets));
    put(&mut described, "sources", list(&tenant.sources, &source, with_secrets));
    put(&mut described, "keys", list::<Key>(&tenant.keys, &Object::new(), with_secrets));
    described
}

fn put(described: &mut Object, name: &str, items: Vec<Value>) {
    if !items.is_empty() {
        described.insert(name.to_owned(), items.into());
    }
}

/// Returns the fields of an item for which only the required fields are given.
fn defaults<T: DeserializeOwned + Serialize + SecretFields>(required: &Value) -> Object {
    let mut defaults = store::read_json::<T>(required).map(|item| item.reveal()).unwrap_or_default();
    defaults.retain(|name, _| required.get(name).is_none());
    defaults
}

fn list<T: SecretFields + Serialize>(items: &[T], defaults: &Object, with_secrets: bool) -> Vec<Value> {
    let described = |item: &T| {
        let mut fields = match with_secrets {
            true => item.reveal(),
            false => serde_json::to_value(item).ok().and_then(without_masks).and_then(object).unwrap_or_default(),
        };
        fields.retain(|name, value| defaults.get(name) != Some(value));
        Value::Object(fields)
    };
    items.iter().map(described).collect()
}

fn object(value: Value) -> Option<Object> {
    match value {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

/// Removes masked secrets from a value. Returns none when nothing else is left.
fn without_masks(value: Value) -> Option<Value> {
    match value {
        Value::String(text) if text == MASK => None,
        Value::Array(items) if items.iter().any(|item| item == MASK) => None,
        Value::Object(fields) if fields.get("secret").is_some_and(|secret| secret == MASK) => None,
        Value::Object(fields) => {
            let kept = fields.into_iter().filter_map(|(name, value)| Some((name, without_masks(value)?)));
            Some(Value::Object(kept.collect()))
        }
        other => Some(other),
    }
}
