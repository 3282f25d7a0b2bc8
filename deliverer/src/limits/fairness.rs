//! Fairness among tenants and endpoints of one process, by the requests that each has in flight.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

/// An endpoint with more than one in this many of all requests in flight is degraded.
const LARGEST_PART: u32 = 10;
/// An endpoint with fewer requests in flight than this never has too many.
const NEVER_TOO_MANY: u32 = 30;

#[derive(Debug, Default)]
pub(super) struct TenantFairness {
    in_flight: AtomicU32,
    tenants: AtomicU32,
}

#[derive(Clone, Debug, Default)]
pub(super) struct TenantInFlight(Arc<AtomicU32>);

impl TenantFairness {
    pub(super) fn enter(&self, tenant: &TenantInFlight) {
        self.in_flight.fetch_add(1, Relaxed);
        if tenant.0.fetch_add(1, Relaxed) == 0 {
            self.tenants.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn leave(&self, tenant: &TenantInFlight) {
        self.in_flight.fetch_sub(1, Relaxed);
        if tenant.0.fetch_sub(1, Relaxed) == 1 {
            self.tenants.fetch_sub(1, Relaxed);
        }
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Whether a tenant has more than half of all requests in flight while slots are scarce and another tenant needs
    /// some.
    pub(super) fn is_crowded_by(&self, tenant: &TenantInFlight, slots_are_scarce: bool) -> bool {
        let own = u64::from(tenant.0.load(Relaxed));
        slots_are_scarce && self.tenants.load(Relaxed) > 1 && own * 2 > u64::from(self.in_flight())
    }
}

/// Whether `own` of `all` requests in flight are too many for one endpoint. While slots are not scarce, no number is.
pub(super) fn takes_too_many(own: u32, all: u32, slots_are_scarce: bool) -> bool {
    slots_are_scarce && own >= NEVER_TOO_MANY && own > all / LARGEST_PART
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_may_have_all_places_until_another_comes_and_half_of_them_then() {
        let (fairness, large, small) =
            (TenantFairness::default(), TenantInFlight::default(), TenantInFlight::default());
        (0..10).for_each(|_| fairness.enter(&large));
        assert!(!fairness.is_crowded_by(&large, true), "nobody else is there");
        fairness.enter(&small);
        assert!(fairness.is_crowded_by(&large, true) && !fairness.is_crowded_by(&large, false));
        assert!(!fairness.is_crowded_by(&small, true));
        (0..9).for_each(|_| fairness.leave(&large));
        assert!(!fairness.is_crowded_by(&large, true), "half");
        fairness.leave(&small);
        assert_eq!((fairness.in_flight(), fairness.tenants.load(Relaxed)), (1, 1));
    }

    #[test]
    fn an_endpoint_takes_too_many_only_where_others_need_the_slots() {
        for (own, all, scarce, expected) in
            [(64, 64, false, false), (64, 500, true, true), (29, 100, true, false), (40, 400, true, false)]
        {
            assert_eq!(takes_too_many(own, all, scarce), expected, "{own} of {all}, {scarce}");
        }
    }
}
