//! What tenants may publish while their events that were put aside wait for long: as much as is routed of theirs, so
//! that no tenant fills the queue of these.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::shares::{MOST_SHARES, SHARED_PART, level};

/// Age, in milliseconds, of an event that was put aside for long.
const LATE: u64 = 10_000;

/// The events that were routed since the last look, of tenants that put events aside.
#[derive(Debug, Default)]
pub(crate) struct AsideEvents {
    by_tenant: Mutex<BTreeMap<String, Routed>>,
    /// True if a tenant had late events at the last look. Nobody's other events are counted otherwise.
    is_any_late: AtomicBool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Routed {
    /// Events that came back from the queue of those that were put aside.
    back: u64,
    /// The part of them that came back late.
    late: u64,
    /// Events that were not put aside. They are counted if `was_late`.
    at_once: u64,
    /// True if it was late at the last look.
    was_late: bool,
}

impl Routed {
    /// A few old events, as when parked ones are requeued, show no queue.
    fn is_late(&self) -> bool {
        self.late * 2 > self.back
    }
}

impl AsideEvents {
    /// Notes an event that came back.
    pub(crate) fn came_back(&self, tenant: &str, age_ms: u64) {
        let mut by_tenant = self.by_tenant.lock().unwrap_or_else(PoisonError::into_inner);
        if !by_tenant.contains_key(tenant) {
            by_tenant.insert(tenant.to_owned(), Routed::default());
        }
        if let Some(routed) = by_tenant.get_mut(tenant) {
            routed.back += 1;
            routed.late += u64::from(age_ms > LATE);
        }
    }

    /// Notes an event that is not put aside.
    pub(crate) fn routed_at_once(&self, tenant: &str) {
        if self.is_any_late.load(Relaxed) {
            let mut by_tenant = self.by_tenant.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(routed) = by_tenant.get_mut(tenant) {
                routed.at_once += 1;
            }
        }
    }

    /// Returns the shares by what was routed in the time since the last look, and begins anew.
    pub(crate) fn shares(&self, elapsed: Duration) -> BTreeMap<String, f64> {
        let mut by_tenant = self.by_tenant.lock().unwrap_or_else(PoisonError::into_inner);
        let shares = shares(&by_tenant, elapsed);
        by_tenant.retain(|_, routed| {
            let was_late = routed.is_late();
            *routed = Routed { was_late, ..Routed::default() };
            was_late
        });
        self.is_any_late.store(!by_tenant.is_empty(), Relaxed);
        shares
    }
}

/// Events a second for each tenant whose events came back late for two looks: those that it does not put aside, and of
/// the others as much as comes back, less a part that shortens the queue. Tenants that have few in it keep what they have.
fn shares(by_tenant: &BTreeMap<String, Routed>, elapsed: Duration) -> BTreeMap<String, f64> {
    let mut by_back: Vec<_> = by_tenant.iter().collect();
    by_back.sort_by_key(|(_, routed)| std::cmp::Reverse(routed.back));
    let backs = by_back.iter().map(|(_, routed)| routed.back as f64);
    let Some(level) = level(backs.clone().sum::<f64>() * SHARED_PART, backs) else { return BTreeMap::new() };
    let has_share = |routed: &Routed| routed.is_late() && routed.was_late && routed.back as f64 > level;
    let named = by_back.into_iter().filter(|(_, routed)| has_share(routed)).take(MOST_SHARES);
    named.map(|(tenant, routed)| (tenant.clone(), (routed.at_once as f64 + level) / elapsed.as_secs_f64())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn named(shares: &[(&str, f64)]) -> BTreeMap<String, f64> {
        shares.iter().map(|(tenant, share)| ((*tenant).to_owned(), *share)).collect()
    }

    fn come_back(aside: &AsideEvents, tenant: &str, events: u64, age_ms: u64) {
        (0..events).for_each(|_| aside.came_back(tenant, age_ms));
    }

    /// The shares of the second of two looks with the same events.
    fn second_look(look: impl Fn(&AsideEvents)) -> BTreeMap<String, f64> {
        let aside = AsideEvents::default();
        look(&aside);
        assert_eq!(aside.shares(SECOND), BTreeMap::new());
        look(&aside);
        aside.shares(SECOND)
    }

    #[test]
    fn a_tenant_whose_events_come_back_late_gets_what_is_routed_of_its_events() {
        let shares = second_look(|aside| {
            come_back(aside, "acme", 8, LATE + 1);
            (0..100).for_each(|_| aside.routed_at_once("acme"));
            (0..100).for_each(|_| aside.routed_at_once("beta"));
        });
        assert_eq!(shares, named(&[("acme", 106.0)]));
    }

    #[test]
    fn tenants_share_what_comes_back_and_those_with_little_are_left_alone() {
        let look = |aside: &AsideEvents| {
            for (tenant, events) in [("a", 60), ("b", 40), ("c", 4)] {
                come_back(aside, tenant, events, LATE + 1);
            }
        };
        assert_eq!(second_look(look), named(&[("a", 37.0), ("b", 37.0)]));
    }

    #[test]
    fn nobody_has_a_share_once_its_events_come_back_soon() {
        assert_eq!(second_look(|aside| come_back(aside, "acme", 8, LATE)), BTreeMap::new());
        let requeued = |aside: &AsideEvents| {
            come_back(aside, "acme", 8, 0);
            come_back(aside, "acme", 1, LATE + 1);
        };
        assert_eq!(second_look(requeued), BTreeMap::new());
        let aside = AsideEvents::default();
        come_back(&aside, "acme", 8, LATE + 1);
        aside.shares(SECOND);
        come_back(&aside, "acme", 8, LATE);
        assert_eq!(aside.shares(SECOND), BTreeMap::new());
        assert_eq!(*aside.by_tenant.lock().unwrap(), BTreeMap::new());
    }
}
