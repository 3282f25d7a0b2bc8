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
pub(crate) const SHARED_PART: f64 = 0.75;
/// A tenant has a share if it takes more than this many times what the others take on average.
const CLEARLY_MORE: f64 = 1.5;
/// Smallest rate, in events a second, of a tenant that has a share. The numbers of smaller ones differ by chance.
const SMALLEST_RATE: f64 = 10.0;
/// Largest number of tenants whose shares are announced.
pub(crate) const MOST_SHARES: usize = 1_000;

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

/// Events a second for each tenant that takes clearly more than the others. A router is behind if most of its events are
/// late: a few old ones, as when parked events are requeued, delay nobody. A tenant that is alone delays only itself, and
/// tenants that take as much as one another all wait.
///
/// The shares are the same for all of these tenants: as large as the other tenants' events leave room for, and an equal
/// part of all events at least.
fn shares(all: u64, late: BTreeMap<String, u64>, elapsed: Duration) -> BTreeMap<String, f64> {
    let sum = late.values().sum::<u64>();
    if sum * 2 <= all || late.len() < 2 {
        return BTreeMap::new();
    }
    let (sum, tenants, seconds) = (sum as f64, late.len() as f64, elapsed.as_secs_f64());
    let mut by_count: Vec<_> = late.into_iter().map(|(tenant, count)| (count as f64, tenant)).collect();
    by_count.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let counts = by_count.iter().map(|(count, _)| *count);
    let Some(level) = level(all as f64 * SHARED_PART, counts) else { return BTreeMap::new() };
    let takes_too_much = |count: f64| {
        count > level && count >= SMALLEST_RATE * seconds && count > (sum - count) / (tenants - 1.0) * CLEARLY_MORE
    };
    let named = by_count.into_iter().take_while(|(count, _)| takes_too_much(*count)).take(MOST_SHARES);
    let share = level.max(sum / tenants) / seconds;
    named.map(|(_, tenant)| (tenant, share)).collect()
}

/// The number that each may have at most so that all have as much as there is `room`; `None` if there is room for all.
/// The counts come with the largest first.
pub(crate) fn level(room: f64, counts: impl DoubleEndedIterator<Item = f64> + ExactSizeIterator) -> Option<f64> {
    let (mut left, mut tenants) = (room, counts.len());
    for count in counts.rev() {
        let level = left / tenants as f64;
        if count > level {
            return Some(level);
        }
        left -= count;
        tenants -= 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        let counts = late(&[("a", 1_000), ("b", 800), ("c", 100), ("d", 100)]);
        assert_eq!(shares(2_000, counts, SECOND), expected(&[("a", 650.0), ("b", 650.0)]));
    }

    #[test]
    fn tenants_that_take_about_as_much_as_one_another_have_no_share() {
        assert_eq!(shares(2_000, late(&[("a", 1_000), ("b", 1_000)]), SECOND), BTreeMap::new());
        let mut many: BTreeMap<_, _> = (0..100).map(|tenant| (tenant.to_string(), 20)).collect();
        assert_eq!(shares(2_000, many.clone(), SECOND), BTreeMap::new());
        many.insert("more".to_owned(), 28);
        many.insert("less".to_owned(), 1);
        assert_eq!(shares(2_029, many.clone(), SECOND), BTreeMap::new());
        many.insert("flood".to_owned(), 100);
        let shares = shares(2_129, many, SECOND);
        assert_eq!(shares.into_keys().collect::<Vec<_>>(), ["flood"]);
    }

    #[test]
    fn nobody_has_a_share_while_a_tenant_is_alone_or_most_events_are_in_time() {
        assert_eq!(shares(0, BTreeMap::new(), SECOND), BTreeMap::new());
        assert_eq!(shares(2_000, late(&[("a", 2_000)]), SECOND), BTreeMap::new());
        assert_eq!(shares(2_000, late(&[("a", 990), ("b", 10)]), SECOND), BTreeMap::new());
        assert_eq!(shares(2_000, late(&[("a", 1_000), ("b", 100)]), SECOND), BTreeMap::new(), "there is room for both");
    }

    #[test]
    fn what_is_taken_counts_for_one_look() {
        let taken = TakenEvents::default();
        for _ in 0..30 {
            taken.note("a", LATE + 1);
        }
        for _ in 0..10 {
            taken.note("b", LATE + 1);
            taken.note("b", LATE);
        }
        assert_eq!(taken.shares(SECOND), expected(&[("a", 27.5)]));
        assert_eq!(taken.shares(SECOND), BTreeMap::new());
    }

    proptest! {
        #[test]
        fn a_tenant_at_or_below_the_equal_part_never_has_a_share(
            counts in prop::collection::vec(0_u64..2_000, 1..30), in_time in 0_u64..2_000, milliseconds in 500_u64..3_000,
        ) {
            let (sum, elapsed) = (counts.iter().sum::<u64>(), Duration::from_millis(milliseconds));
            let equal = sum as f64 / counts.len() as f64;
            let counts: BTreeMap<_, _> = (0..).map(|tenant: u32| tenant.to_string()).zip(counts).collect();
            for (tenant, share) in shares(sum + in_time, counts.clone(), elapsed) {
                prop_assert!(counts[&tenant] as f64 > equal, "{tenant} of {counts:?}");
                prop_assert!(share * elapsed.as_secs_f64() > equal * 0.999, "{share} of {counts:?}");
            }
        }
    }
}
