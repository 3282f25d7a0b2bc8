//! The items of a configuration, and the differences between two states of them.

use std::collections::BTreeMap;

use schemas::{Endpoint, Key, SourceConfig, Subscription, Tenant};
use serde_json::Value;

use super::draft::Draft;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ItemKind {
    /// A tenant's name, quota and retention.
    Tenant,
    Endpoint,
    Subscription,
    Source,
    Key,
}

impl ItemKind {
    /// All kinds, in an order in which items can be created.
    pub const ALL: [Self; 5] = [Self::Tenant, Self::Endpoint, Self::Subscription, Self::Source, Self::Key];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Returns the name in tables, the audit log and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Endpoint => "endpoint",
            Self::Subscription => "subscription",
            Self::Source => "source",
            Self::Key => "key",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A tenant without its lists, whose entries are items of their own.
    Tenant(Box<Tenant>),
    Endpoint(Box<Endpoint>),
    Subscription(Box<Subscription>),
    Source(Box<SourceConfig>),
    Key(Box<Key>),
}

impl Item {
    pub fn kind(&self) -> ItemKind {
        match self {
            Self::Tenant(_) => ItemKind::Tenant,
            Self::Endpoint(_) => ItemKind::Endpoint,
            Self::Subscription(_) => ItemKind::Subscription,
            Self::Source(_) => ItemKind::Source,
            Self::Key(_) => ItemKind::Key,
        }
    }

    pub fn id(&self) -> &str {
        match self {
            Self::Tenant(tenant) => &tenant.id,
            Self::Endpoint(endpoint) => &endpoint.id,
            Self::Subscription(subscription) => &subscription.id,
            Self::Source(source) => &source.id,
            Self::Key(key) => &key.id,
        }
    }

    /// Returns the item as JSON with secrets masked.
    pub fn shown(&self) -> Value {
        let shown = match self {
            Self::Tenant(tenant) => {
                let Tenant { id, name, quota, retention, .. } = &**tenant;
                Ok(serde_json::json!({"id": id, "name": name, "quota": quota, "retention": retention}))
            }
            Self::Endpoint(endpoint) => serde_json::to_value(endpoint),
            Self::Subscription(subscription) => serde_json::to_value(subscription),
            Self::Source(source) => serde_json::to_value(source),
            Self::Key(key) => serde_json::to_value(key),
        };
        shown.unwrap_or_default()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct ItemChange {
    pub tenant: String,
    pub kind: ItemKind,
    /// Id of the item. A tenant's item has the tenant's own id.
    pub id: String,
    /// None when there was no item of this id.
    pub before: Option<Item>,
    /// None when the item was removed.
    pub after: Option<Item>,
    /// Revision that created the item; none when this change does. The items of a tenant that was removed and made anew
    /// are all new.
    pub created: Option<u64>,
}

/// Returns all changes of a draft, sorted by tenant, kind and id.
pub(super) fn between(before: &BTreeMap<String, Tenant>, draft: &Draft) -> Vec<ItemChange> {
    let ids: std::collections::BTreeSet<_> = before.keys().chain(draft.tenants().keys()).collect();
    ids.into_iter().flat_map(|id| within(id, before.get(id), draft)).collect()
}

fn within(tenant: &str, before: Option<&Tenant>, draft: &Draft) -> Vec<ItemChange> {
    let (after, is_anew) = (draft.tenants().get(tenant), draft.was_removed(tenant));
    if before == after && !is_anew {
        return Vec::new();
    }
    let mut both: BTreeMap<(ItemKind, String), (Option<Item>, Option<Item>)> = BTreeMap::new();
    let key = |item: &Item| (item.kind(), item.id().to_owned());
    for item in before.into_iter().flat_map(items) {
        let pair = both.entry(key(&item)).or_default();
        pair.0 = Some(item);
    }
    for item in after.into_iter().flat_map(items) {
        let pair = both.entry(key(&item)).or_default();
        pair.1 = Some(item);
    }
    let differing = both.into_iter().filter(|(_, (before, after))| is_anew || before != after);
    let changes = differing.map(|((kind, id), (before, after))| {
        let created = (before.is_some() && !is_anew).then(|| draft.created(tenant, kind, &id));
        ItemChange { tenant: tenant.to_owned(), kind, id, before, after, created }
    });
    changes.collect()
}

/// Returns all items of a tenant, the tenant itself first.
pub(crate) fn items(tenant: &Tenant) -> Vec<Item> {
    let Tenant { id, name, quota, retention, .. } = tenant;
    let head = Tenant { name: name.clone(), quota: *quota, retention: *retention, ..Tenant::new(id) };
    let endpoints = tenant.endpoints.iter().cloned().map(|endpoint| Item::Endpoint(Box::new(endpoint)));
    let subscriptions = tenant.subscriptions.iter().cloned().map(|one| Item::Subscription(Box::new(one)));
    let sources = tenant.sources.iter().cloned().map(|source| Item::Source(Box::new(source)));
    let keys = tenant.keys.iter().cloned().map(|key| Item::Key(Box::new(key)));
    std::iter::once(Item::Tenant(Box::new(head)))
        .chain(endpoints)
        .chain(subscriptions)
        .chain(sources)
        .chain(keys)
        .collect()
}
