//! What readers hold: everything that is configured, at one revision, never changed.

use std::{collections::HashMap, sync::Arc};

use schemas::{Endpoint, Key, KeyHash, Quota, SourceConfig, Subscription, Tenant};

/// Everything that is configured, at one revision.
#[derive(Debug, Default)]
pub struct Snapshot {
    revision: u64,
    tenants: HashMap<String, Arc<TenantSnapshot>>,
    sources: HashMap<KeyHash, SourceRef>,
    keys: HashMap<KeyHash, (Arc<TenantSnapshot>, Key)>,
}

/// One tenant. Unchanged tenants are the same `Arc` in the next snapshot, and so are the unchanged endpoints of one that
/// changed, so that what was derived from them stays.
#[derive(Debug, PartialEq)]
pub struct TenantSnapshot {
    /// Its id.
    pub id: String,
    /// Bounds of what it may use.
    pub quota: Quota,
    /// By id.
    pub endpoints: HashMap<String, Arc<Endpoint>>,
    /// In the order of their ids.
    pub subscriptions: Vec<Subscription>,
    /// In the order of their ids.
    pub sources: Vec<Arc<SourceConfig>>,
    /// In the order of their ids.
    pub keys: Vec<Key>,
}

/// A source and whose it is.
#[derive(Clone, Debug)]
pub struct SourceRef {
    /// Whose it is.
    pub tenant: Arc<TenantSnapshot>,
    /// The source.
    pub source: Arc<SourceConfig>,
}

impl From<Tenant> for TenantSnapshot {
    fn from(tenant: Tenant) -> Self {
        let Tenant { id, quota, endpoints, mut subscriptions, mut sources, mut keys, .. } = tenant;
        subscriptions.sort_by(|a, b| a.id.cmp(&b.id));
        sources.sort_by(|a, b| a.id.cmp(&b.id));
        keys.sort_by(|a, b| a.id.cmp(&b.id));
        let endpoints = endpoints.into_iter().map(|endpoint| (endpoint.id.clone(), Arc::new(endpoint))).collect();
        let sources = sources.into_iter().map(Arc::new).collect();
        Self { id, quota: quota.unwrap_or_default(), endpoints, subscriptions, sources, keys }
    }
}

impl TenantSnapshot {
    fn keep_unchanged_endpoints(&mut self, old: &Self) {
        for (id, endpoint) in &mut self.endpoints {
            if let Some(known) = old.endpoints.get(id).filter(|known| *known == endpoint) {
                *endpoint = known.clone();
            }
        }
    }
}

impl Snapshot {
    /// Of these tenants, at this revision.
    pub fn new(revision: u64, tenants: impl IntoIterator<Item = Arc<TenantSnapshot>>) -> Self {
        let mut snapshot = Self { revision, ..Self::default() };
        for tenant in tenants {
            for source in &tenant.sources {
                let found = SourceRef { tenant: tenant.clone(), source: source.clone() };
                snapshot.sources.insert(KeyHash::of(source.token.reveal()), found);
            }
            for key in &tenant.keys {
                snapshot.keys.insert(key.hash, (tenant.clone(), key.clone()));
            }
            snapshot.tenants.insert(tenant.id.clone(), tenant);
        }
        snapshot
    }

    /// The one after this, of these tenants; none if nothing differs.
    pub fn next(&self, tenants: Vec<Tenant>) -> Option<Self> {
        let mut changed = tenants.len() != self.tenants.len();
        let tenants: Vec<_> = tenants
            .into_iter()
            .map(|tenant| {
                let mut new = TenantSnapshot::from(tenant);
                match self.tenants.get(&new.id) {
                    Some(old) if **old == new => return old.clone(),
                    Some(old) => new.keep_unchanged_endpoints(old),
                    None => {}
                }
                changed = true;
                Arc::new(new)
            })
            .collect();
        changed.then(|| Self::new(self.revision + 1, tenants))
    }

    /// Rises with every change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// All tenants, in no order.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<TenantSnapshot>> {
        self.tenants.values()
    }

    /// A tenant by id.
    pub fn tenant(&self, id: &str) -> Option<&Arc<TenantSnapshot>> {
        self.tenants.get(id)
    }

    /// A tenant's endpoint.
    pub fn endpoint(&self, tenant: &str, id: &str) -> Option<&Arc<Endpoint>> {
        self.tenants.get(tenant)?.endpoints.get(id)
    }

    /// A source by the token of its URL. Found by the token's hash, so that the time it takes tells nothing.
    pub fn source(&self, token: &str) -> Option<&SourceRef> {
        self.sources.get(&KeyHash::of(token))
    }

    /// A key as presented, and whose it is. Found by its hash, so that the time it takes tells nothing.
    pub fn key(&self, presented: &str) -> Option<(&Arc<TenantSnapshot>, &Key)> {
        self.keys.get(&KeyHash::of(presented)).map(|(tenant, key)| (tenant, key))
    }
}
