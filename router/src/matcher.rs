//! The indexes of the tenants in use, each made when its tenant is first routed for, and anew when it was changed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use store::{Snapshot, TenantSnapshot};

use crate::index::Index;

/// The indexes of the tenants in use.
#[derive(Debug, Default)]
pub struct Matcher(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    revision: u64,
    by_tenant: HashMap<String, (Arc<TenantSnapshot>, Arc<Index>)>,
}

impl Matcher {
    /// The index of one of the snapshot's tenants.
    pub fn index(&self, snapshot: &Snapshot, tenant: &Arc<TenantSnapshot>) -> Arc<Index> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.revision != snapshot.revision() {
            known.revision = snapshot.revision();
            known.by_tenant.retain(|id, (of, _)| snapshot.tenant(id).is_some_and(|now| Arc::ptr_eq(now, of)));
        }
        if let Some((of, index)) = known.by_tenant.get(&tenant.id)
            && Arc::ptr_eq(of, tenant)
        {
            return index.clone();
        }
        let index = Arc::new(Index::new(&tenant.subscriptions));
        known.by_tenant.insert(tenant.id.clone(), (tenant.clone(), index.clone()));
        index
    }
}
