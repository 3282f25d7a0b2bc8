//! Waits that cost the broker least, for what waits in large numbers. Pure.

use broker::Due;

use super::{rate::RateLimiter, uptime::Uptime};

/// How many times as many of these waits begin in a while as deliveries may return in it: new deliveries come on top of
/// those that return.
const MOST: f64 = 2.0;
/// Ms by which the waits may be ahead of that rate.
const BURST_MS: f64 = 3_000.0;

/// Waits that take one hop on a ladder of fixed delays.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CheapWaits {
    pace: RateLimiter,
    /// Ms by which the waits so far were shorter than asked for, or longer if negative.
    owed_ms: f64,
}

impl CheapWaits {
    /// Chooses a wait of about `wait_ms`, and of so long on average. `None` for what is too much of a burst: waits of one
    /// length end as close together as they began.
    pub(super) fn choose(&mut self, wait_ms: f64, return_gap_ms: f64, now: Uptime) -> Option<u64> {
        if self.pace.delay_ms(now) > BURST_MS {
            return None;
        }
        self.pace.take(now, return_gap_ms / MOST);
        // What is owed for long waits must not shorten short ones to nothing.
        let wanted_ms = wait_ms + self.owed_ms.clamp(-wait_ms / 2.0, wait_ms / 2.0);
        let distance = |ms: &u64| (*ms as f64 - wanted_ms).abs();
        let nearest = Due::ONE_HOP_MS.into_iter().min_by(|one, other| distance(one).total_cmp(&distance(other)))?;
        self.owed_ms = wanted_ms - nearest as f64;
        Some(nearest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Uptime = Uptime::of_ms(1_000);

    #[test]
    fn waits_are_as_long_as_asked_on_average_and_their_lengths_alternate() {
        let mut waits = CheapWaits::default();
        let mut seconds = |wait_ms| waits.choose(wait_ms, 1.0, NOW).map(|ms| ms / 1_000);
        let chosen: Vec<_> = (0..8).map_while(|_| seconds(75_000.0)).collect();
        assert_eq!(chosen, [60, 60, 120, 60, 60, 60, 120, 60]);
        assert_eq!(seconds(30_000.0), Some(30));
    }

    #[test]
    fn no_more_begin_in_a_while_than_twice_what_returns_in_it() {
        let mut waits = CheapWaits::default();
        let mut begin = |now| (0..1_000).filter_map(|_| waits.choose(60_000.0, 50.0, now)).count();
        assert_eq!(begin(NOW), 121);
        assert_eq!(begin(NOW + 1_000), 40);
    }

    proptest! {
        #[test]
        fn a_wait_takes_one_hop_and_is_a_quarter_to_three_times_as_long_as_asked(
            asked in proptest::collection::vec(30_000.0..20_000_000.0_f64, 1..100),
        ) {
            let mut waits = CheapWaits::default();
            for wait_ms in asked {
                let chosen_ms = waits.choose(wait_ms, 1.0, NOW).expect("no burst");
                prop_assert!(Due::ONE_HOP_MS.contains(&chosen_ms));
                prop_assert!((wait_ms / 4.0..wait_ms * 3.0).contains(&(chosen_ms as f64)), "{chosen_ms} of {wait_ms}");
            }
        }
    }
}
