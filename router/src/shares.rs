//! The tenants' shares of what the router routes, while it is behind: then events wait, and whoever publishes more than
//! its share makes others wait.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Age of an event, in milliseconds, that has waited for the router.
const LATE: u64 = 1_000;
/// Part of the router's rate that the shares add up to; the rest shortens the queue.
const SHARED_PART: f64 = 0.75;
/// Largest number of tenants whose shares are announced.
const MOST_SHARES: usize = 1_000;

/// The events that were taken since the last look.
#[derive(Debug, Default)]
pub(crate) struct TakenEvents {
    all: AtomicU64,
    /// The late ones by tenant. A router that is not behind does not lock it.
    late: Mutex<BTreeMap<String, u64>>,
}

impl TakenEvents {
    pub(crate) fn note(&self, tenant: &str, age_ms: u64) {
        self.all.fetch_add(1, Relaxed);
        if age_ms > LATE {
            let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
            match late.get_mut(tenant) {
                Some(count) => *count += 1,
                None => _ = late.insert(tenant.to_owned(), 1),
            }
        }
    }

    /// Returns the shares by what was taken in the time since the last look, and begins anew.
    pub(crate) fn shares(&self, elapsed: Duration) -> BTreeMap<String, f64> {
        let all = self.all.swap(0, Relaxed);
        let late = std::mem::take(&mut *self.late.lock().unwrap_or_else(PoisonError::into_inner));
        shares(all, late, elapsed)
    }
}

/// Events a second for each tenant that takes more than its part of the router's rate. A router is behind if most of its
/// events are late: a few old ones, as when parked events are requeued, delay nobody. A tenant that is alone delays only
/// itself.
///
/// The shares are the same for all of these tenants, and as large as the other tenants' events leave room for.
fn shares(all: u64, late: BTreeMap<String, u64>, elapsed: Duration) -> BTreeMap<String, f64> {
    if late.values().sum::<u64>() * 2 <= all || late.len() < 2 {
        return BTreeMap::new();
    }
    let mut by_count: Vec<_> = late.into_iter().map(|(tenant, count)| (count as f64, tenant)).collect();
    by_count.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let (mut left, mut tenants) = (all as f64 * SHARED_PART, by_count.len());
    for (count, _) in by_count.iter().rev() {
        if *count > left / tenants as f64 {
            break;
        }
        left -= count;
        tenants -= 1;
    }
    let share = left / tenants as f64 / elapsed.as_secs_f64();
    by_count.into_iter().take(tenants.min(MOST_SHARES)).map(|(_, tenant)| (tenant, share)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn late(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
        counts.iter().map(|(tenant, count)| ((*tenant).to_owned(), *count)).collect()
    }

    fn expected(shares: &[(&str, f64)]) -> BTreeMap<String, f64> {
        shares.iter().map(|(tenant, share)| ((*tenant).to_owned(), *share)).collect()
    }

    #[test]
    fn a_tenant_that_takes_more_than_its_part_gets_what_the_others_leave() {
        let counts = late(&[("flood", 1_700), ("a", 100), ("b", 200)]);
        assert_eq!(shares(2_000, counts.clone(), SECOND), expected(&[("flood", 1_200.0)]));
        assert_eq!(shares(2_000, counts, 2 * SECOND), expected(&[("flood", 600.0)]), "a rate is by the second");
    }

    #[test]
    fn several_that_take_too_much_get_equal_shares() {
        let counts = late(&[("a", 900), ("b", 700), ("c", 400)]);
        assert_eq!(shares(2_000, counts, SECOND), expected(&[("a", 550.0), ("b", 550.0)]));
        assert_eq!(shares(2_000, late(&[("a", 1_000), ("b", 1_000)]), SECOND), expected(&[("a", 750.0), ("b", 750.0)]));
    }

    #[test]
    fn nobody_has_a_share_while_a_tenant_is_alone_or_most_events_are_in_time() {
        assert_eq!(shares(0, BTreeMap::new(), SECOND), BTreeMap::new());
        assert_eq!(shares(2_000, late(&[("a", 2_000)]), SECOND), BTreeMap::new());
        assert_eq!(shares(2_000, late(&[("a", 990), ("b", 10)]), SECOND), BTreeMap::new());
    }

    #[test]
    fn what_is_taken_counts_for_one_look() {
        let taken = TakenEvents::default();
        for _ in 0..3 {
            taken.note("a", LATE + 1);
        }
        taken.note("b", LATE + 1);
        taken.note("b", LATE);
        assert_eq!(taken.shares(SECOND), expected(&[("a", 2.75)]));
        assert_eq!(taken.shares(SECOND), BTreeMap::new());
    }
}
