//! What tests of secret fields share: which fields the JSON schema calls secret, and resources full of recognizable
//! secrets.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{SecretFields, SecretForm};

/// Occurs in every secret of [`with_canaries`], and in nothing else.
pub const CANARY: &str = "CANARY";

/// Names of the fields that hold a secret or a hash somewhere inside, according to the JSON schema of the type.
pub fn secret_properties<T: JsonSchema>() -> BTreeSet<String> {
    let schema = schemars::schema_for!(T).to_value();
    let properties = schema["properties"].as_object().cloned().unwrap_or_default();
    let is_secret = |(name, property): (String, Value)| holds_secret(&property, &schema, 0).then_some(name);
    properties.into_iter().filter_map(is_secret).collect()
}

/// A field is secret where its schema, followed through references, has `writeOnly` or the form of a hash.
fn holds_secret(value: &Value, root: &Value, depth: usize) -> bool {
    assert!(depth < 32, "the schema refers to itself");
    match value {
        Value::Object(fields) => fields.iter().any(|(name, value)| match (name.as_str(), value) {
            ("writeOnly", value) => value == true,
            ("pattern", Value::String(pattern)) => pattern.starts_with("^sha256:"),
            ("$ref", Value::String(reference)) => {
                let pointer = reference.trim_start_matches('#');
                holds_secret(root.pointer(pointer).expect("a definition"), root, depth + 1)
            }
            (_, value) => holds_secret(value, root, depth + 1),
        }),
        Value::Array(items) => items.iter().any(|item| holds_secret(item, root, depth + 1)),
        _ => false,
    }
}

/// Names of the fields that [`SecretFields`] declares.
pub fn declared<T: SecretFields>() -> BTreeSet<String> {
    T::SECRET_FIELDS.iter().map(|field| field.name.to_owned()).collect()
}

/// A resource of the given fields and, in every secret field, a secret that contains [`CANARY`].
///
/// # Panics
/// When the fields are not those of a `T`.
pub fn with_canaries<T: SecretFields + DeserializeOwned>(fields: &Value) -> T {
    with_secrets(fields, |field| format!("{CANARY}-{field}"))
}

/// A resource of the given fields and, in every secret field, the secret that `secret` gives for the field's name.
///
/// # Panics
/// When the fields are not those of a `T`.
pub fn with_secrets<T: SecretFields + DeserializeOwned>(fields: &Value, secret: impl Fn(&str) -> String) -> T {
    let mut object: Map<String, Value> = fields.as_object().expect("an object").clone();
    let until = "2026-11-22T08:00:00.000Z";
    for field in T::SECRET_FIELDS {
        let text = secret(field.name);
        let value = match field.form {
            SecretForm::HeaderValue(_) | SecretForm::UrlSegment(_) => json!(text),
            SecretForm::RetiringUrlSegment(_) => json!({"secret": text, "until": until}),
            SecretForm::Signing(_) => json!([text, {"secret": text, "until": until}]),
            SecretForm::Headers(_) => json!({"x-plain": "plain", "x-secret": {"secret": text}}),
            SecretForm::Hash => continue,
        };
        object.insert(field.name.to_owned(), value);
    }
    serde_json::from_value(Value::Object(object)).expect("the fields of the resource")
}
