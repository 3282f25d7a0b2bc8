//! What was changed, field by field, without the values: some are secrets.

use serde_json::Value;
use store::{Item, ItemChange};

use crate::settings::{Object, reveal};

/// One thing that was changed, or would be.
#[derive(serde::Serialize, schemars::JsonSchema)]
pub(super) struct Difference {
    tenant: String,
    /// `tenant`, `endpoint`, `subscription`, `source` or `key`.
    kind: &'static str,
    id: String,
    /// `created`, `updated` or `deleted`.
    change: &'static str,
    /// Pointers to the fields that differ, of what is updated.
    fields: Vec<String>,
}

/// All of them, in their order.
pub(super) fn of(changes: &[ItemChange]) -> Vec<Difference> {
    changes.iter().map(one).collect()
}

fn one(change: &ItemChange) -> Difference {
    let (kind, fields) = match (&change.before, &change.after) {
        (None, _) => ("created", Vec::new()),
        (_, None) => ("deleted", Vec::new()),
        (Some(before), Some(after)) => ("updated", fields(&whole(before), &whole(after))),
    };
    Difference { tenant: change.tenant.clone(), kind: change.kind.name(), id: change.id.clone(), change: kind, fields }
}

fn whole(item: &Item) -> Object {
    match item {
        Item::Endpoint(endpoint) => reveal(&**endpoint),
        Item::Subscription(subscription) => reveal(&**subscription),
        Item::Source(source) => reveal(&**source),
        Item::Key(key) => reveal(&**key),
        Item::Tenant(_) => match item.shown() {
            Value::Object(shown) => shown,
            _ => Object::new(),
        },
    }
}

fn fields(before: &Object, after: &Object) -> Vec<String> {
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    names.filter(|name| before.get(*name) != after.get(*name)).map(|name| format!("/{name}")).collect()
}
