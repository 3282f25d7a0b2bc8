//! Endpoints that this process posts to no more, until they are changed or it is restarted: they said 410, or have only
//! failed for days.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use schemas::{Delivery, Endpoint, Finding};
use store::{ItemKind, Snapshot};

/// The versions of such endpoints, by their place in memory; while there is a weak pointer to it, no other can
/// have that place.
#[derive(Debug, Default)]
pub(crate) struct Gone(Mutex<HashMap<usize, Weak<Endpoint>>>);

impl Gone {
    /// Notes that this version of an endpoint is posted to no more.
    pub(crate) fn note(&self, endpoint: &Arc<Endpoint>) {
        let mut gone = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gone.retain(|_, known| known.strong_count() > 0);
        gone.insert(place(endpoint), Arc::downgrade(endpoint));
    }

    /// Whether this very version is.
    pub(crate) fn contains(&self, endpoint: &Arc<Endpoint>) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&place(endpoint))
    }
}

/// What there is to tell who can disable it for all; nothing if it was changed meanwhile, which may have mended it.
pub(crate) fn fact(snapshot: Option<&Snapshot>, delivery: &Delivery, endpoint: &Arc<Endpoint>) -> Option<Finding> {
    let version = version(snapshot, delivery, endpoint)?;
    Some(Finding::Gone { tenant: delivery.tenant.clone(), endpoint_id: endpoint.id.clone(), version })
}

/// What there is to tell of an endpoint that has only failed `since` then, unix ms; nothing if it was changed meanwhile.
pub(crate) fn failing(
    snapshot: Option<&Snapshot>,
    delivery: &Delivery,
    endpoint: &Arc<Endpoint>,
    since: u64,
) -> Option<Finding> {
    let version = version(snapshot, delivery, endpoint)?;
    Some(Finding::Failing { tenant: delivery.tenant.clone(), endpoint_id: endpoint.id.clone(), version, since })
}

/// The revision of this version of an endpoint, if there is none later; inside, none of a store without revisions.
fn version(snapshot: Option<&Snapshot>, delivery: &Delivery, endpoint: &Arc<Endpoint>) -> Option<Option<u64>> {
    let tenant = snapshot?.tenant(&delivery.tenant)?;
    tenant.endpoints.get(&endpoint.id).filter(|known| Arc::ptr_eq(known, endpoint))?;
    Some(tenant.versions.of(ItemKind::Endpoint, &endpoint.id))
}

fn place(endpoint: &Arc<Endpoint>) -> usize {
    Arc::as_ptr(endpoint).addr()
}
