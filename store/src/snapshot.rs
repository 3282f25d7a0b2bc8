//! What readers hold: everything that is configured, at one revision, never changed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use schemas::{Endpoint, Key, KeyHash, Quota, SourceConfig, Subscription, Tenant};

use crate::{Change, Item, Kind, Versions};

/// Everything that is configured, at one revision.
#[derive(Debug, Default)]
pub struct Snapshot {
    revision: u64,
    /// Whether the revision was counted by this process, for itself.
    is_local: bool,
    tenants: HashMap<String, Arc<TenantSnapshot>>,
    sources: HashMap<KeyHash, SourceRef>,
    keys: HashMap<KeyHash, (Arc<TenantSnapshot>, Key)>,
}

/// One tenant. Unchanged tenants are the same `Arc` in the next snapshot, and so are the unchanged endpoints of one that
/// changed, so that what was derived from them stays.
#[derive(Clone, Debug, PartialEq)]
pub struct TenantSnapshot {
    /// Its id.
    pub id: String,
    /// As shown.
    pub name: Option<String>,
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
    /// At which revision each of these was last changed; none of a `file:` store.
    pub versions: Versions,
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
        let Tenant { id, name, quota, endpoints, mut subscriptions, mut sources, mut keys } = tenant;
        subscriptions.sort_by(|a, b| a.id.cmp(&b.id));
        sources.sort_by(|a, b| a.id.cmp(&b.id));
        keys.sort_by(|a, b| a.id.cmp(&b.id));
        let endpoints = endpoints.into_iter().map(|endpoint| (endpoint.id.clone(), Arc::new(endpoint))).collect();
        let sources = sources.into_iter().map(Arc::new).collect();
        let (quota, versions) = (quota.unwrap_or_default(), Versions::default());
        Self { id, name, quota, endpoints, subscriptions, sources, keys, versions }
    }
}

impl TenantSnapshot {
    /// As it was made, its lists in the order of their ids.
    pub fn to_tenant(&self) -> Tenant {
        let mut endpoints: Vec<_> = self.endpoints.values().map(|endpoint| Endpoint::clone(endpoint)).collect();
        endpoints.sort_by(|a, b| a.id.cmp(&b.id));
        Tenant {
            id: self.id.clone(),
            name: self.name.clone(),
            quota: Some(self.quota).filter(|quota| *quota != Quota::default()),
            endpoints,
            subscriptions: self.subscriptions.clone(),
            sources: self.sources.iter().map(|source| SourceConfig::clone(source)).collect(),
            keys: self.keys.clone(),
        }
    }

    /// What an old state (none: it is new) becomes by changes at a revision; none when the tenant itself is gone.
    fn after(old: Option<&Self>, id: &str, revision: u64, changes: &[&Change]) -> Option<Self> {
        let mut new = match old {
            Some(old) => old.clone(),
            None => Self::from(Tenant::new(id)),
        };
        for change in changes {
            match &change.after {
                Some(item) => {
                    new.put(item.clone());
                    new.versions.set(change.kind, &change.id, revision);
                }
                None if change.kind == Kind::Tenant => return None,
                None => {
                    new.remove(change.kind, &change.id);
                    new.versions.remove(change.kind, &change.id);
                }
            }
        }
        Some(new)
    }

    fn put(&mut self, item: Item) {
        match item {
            Item::Tenant(tenant) => {
                self.name = tenant.name;
                self.quota = tenant.quota.unwrap_or_default();
            }
            Item::Endpoint(endpoint) => _ = self.endpoints.insert(endpoint.id.clone(), Arc::new(*endpoint)),
            Item::Subscription(one) => insert(&mut self.subscriptions, *one, |one| &one.id),
            Item::Source(source) => insert(&mut self.sources, Arc::new(*source), |source| &source.id),
            Item::Key(key) => insert(&mut self.keys, *key, |key| &key.id),
        }
    }

    fn remove(&mut self, kind: Kind, id: &str) {
        match kind {
            Kind::Tenant => {}
            Kind::Endpoint => _ = self.endpoints.remove(id),
            Kind::Subscription => self.subscriptions.retain(|one| one.id != id),
            Kind::Source => self.sources.retain(|source| source.id != id),
            Kind::Key => self.keys.retain(|key| key.id != id),
        }
    }

    fn keep_unchanged_endpoints(&mut self, old: &Self) {
        for (id, endpoint) in &mut self.endpoints {
            if let Some(known) = old.endpoints.get(id).filter(|known| *known == endpoint) {
                *endpoint = known.clone();
            }
        }
    }
}

/// Into a list that is in the order of ids, instead of the one of the same id.
fn insert<T>(list: &mut Vec<T>, item: T, id: impl Fn(&T) -> &String) {
    match list.binary_search_by(|known| id(known).cmp(id(&item))) {
        Ok(at) => list[at] = item,
        Err(at) => list.insert(at, item),
    }
}

impl Snapshot {
    /// Of these tenants, at this revision, which all processes share.
    pub fn new(revision: u64, tenants: impl IntoIterator<Item = Arc<TenantSnapshot>>) -> Self {
        let mut snapshot = Self { revision, ..Self::default() };
        for tenant in tenants {
            snapshot.add(tenant);
        }
        snapshot
    }

    /// Of these tenants, at a revision that this process counts for itself.
    pub fn local(revision: u64, tenants: impl IntoIterator<Item = Arc<TenantSnapshot>>) -> Self {
        Self { is_local: true, ..Self::new(revision, tenants) }
    }

    /// The one after this, of these tenants; none if nothing differs. For stores whose revisions each process counts for
    /// itself.
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
        changed.then(|| Self::local(self.revision + 1, tenants))
    }

    /// The one after this, at a revision, with these changes. What they do not touch stays the same `Arc`.
    pub fn with(&self, revision: u64, changes: &[Change]) -> Self {
        let mut touched: BTreeMap<&str, Vec<&Change>> = BTreeMap::new();
        for change in changes {
            touched.entry(&change.tenant).or_default().push(change);
        }
        let mut next = Self {
            revision,
            is_local: self.is_local,
            tenants: self.tenants.clone(),
            sources: self.sources.clone(),
            keys: self.keys.clone(),
        };
        for (id, changes) in touched {
            let old = next.take(id);
            if let Some(new) = TenantSnapshot::after(old.as_deref(), id, revision, &changes) {
                next.add(Arc::new(new));
            }
        }
        next
    }

    fn add(&mut self, tenant: Arc<TenantSnapshot>) {
        for source in &tenant.sources {
            let found = SourceRef { tenant: tenant.clone(), source: source.clone() };
            self.sources.insert(KeyHash::of(source.token.reveal()), found);
        }
        for key in &tenant.keys {
            self.keys.insert(key.hash, (tenant.clone(), key.clone()));
        }
        self.tenants.insert(tenant.id.clone(), tenant);
    }

    fn take(&mut self, id: &str) -> Option<Arc<TenantSnapshot>> {
        let tenant = self.tenants.remove(id)?;
        for source in &tenant.sources {
            self.sources.remove(&KeyHash::of(source.token.reveal()));
        }
        for key in &tenant.keys {
            self.keys.remove(&key.hash);
        }
        Some(tenant)
    }

    /// Rises with every change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether other processes mean the same by a revision: not with `file:`, whose readers count for themselves.
    pub fn has_shared_revisions(&self) -> bool {
        !self.is_local
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
