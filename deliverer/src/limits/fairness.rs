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
}

#[derive(Clone, Debug, Default)]
pub(super) struct TenantInFlight(Arc<AtomicU32>);

impl TenantFairness {
    pub(super) fn enter(&self, tenant: &TenantInFlight) {
        self.in_flight.fetch_add(1, Relaxed);
        tenant.0.fetch_add(1, Relaxed);
    }

    pub(super) fn leave(&self, tenant: &TenantInFlight) {
        self.in_flight.fetch_sub(1, Relaxed);
        tenant.0.fetch_sub(1, Relaxed);
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Whether a tenant has more than half of all requests in flight.
    pub(super) fn is_crowded_by(&self, tenant: &TenantInFlight) -> bool {
        u64::from(tenant.0.load(Relaxed)) * 2 > u64::from(self.in_flight())
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
    fn a_tenant_crowds_the_process_with_more_than_half_of_its_requests() {
        let (fairness, large, small) =
            (TenantFairness::default(), TenantInFlight::default(), TenantInFlight::default());
        (0..10).for_each(|_| fairness.enter(&large));
        fairness.enter(&small);
        assert!(fairness.is_crowded_by(&large) && !fairness.is_crowded_by(&small));
        (0..9).for_each(|_| fairness.leave(&large));
        assert!(!fairness.is_crowded_by(&large), "half");
        fairness.leave(&small);
        assert_eq!(fairness.in_flight(), 1);
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
