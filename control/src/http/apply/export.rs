//! A tenant as a description: without what is so by default, and without secrets unless they are asked for.

use schemas::{Endpoint, Key, MASK, SourceConfig, Subscription, Tenant};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::settings::{Object, Reveal, reveal};

/// A tenant with all that belongs to it.
pub(super) fn tenant(tenant: &Tenant, with_secrets: bool) -> Object {
    let mut described = Object::new();
    described.insert("id".to_owned(), tenant.id.as_str().into());
    if let Some(name) = &tenant.name {
        described.insert("name".to_owned(), name.as_str().into());
    }
    if let Some(quota) = &tenant.quota {
        described.insert("quota".to_owned(), json!(quota));
    }
    let mut endpoint = usual::<Endpoint>(&json!({"id": "", "url": ""}));
    if with_secrets {
        // Left out, those that are stored would be kept: that there are none must be said.
        endpoint.shift_remove("secrets");
    }
    let subscription = usual::<Subscription>(&json!({"id": "", "endpoint_id": ""}));
    let source = usual::<SourceConfig>(&json!({"id": "", "dialect": "whazing", "token": ""}));
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

/// What a thing is where nothing is said that need not be said.
fn usual<T: DeserializeOwned + Serialize + Reveal>(least: &Value) -> Object {
    let mut usual = store::read_json::<T>(least).map(|item| reveal(&item)).unwrap_or_default();
    usual.retain(|name, _| least.get(name).is_none());
    usual
}

fn list<T: Reveal>(items: &[T], usual: &Object, with_secrets: bool) -> Vec<Value> {
    let described = |item: &T| {
        let mut fields = match with_secrets {
            true => reveal(item),
            false => serde_json::to_value(item).ok().and_then(unmasked).and_then(object).unwrap_or_default(),
        };
        fields.retain(|name, value| usual.get(name) != Some(value));
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

/// Without what is masked.
fn unmasked(value: Value) -> Option<Value> {
    match value {
        Value::String(text) if text == MASK => None,
        Value::Array(items) if items.iter().any(|item| item == MASK) => None,
        Value::Object(fields) if fields.get("secret").is_some_and(|secret| secret == MASK) => None,
        Value::Object(fields) => {
            let kept = fields.into_iter().filter_map(|(name, value)| Some((name, unmasked(value)?)));
            Some(Value::Object(kept.collect()))
        }
        other => Some(other),
    }
}
