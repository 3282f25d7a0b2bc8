//! Whose event it is: the tenant in the snapshot in force, and the index of its subscriptions.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use schemas::ParkReason;
use store::{Snapshot, Store, TenantSnapshot};

use crate::{index::Index, park::Unroutable};

/// How long an event of an unknown tenant is held: the snapshot that has the tenant may be on its way.
const UNKNOWN_TENANT_WAIT: Duration = Duration::from_secs(10);

/// A tenant as the router decides by it.
pub(crate) struct TenantView {
    pub(crate) revision: u64,
    pub(crate) tenant: Arc<TenantSnapshot>,
    pub(crate) index: Arc<Index>,
}

/// Finds tenants, and keeps their indexes.
pub(crate) struct Tenants {
    store: Arc<dyn Store>,
    indexes: IndexCache,
}

impl Tenants {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, indexes: IndexCache::default() }
    }

    /// The tenant with this id; one that is unknown is looked for once in the store before it is refused.
    pub(crate) async fn find(&self, id: &str) -> Result<TenantView, Unroutable> {
        if let Some(view) = self.view(id) {
            return Ok(view);
        }
        // An error leaves the last good snapshot in force, and that one lacks the tenant.
        let _ = tokio::time::timeout(UNKNOWN_TENANT_WAIT, self.store.pull()).await;
        self.view(id).ok_or_else(|| Unroutable::new(ParkReason::Tenant, "no such tenant"))
    }

    fn view(&self, id: &str) -> Option<TenantView> {
        let snapshot = self.store.snapshot()?;
        let tenant = snapshot.tenant(id)?.clone();
        let index = self.indexes.get(&snapshot, &tenant);
        Some(TenantView { revision: snapshot.revision(), tenant, index })
    }
}

/// The indexes of the tenants in use. Each is built when its tenant is first routed for, and again after a change of it.
#[derive(Debug, Default)]
pub struct IndexCache(Mutex<Cached>);

#[derive(Debug, Default)]
struct Cached {
    revision: u64,
    by_tenant: HashMap<String, (Arc<TenantSnapshot>, Arc<Index>)>,
}

impl IndexCache {
    /// The index of one of the snapshot's tenants.
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
