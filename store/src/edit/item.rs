//! What differs between two states of a configuration, item by item.

use std::collections::BTreeMap;

use schemas::{Endpoint, Key, SourceConfig, Subscription, Tenant};
use serde_json::Value;

/// What can be configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ItemKind {
    /// A tenant: its name and quota.
    Tenant,
    /// One of its endpoints.
    Endpoint,
    /// One of its subscriptions.
    Subscription,
    /// One of its sources.
    Source,
    /// One of its keys.
    Key,
}

impl ItemKind {
    /// All of them, in the order in which they may be made.
    pub const ALL: [Self; 5] = [Self::Tenant, Self::Endpoint, Self::Subscription, Self::Source, Self::Key];

    /// The kind of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// In records and messages.
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

/// One thing that is configured.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A tenant without what belongs to it: its lists are empty.
    Tenant(Box<Tenant>),
    /// An endpoint.
    Endpoint(Box<Endpoint>),
    /// A subscription.
    Subscription(Box<Subscription>),
    /// A source.
    Source(Box<SourceConfig>),
    /// A key.
    Key(Box<Key>),
}

impl Item {
    /// Of what kind it is.
    pub fn kind(&self) -> ItemKind {
        match self {
            Self::Tenant(_) => ItemKind::Tenant,
            Self::Endpoint(_) => ItemKind::Endpoint,
            Self::Subscription(_) => ItemKind::Subscription,
            Self::Source(_) => ItemKind::Source,
            Self::Key(_) => ItemKind::Key,
        }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        match self {
            Self::Tenant(tenant) => &tenant.id,
            Self::Endpoint(endpoint) => &endpoint.id,
            Self::Subscription(subscription) => &subscription.id,
            Self::Source(source) => &source.id,
            Self::Key(key) => &key.id,
        }
    }

    /// As it may be shown: JSON with its secrets masked.
    pub fn shown(&self) -> Value {
        let shown = match self {
            Self::Tenant(tenant) => {
                let Tenant { id, name, quota, .. } = &**tenant;
                Ok(serde_json::json!({"id": id, "name": name, "quota": quota}))
            }
            Self::Endpoint(endpoint) => serde_json::to_value(endpoint),
            Self::Subscription(subscription) => serde_json::to_value(subscription),
            Self::Source(source) => serde_json::to_value(source),
            Self::Key(key) => serde_json::to_value(key),
        };
        shown.unwrap_or_default()
    }
}

/// One thing that was made, changed or taken away.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemChange {
    /// Whose.
    pub tenant: String,
    /// What.
    pub kind: ItemKind,
    /// Its id; a tenant's own.
    pub id: String,
    /// As it was; none when it is new.
    pub before: Option<Item>,
    /// As it is; none when it is gone.
    pub after: Option<Item>,
}

/// All that differs, in the order of tenants, kinds and ids.
pub(super) fn between(before: &BTreeMap<String, Tenant>, after: &BTreeMap<String, Tenant>) -> Vec<ItemChange> {
    let ids: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    ids.into_iter().flat_map(|id| within(id, before.get(id), after.get(id))).collect()
}

fn within(tenant: &str, before: Option<&Tenant>, after: Option<&Tenant>) -> Vec<ItemChange> {
    if before == after {
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
    let differing = both.into_iter().filter(|(_, (before, after))| before != after);
    differing
        .map(|((kind, id), (before, after))| ItemChange { tenant: tenant.to_owned(), kind, id, before, after })
        .collect()
}

/// Everything a tenant has, itself first.
pub(crate) fn items(tenant: &Tenant) -> Vec<Item> {
    let head = Tenant { name: tenant.name.clone(), quota: tenant.quota, ..Tenant::new(&tenant.id) };
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
