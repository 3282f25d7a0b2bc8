//! Finds an event's tenant in the current snapshot, with the index of its subscriptions.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use schemas::ParkReason;
use store::{Snapshot, Store, TenantSnapshot, is_older};

use crate::{index::Index, park::Unroutable};

/// Longest wait for one look into the store.
const PULL_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause between two looks while the store is away.
const PULL_RETRY: Duration = Duration::from_secs(1);

pub(crate) struct TenantView {
    /// 0 when it cannot be compared with that of other processes.
    pub(crate) revision: u64,
    pub(crate) tenant: Arc<TenantSnapshot>,
    pub(crate) index: Arc<Index>,
}

impl TenantView {
    fn is_behind(&self, revision: Option<u64>) -> bool {
        self.revision > 0 && revision.is_some_and(|revision| self.revision < revision)
    }

    /// Refuses an event that another tenant of the same id has accepted, with this revision, before it was deleted.
    fn check_owner(self, revision: Option<u64>) -> Result<Self, Unroutable> {
        if is_older(revision.unwrap_or_default(), self.tenant.created()) {
            return Err(Unroutable::new(ParkReason::Tenant, "its tenant was deleted, and the id is another one's"));
        }
        Ok(self)
    }
}

pub(crate) struct Tenants {
    store: Arc<dyn Store>,
    indexes: IndexCache,
}

impl Tenants {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, indexes: IndexCache::default() }
    }

    /// The tenant with this id, in a snapshot at least as new as `revision`, with which its event was accepted.
    ///
    /// An unknown tenant may be new, and an older snapshot may lack subscriptions, so the store itself is asked: while
    /// it is away, the event waits. Its answer decides, also when it has gone back to an earlier revision.
    pub(crate) async fn find(&self, id: &str, revision: Option<u64>) -> Result<TenantView, Unroutable> {
        loop {
            if let Some(view) = self.view(id).filter(|view| !view.is_behind(revision)) {
                return view.check_owner(revision);
            }
            if let Ok(Ok(())) = tokio::time::timeout(PULL_TIMEOUT, self.store.pull()).await {
                let view = self.view(id).ok_or_else(|| Unroutable::new(ParkReason::Tenant, "no such tenant"))?;
                return view.check_owner(revision);
            }
            service::watchdog::renew();
            tokio::time::sleep(PULL_RETRY).await;
        }
    }

    fn view(&self, id: &str) -> Option<TenantView> {
        let snapshot = self.store.snapshot()?;
        let tenant = snapshot.tenant(id)?.clone();
        let index = self.indexes.get(&snapshot, &tenant);
        Some(TenantView { revision: snapshot.shared_revision(), tenant, index })
    }
}

/// The indexes of the tenants in use. An index is built for its tenant's first event, and again after a change of the
/// tenant.
#[derive(Debug, Default)]
pub struct IndexCache(Mutex<Cached>);

#[derive(Debug, Default)]
struct Cached {
    revision: u64,
    by_tenant: HashMap<String, (Arc<TenantSnapshot>, Arc<Index>)>,
}

impl IndexCache {
    pub fn get(&self, snapshot: &Snapshot, tenant: &Arc<TenantSnapshot>) -> Arc<Index> {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.revision != snapshot.revision() {
            cached.revision = snapshot.revision();
            cached.by_tenant.retain(|id, (of, _)| snapshot.tenant(id).is_some_and(|now| Arc::ptr_eq(now, of)));
        }
        if let Some((of, index)) = cached.by_tenant.get(&tenant.id)
            && Arc::ptr_eq(of, tenant)
        {
            return index.clone();
        }
        let index = Arc::new(Index::new(&tenant.subscriptions));
        cached.by_tenant.insert(tenant.id.clone(), (tenant.clone(), index.clone()));
        index
    }
}
