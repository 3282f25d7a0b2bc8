//! The doors by tenant and endpoint. Those to endpoints that nobody has posted to for a while are forgotten.

use std::{collections::HashMap, sync::Arc};

use super::{door::Door, fairness::Tenant};
use crate::config::BreakerConfig;

/// Doors at which nothing happened for so long, in ms, may be forgotten: longer than any breaker or suspicion lasts.
const IDLE: u64 = 600_000;
/// It takes a look at each, so that is not done more often than this, in ms.
const SWEEP: u64 = 10_000;
/// So many are kept without a look.
const FEW: usize = 10_000;
/// More are not kept: what comes to them is admitted as if nothing were known. Some 500 bytes each.
const MOST: usize = 200_000;

/// The doors of a process.
#[derive(Debug)]
pub(super) struct Doors {
    breaker: BreakerConfig,
    by_tenant: HashMap<String, Household>,
    count: usize,
    /// When there are so many, those that may be forgotten are.
    sweep_at: usize,
    /// When they were last, unix ms.
    swept_at: u64,
}

/// A tenant's doors.
#[derive(Debug, Default)]
struct Household {
    tenant: Tenant,
    doors: HashMap<String, Arc<Door>>,
}

impl Doors {
    /// None yet; those to come have this breaker.
    pub(super) fn new(breaker: BreakerConfig) -> Self {
        Self { breaker, by_tenant: HashMap::new(), count: 0, sweep_at: FEW, swept_at: 0 }
    }

    /// The door to an endpoint; allocates only for one that is new.
    pub(super) fn of(&mut self, tenant: &str, endpoint: &str, now: u64) -> Arc<Door> {
        if let Some(door) = self.by_tenant.get(tenant).and_then(|household| household.doors.get(endpoint)) {
            return door.clone();
        }
        if self.count >= self.sweep_at && now >= self.swept_at + SWEEP {
            self.sweep(now);
        }
        if self.count >= MOST {
            return Arc::new(Door::new(tenant, endpoint, Tenant::default(), self.breaker));
        }
        let household = self.by_tenant.entry(tenant.to_owned()).or_default();
        let door = Arc::new(Door::new(tenant, endpoint, household.tenant.clone(), self.breaker));
        household.doors.insert(endpoint.to_owned(), door.clone());
        self.count += 1;
        door
    }

    pub(super) fn all(&self) -> Vec<Arc<Door>> {
        self.by_tenant.values().flat_map(|household| household.doors.values().cloned()).collect()
    }

    fn sweep(&mut self, now: u64) {
        self.swept_at = now;
        self.by_tenant.retain(|_, household| {
            let is_used = |door: &Arc<Door>| Arc::strong_count(door) > 1 || !door.with(|it| it.is_idle_for(IDLE, now));
            household.doors.retain(|_, door| is_used(door));
            !household.doors.is_empty()
        });
        self.count = self.by_tenant.values().map(|household| household.doors.len()).sum();
        self.sweep_at = (self.count * 2).clamp(FEW, MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_has_posted_to_for_a_while_is_forgotten_and_what_is_held_is_not() {
        let mut doors = Doors::new(BreakerConfig::default());
        let held = doors.of("acme", "held", 0);
        assert!(Arc::ptr_eq(&held, &doors.of("acme", "held", 0)));
        for number in 1..FEW {
            doors.of(&format!("t{}", number % 100), &number.to_string(), 0);
        }
        assert_eq!(doors.all().len(), FEW);
        doors.of("acme", "one more", IDLE);
        assert_eq!(doors.all().len(), 2);
        assert_eq!((doors.by_tenant.len(), doors.count), (1, 2));
    }

    #[test]
    fn there_is_a_bound_and_beyond_it_nothing_is_known() {
        let mut doors = Doors::new(BreakerConfig::default());
        let held: Vec<_> = (0..MOST).map(|number| doors.of("acme", &number.to_string(), 0)).collect();
        assert!(!Arc::ptr_eq(&doors.of("acme", "x", 0), &doors.of("acme", "x", 0)));
        assert_eq!((doors.count, held.len()), (MOST, MOST));
    }
}
