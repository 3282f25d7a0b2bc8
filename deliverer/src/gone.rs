//! Endpoints that said 410: this process posts to them no more, until they are changed or it is restarted.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use schemas::{Delivery, Endpoint, Fact};
use store::{Kind, Snapshot};

/// The versions of endpoints that said so, by their place in memory; while there is a weak pointer to it, no other can
/// have that place.
#[derive(Debug, Default)]
pub(crate) struct Gone(Mutex<HashMap<usize, Weak<Endpoint>>>);

impl Gone {
    /// Notes that this version of an endpoint said 410.
    pub(crate) fn note(&self, endpoint: &Arc<Endpoint>) {
        let mut gone = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gone.retain(|_, known| known.strong_count() > 0);
        gone.insert(place(endpoint), Arc::downgrade(endpoint));
    }

    /// Whether this very version did.
    pub(crate) fn contains(&self, endpoint: &Arc<Endpoint>) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&place(endpoint))
    }
}

/// What there is to tell who can disable it for all; nothing if it was changed meanwhile, which may have mended it.
pub(crate) fn fact(snapshot: Option<&Snapshot>, delivery: &Delivery, endpoint: &Arc<Endpoint>) -> Option<Fact> {
    let tenant = snapshot?.tenant(&delivery.tenant)?;
    tenant.endpoints.get(&endpoint.id).filter(|known| Arc::ptr_eq(known, endpoint))?;
    Some(Fact::Gone {
        tenant: delivery.tenant.clone(),
        endpoint_id: endpoint.id.clone(),
        version: tenant.versions.of(Kind::Endpoint, &endpoint.id),
    })
}

fn place(endpoint: &Arc<Endpoint>) -> usize {
    Arc::as_ptr(endpoint).addr()
}
