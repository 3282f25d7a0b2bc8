pub(crate) mod current;
mod tenant;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use schemas::{Endpoint, Key, KeyHash, SourceConfig, Tenant, time::Moment};

pub(crate) use self::tenant::StoredItem;
pub use self::tenant::TenantSnapshot;
use crate::{ItemChange, ItemVersion};

/// The whole configuration at one revision. It never changes, and readers hold it in an `Arc`.
#[derive(Debug, Default)]
pub struct Snapshot {
    revision: u64,
    /// True when this process counts revisions for itself.
    is_local: bool,
    tenants: HashMap<String, Arc<TenantSnapshot>>,
    sources: HashMap<KeyHash, Expiring<SourceRef>>,
    keys: HashMap<KeyHash, Expiring<(Arc<TenantSnapshot>, Key)>>,
}

/// The owner of a token or key, and the time at which that expires.
#[derive(Clone, Debug)]
struct Expiring<T> {
    what: T,
    until: Option<Moment>,
}

impl<T> Expiring<T> {
    fn valid_at(&self, now: u64) -> Option<&T> {
        (!self.until.is_some_and(|until| until.has_come(now))).then_some(&self.what)
    }
}

#[derive(Clone, Debug)]
pub struct SourceRef {
    pub tenant: Arc<TenantSnapshot>,
    pub source: Arc<SourceConfig>,
}

/// True when what was decided at a revision was meant for another tenant or endpoint of the same id than the one that was
/// created at `created`. The revision 0 cannot be compared, so nothing of it is older, and neither is anything of 1: a
/// database has no items at 1, but earlier versions numbered the readings of files from 1 on.
pub fn is_older(revision: u64, created: u64) -> bool {
    revision > 1 && revision < created
}

fn by_tenant(read: impl IntoIterator<Item = StoredItem>) -> BTreeMap<String, Vec<StoredItem>> {
    let mut tenants: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for kept in read {
        match tenants.get_mut(&kept.tenant) {
            Some(list) => list.push(kept),
            None => _ = tenants.insert(kept.tenant.clone(), vec![kept]),
        }
    }
    tenants
}

impl Snapshot {
    /// Makes a snapshot at a revision that all processes share.
    pub fn new(revision: u64, tenants: impl IntoIterator<Item = Arc<TenantSnapshot>>) -> Self {
        let mut snapshot = Self { revision, ..Self::default() };
        for tenant in tenants {
            snapshot.add(tenant);
        }
        snapshot
    }

    /// Makes a snapshot at a revision that this process counts for itself.
    pub fn local(revision: u64, tenants: impl IntoIterator<Item = Arc<TenantSnapshot>>) -> Self {
        Self { is_local: true, ..Self::new(revision, tenants) }
    }

    /// Makes the next snapshot of a store whose revisions each process counts for itself. Returns none if nothing
    /// differs.
    pub fn next(&self, tenants: Vec<Tenant>) -> Option<Self> {
        let tenants = tenants.into_iter().map(TenantSnapshot::from);
        let next = Self { is_local: true, ..self.keeping(self.revision + 1, tenants) };
        let same = next.tenants.len() == self.tenants.len()
            && next.tenants.iter().all(|(id, new)| self.tenants.get(id).is_some_and(|old| Arc::ptr_eq(old, new)));
        (!same).then_some(next)
    }

    /// Makes a snapshot of these tenants, in which every unchanged tenant stays the same `Arc`.
    fn keeping(&self, revision: u64, tenants: impl IntoIterator<Item = TenantSnapshot>) -> Self {
        let tenants = tenants.into_iter().map(|mut new| match self.tenants.get(&new.id) {
            Some(old) if **old == new => old.clone(),
            old => {
                if let Some(old) = old {
                    new.keep_unchanged_endpoints(old);
                }
                Arc::new(new)
            }
        });
        Self::new(revision, tenants)
    }

    /// Makes the next snapshot, with these changes. Untouched tenants stay the same `Arc`.
    pub fn with(&self, revision: u64, changes: &[ItemChange]) -> Self {
        let kept = |change: &ItemChange| StoredItem {
            tenant: change.tenant.clone(),
            kind: change.kind,
            id: change.id.clone(),
            version: ItemVersion { changed: revision, created: change.created.unwrap_or(revision) },
            item: change.after.clone(),
        };
        self.caught_up(revision, changes.iter().map(kept))
    }

    /// Makes the snapshot at a later revision, from all items that were changed in between. Untouched tenants stay the
    /// same `Arc`.
    pub(crate) fn caught_up(&self, revision: u64, read: impl IntoIterator<Item = StoredItem>) -> Self {
        let mut next = Self {
            revision,
            is_local: self.is_local,
            tenants: self.tenants.clone(),
            sources: self.sources.clone(),
            keys: self.keys.clone(),
        };
        let touched = by_tenant(read).into_iter().map(|(id, read)| (next.take(&id), id, read)).collect::<Vec<_>>();
        // All tenants are removed before one is added, because a token may have moved from one to another.
        for (old, id, read) in touched {
            if let Some(new) = TenantSnapshot::after(old.as_deref(), &id, read) {
                next.add(Arc::new(new));
            }
        }
        next
    }

    /// Makes a snapshot of exactly the items that were read. Every unchanged tenant stays the same `Arc`.
    pub(crate) fn replaced(&self, revision: u64, read: impl IntoIterator<Item = StoredItem>) -> Self {
        let tenants = by_tenant(read).into_iter().filter_map(|(id, read)| TenantSnapshot::after(None, &id, read));
        self.keeping(revision, tenants)
    }

    fn add(&mut self, tenant: Arc<TenantSnapshot>) {
        for source in &tenant.sources {
            for (token, until) in source.tokens() {
                let what = SourceRef { tenant: tenant.clone(), source: source.clone() };
                self.sources.insert(KeyHash::of(token.reveal()), Expiring { what, until });
            }
        }
        for key in &tenant.keys {
            for (hash, until) in key.hashes() {
                self.keys.insert(hash, Expiring { what: (tenant.clone(), key.clone()), until });
            }
        }
        self.tenants.insert(tenant.id.clone(), tenant);
    }

    fn take(&mut self, id: &str) -> Option<Arc<TenantSnapshot>> {
        let tenant = self.tenants.remove(id)?;
        for source in &tenant.sources {
            for (token, _) in source.tokens() {
                self.sources.remove(&KeyHash::of(token.reveal()));
            }
        }
        for key in &tenant.keys {
            for (hash, _) in key.hashes() {
                self.keys.remove(&hash);
            }
        }
        Some(tenant)
    }

    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns the revision if it can be compared with that of other processes, otherwise 0.
    pub fn shared_revision(&self) -> u64 {
        if self.is_local { 0 } else { self.revision }
    }

    /// False in a `file:` store, where each process counts revisions for itself.
    pub fn has_shared_revisions(&self) -> bool {
        !self.is_local
    }

    /// Returns all tenants, in no particular order.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<TenantSnapshot>> {
        self.tenants.values()
    }

    pub fn tenant(&self, id: &str) -> Option<&Arc<TenantSnapshot>> {
        self.tenants.get(id)
    }

    pub fn endpoint(&self, tenant: &str, id: &str) -> Option<&Arc<Endpoint>> {
        self.tenants.get(tenant)?.endpoints.get(id)
    }

    /// Returns the source of a token that is valid at `now`, in unix milliseconds. The look-up is by hash, so that its
    /// duration reveals nothing about a token.
    pub fn source(&self, token: &str, now: u64) -> Option<&SourceRef> {
        self.sources.get(&KeyHash::of(token))?.valid_at(now)
    }

    /// Returns a key that is valid at `now`, in unix milliseconds, and its tenant. The look-up is by hash, so that its
    /// duration reveals nothing about a key.
    pub fn key(&self, presented: &str, now: u64) -> Option<(&Arc<TenantSnapshot>, &Key)> {
        self.key_of_hash(&KeyHash::of(presented), now)
    }

    /// Returns a key that is valid at `now`, in unix milliseconds, by its hash, and its tenant.
    pub fn key_of_hash(&self, hash: &KeyHash, now: u64) -> Option<(&Arc<TenantSnapshot>, &Key)> {
        self.keys.get(hash)?.valid_at(now).map(|(tenant, key)| (tenant, key))
    }

    /// Returns the source that has a token, expired or not. No other source may have it.
    pub fn owner_of_token(&self, token: &str) -> Option<&SourceRef> {
        self.sources.get(&KeyHash::of(token)).map(|entry| &entry.what)
    }

    /// Returns the key that has a hash, expired or not. No other key may have it.
    pub fn owner_of_hash(&self, hash: &KeyHash) -> Option<(&Arc<TenantSnapshot>, &Key)> {
        self.keys.get(hash).map(|Expiring { what: (tenant, key), .. }| (tenant, key))
    }
}
