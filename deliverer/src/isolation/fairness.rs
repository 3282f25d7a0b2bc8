//! Whether a tenant takes what others need. An endpoint has its window for that; a tenant may have many endpoints. Pure
//! but for two counters.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

/// The places that all tenants of a process have.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    under_way: AtomicU32,
    /// How many tenants have any.
    tenants: AtomicU32,
}

/// The places that one tenant has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tenant(Arc<AtomicU32>);

impl Crowd {
    /// A tenant has one more.
    pub(crate) fn enter(&self, tenant: &Tenant) {
        self.under_way.fetch_add(1, Relaxed);
        if tenant.0.fetch_add(1, Relaxed) == 0 {
            self.tenants.fetch_add(1, Relaxed);
        }
    }

    /// A tenant has one less.
    pub(crate) fn leave(&self, tenant: &Tenant) {
        self.under_way.fetch_sub(1, Relaxed);
        if tenant.0.fetch_sub(1, Relaxed) == 1 {
            self.tenants.fetch_sub(1, Relaxed);
        }
    }

    /// How many requests have a place.
    pub(crate) fn under_way(&self) -> u32 {
        self.under_way.load(Relaxed)
    }

    /// Whether it has more than half of all places while others want some: its first attempts then go to the slow lane.
    pub(crate) fn is_crowded_by(&self, tenant: &Tenant, scarce: bool) -> bool {
        let own = u64::from(tenant.0.load(Relaxed));
        scarce && self.tenants.load(Relaxed) > 1 && own * 2 > u64::from(self.under_way())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_may_have_all_places_until_another_comes_and_half_of_them_then() {
        let (crowd, large, small) = (Crowd::default(), Tenant::default(), Tenant::default());
        (0..10).for_each(|_| crowd.enter(&large));
        assert!(!crowd.is_crowded_by(&large, true), "nobody else is there");
        crowd.enter(&small);
        assert!(crowd.is_crowded_by(&large, true) && !crowd.is_crowded_by(&large, false));
        assert!(!crowd.is_crowded_by(&small, true));
        (0..9).for_each(|_| crowd.leave(&large));
        assert!(!crowd.is_crowded_by(&large, true), "half");
        crowd.leave(&small);
        assert_eq!((crowd.under_way(), crowd.tenants.load(Relaxed)), (1, 1));
    }
}
