//! Bounds how many slow operations run at once, for each tenant and for all, so that one tenant leaves permits to the
//! others. Nothing queues: a request without a permit is refused.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

#[derive(Debug)]
pub(crate) struct TenantSemaphore {
    most: (usize, usize),
    in_use: Arc<Mutex<HashMap<String, usize>>>,
}

/// A permit of a tenant. Its drop returns it.
#[derive(Debug)]
pub(crate) struct TenantPermit {
    in_use: Arc<Mutex<HashMap<String, usize>>>,
    tenant: String,
}

impl TenantSemaphore {
    /// Makes a semaphore with permits for each tenant, and for all tenants together.
    pub(crate) fn new(most: (usize, usize)) -> Self {
        Self { most, in_use: Arc::default() }
    }

    /// Takes a permit, unless too many are in use.
    pub(crate) fn try_acquire(&self, tenant: &str) -> Option<TenantPermit> {
        let (of_each, of_all) = self.most;
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        if in_use.values().sum::<usize>() >= of_all || in_use.get(tenant).is_some_and(|own| *own >= of_each) {
            return None;
        }
        *in_use.entry(tenant.to_owned()).or_default() += 1;
        Some(TenantPermit { in_use: self.in_use.clone(), tenant: tenant.to_owned() })
    }
}

impl Drop for TenantPermit {
    fn drop(&mut self) {
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = in_use.get_mut(&self.tenant) {
            *own -= 1;
            if *own == 0 {
                in_use.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_leaves_permits_to_the_others_and_a_drop_gives_one_back() {
        let semaphore = TenantSemaphore::new((4, 64));
        let mut permits: Vec<_> = (0..4).map(|_| semaphore.try_acquire("acme").unwrap()).collect();
        assert!(semaphore.try_acquire("acme").is_none());
        permits.extend((4..64).map(|nth| semaphore.try_acquire(&nth.to_string()).unwrap()));
        assert!(semaphore.try_acquire("zeta").is_none(), "all permits are in use");
        permits.remove(0);
        assert!(semaphore.try_acquire("acme").is_some());
        drop(permits);
        assert!(semaphore.in_use.lock().unwrap().is_empty(), "a tenant without permits takes no memory");
    }
}
