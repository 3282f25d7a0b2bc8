//! Lists the changed fields of each item. Values are left out, because some are secret.

use schemas::SecretFields as _;
use serde_json::Value;
use store::{Item, ItemChange};

use crate::settings::Object;

/// One thing that was changed, or would be.
#[derive(serde::Serialize, schemars::JsonSchema)]
pub(super) struct Difference {
    /// Id of the tenant.
    tenant: String,
    /// `tenant`, `endpoint`, `subscription`, `source` or `key`.
    kind: &'static str,
    /// Id of what was changed.
    id: String,
    /// `created`, `updated` or `deleted`.
    change: &'static str,
    /// Pointers to the fields that differ, of what is updated.
    fields: Vec<String>,
}

/// Returns one difference for each change, in the same order.
pub(super) fn differences(changes: &[ItemChange]) -> Vec<Difference> {
    changes.iter().map(difference).collect()
}

fn difference(change: &ItemChange) -> Difference {
    let (kind, fields) = match (&change.before, &change.after) {
        (None, _) => ("created", Vec::new()),
        (_, None) => ("deleted", Vec::new()),
        (Some(before), Some(after)) => ("updated", differing_fields(&revealed(before), &revealed(after))),
    };
    Difference { tenant: change.tenant.clone(), kind: change.kind.name(), id: change.id.clone(), change: kind, fields }
}

/// Returns an item with its secrets: a changed secret is a difference too.
fn revealed(item: &Item) -> Object {
    match item {
        Item::Endpoint(endpoint) => endpoint.reveal(),
        Item::Subscription(subscription) => subscription.reveal(),
        Item::Source(source) => source.reveal(),
        Item::Key(key) => key.reveal(),
        Item::Tenant(_) => match item.shown() {
            Value::Object(shown) => shown,
            _ => Object::new(),
        },
    }
}

fn differing_fields(before: &Object, after: &Object) -> Vec<String> {
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    names.filter(|name| before.get(*name) != after.get(*name)).map(|name| format!("/{name}")).collect()
}
