//! One tenant of a snapshot, and how it is built from the items that a store has read.

use std::{collections::HashMap, sync::Arc};

use schemas::{
    Endpoint, EventType, HistoryRetention, Key, OperationalEvent, Quota, SourceConfig, Subscription, Tenant,
};

use crate::{Item, ItemKind, ItemVersion, Versions};

/// An item as a store holds it, or the record of its removal.
#[derive(Clone, Debug)]
pub(crate) struct StoredItem {
    pub(crate) tenant: String,
    pub(crate) kind: ItemKind,
    /// Id of the item. A tenant's item has the tenant's own id.
    pub(crate) id: String,
    pub(crate) version: ItemVersion,
    /// None when it was removed.
    pub(crate) item: Option<Item>,
}

/// One tenant. Unchanged tenants, and unchanged endpoints of changed tenants, are the same `Arc` in the next snapshot,
/// so that values which readers derived from them stay valid.
#[derive(Clone, Debug, PartialEq)]
pub struct TenantSnapshot {
    pub id: String,
    pub name: Option<String>,
    pub quota: Quota,
    /// How long history is kept, where that is shorter than for everybody.
    pub retention: Option<HistoryRetention>,
    /// By id.
    pub endpoints: HashMap<String, Arc<Endpoint>>,
    /// Sorted by id.
    pub subscriptions: Vec<Subscription>,
    /// Sorted by id.
    pub sources: Vec<Arc<SourceConfig>>,
    /// Sorted by id.
    pub keys: Vec<Key>,
    /// Revisions that created the items and changed them last; empty in a `file:` store.
    pub versions: Versions,
    /// The opt-in types that a subscription matches, found once, because every delivery asks.
    wanted_opt_in: Vec<EventType>,
}

fn wanted_opt_in(subscriptions: &[Subscription]) -> Vec<EventType> {
    EventType::OPT_IN.into_iter().filter(|opt_in| OperationalEvent::is_wanted(opt_in, subscriptions)).collect()
}

impl From<Tenant> for TenantSnapshot {
    fn from(tenant: Tenant) -> Self {
        let Tenant { id, name, quota, retention, endpoints, mut subscriptions, mut sources, mut keys } = tenant;
        subscriptions.sort_by(|a, b| a.id.cmp(&b.id));
        sources.sort_by(|a, b| a.id.cmp(&b.id));
        keys.sort_by(|a, b| a.id.cmp(&b.id));
        let endpoints = endpoints.into_iter().map(|endpoint| (endpoint.id.clone(), Arc::new(endpoint))).collect();
        let sources = sources.into_iter().map(Arc::new).collect();
        let (quota, versions) = (quota.unwrap_or_default(), Versions::default());
        let wanted_opt_in = wanted_opt_in(&subscriptions);
        Self { id, name, quota, retention, endpoints, subscriptions, sources, keys, versions, wanted_opt_in }
    }
}

impl TenantSnapshot {
    /// Returns the tenant as it was configured, its lists sorted by id.
    pub fn to_tenant(&self) -> Tenant {
        let mut endpoints: Vec<_> = self.endpoints.values().map(|endpoint| Endpoint::clone(endpoint)).collect();
        endpoints.sort_by(|a, b| a.id.cmp(&b.id));
        Tenant {
            id: self.id.clone(),
            name: self.name.clone(),
            quota: Some(self.quota).filter(|quota| *quota != Quota::default()),
            retention: self.retention,
            endpoints,
            subscriptions: self.subscriptions.clone(),
            sources: self.sources.iter().map(|source| SourceConfig::clone(source)).collect(),
            keys: self.keys.clone(),
        }
    }

    /// True when a subscription matches events of this opt-in type.
    pub fn wants(&self, opt_in: &EventType) -> bool {
        self.wanted_opt_in.contains(opt_in)
    }

    /// True when the tenant is told how deliveries end, at least of some.
    pub fn wants_delivery_ends(&self) -> bool {
        self.wants(&EventType::DELIVERY_DELIVERED) || self.wants(&EventType::DELIVERY_DEAD)
    }

    /// Returns the revision that created the tenant; 0 where that is not known.
    pub fn created(&self) -> u64 {
        self.versions.created(ItemKind::Tenant, &self.id)
    }

    /// Returns the revision that created an endpoint; 0 where that is not known.
    pub fn endpoint_created(&self, id: &str) -> u64 {
        self.versions.created(ItemKind::Endpoint, id)
    }

    /// Applies items to an old state, or to none if the tenant is new. Returns none when the tenant itself was removed.
    pub(crate) fn after(old: Option<&Self>, id: &str, read: Vec<StoredItem>) -> Option<Self> {
        let mut new = match old {
            Some(old) => old.clone(),
            None => Self::from(Tenant::new(id)),
        };
        for StoredItem { kind, id, version, item, .. } in read {
            match item {
                Some(item) => {
                    new.put(item);
                    new.versions.set(kind, &id, version);
                }
                None if kind == ItemKind::Tenant => return None,
                None => {
                    new.remove(kind, &id);
                    new.versions.remove(kind, &id);
                }
            }
        }
        new.wanted_opt_in = wanted_opt_in(&new.subscriptions);
        Some(new)
    }

    fn put(&mut self, item: Item) {
        match item {
            Item::Tenant(tenant) => {
                self.name = tenant.name;
                self.quota = tenant.quota.unwrap_or_default();
                self.retention = tenant.retention;
            }
            Item::Endpoint(endpoint) => _ = self.endpoints.insert(endpoint.id.clone(), Arc::new(*endpoint)),
            Item::Subscription(one) => insert(&mut self.subscriptions, *one, |one| &one.id),
            Item::Source(source) => insert(&mut self.sources, Arc::new(*source), |source| &source.id),
            Item::Key(key) => insert(&mut self.keys, *key, |key| &key.id),
        }
    }

    fn remove(&mut self, kind: ItemKind, id: &str) {
        match kind {
            ItemKind::Tenant => {}
            ItemKind::Endpoint => _ = self.endpoints.remove(id),
            ItemKind::Subscription => self.subscriptions.retain(|one| one.id != id),
            ItemKind::Source => self.sources.retain(|source| source.id != id),
            ItemKind::Key => self.keys.retain(|key| key.id != id),
        }
    }

    pub(crate) fn keep_unchanged_endpoints(&mut self, old: &Self) {
        for (id, endpoint) in &mut self.endpoints {
            let created = self.versions.created(ItemKind::Endpoint, id);
            if let Some(known) = old.endpoints.get(id).filter(|known| *known == endpoint)
                && created == old.endpoint_created(id)
            {
                *endpoint = known.clone();
            }
        }
    }
}

/// Inserts into a list that is sorted by id, and replaces the item of the same id.
fn insert<T>(list: &mut Vec<T>, item: T, id: impl Fn(&T) -> &String) {
    match list.binary_search_by(|known| id(known).cmp(id(&item))) {
        Ok(at) => list[at] = item,
        Err(at) => list.insert(at, item),
    }
}
