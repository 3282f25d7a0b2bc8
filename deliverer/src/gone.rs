//! Endpoints that said 410: this process posts to them no more, until they are changed or it is restarted.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use schemas::Endpoint;

/// The endpoints that are gone, as the versions that said so.
#[derive(Debug, Default)]
pub(crate) struct Gone(Mutex<HashMap<(String, String), Weak<Endpoint>>>);

impl Gone {
    /// Notes that this version of an endpoint said 410.
    pub(crate) fn note(&self, tenant: &str, endpoint: &Arc<Endpoint>) {
        let key = (tenant.to_owned(), endpoint.id.clone());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::downgrade(endpoint));
    }

    /// Whether this very version did.
    pub(crate) fn contains(&self, tenant: &str, endpoint: &Arc<Endpoint>) -> bool {
        let gone = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if gone.is_empty() {
            return false;
        }
        let key = (tenant.to_owned(), endpoint.id.clone());
        gone.get(&key).is_some_and(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(endpoint)))
    }
}
