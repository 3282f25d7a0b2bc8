//! When the next attempt at an endpoint may start: its `rate_limit`, and what a `Retry-After` asks for.
//!
//! A GCRA without a burst: attempts are spaced, so in no time are there more than the rate allows (and one). Pure;
//! times are unix ms with fractions, which an f64 holds to a 4,000th.

/// A gap is this much longer than the rate asks for: starts are up to some 20 ms late, and what is late must not come
/// closer to what follows than the limit has it.
const MARGIN: f64 = 1.02;

/// The clock of attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Pace {
    /// The next may start then.
    next: f64,
}

/// The gap, in ms, between attempts at `per_second`.
pub(crate) fn gap_of(per_second: f64) -> f64 {
    /// Less than one a day is one a day.
    const LONGEST: f64 = 86_400_000.0;
    (MARGIN * 1_000.0 / per_second).clamp(0.0, LONGEST)
}

impl Pace {
    /// Takes the next free time, not before `now`; it is kept free for `gap` ms.
    pub(crate) fn take(&mut self, now: u64, gap: f64) -> u64 {
        let start = self.next.max(now as f64);
        self.next = start + gap;
        // Rounded up: early is what must not be.
        start.ceil() as u64
    }

    /// How long until the next may start, in ms.
    pub(crate) fn delay(&self, now: u64) -> f64 {
        (self.next - now as f64).max(0.0)
    }

    /// Nothing starts before then, unix ms.
    pub(crate) fn hold(&mut self, until: u64) {
        self.next = self.next.max(until as f64);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_790_000_000_000;

    proptest! {
        #[test]
        fn in_no_time_are_there_more_than_the_rate_allows(
            arrivals in proptest::collection::vec(0..3_000_u64, 2..400),
            per_second in 0.5..2_000.0_f64,
        ) {
            let (mut pace, mut now) = (Pace::default(), NOW);
            let starts: Vec<_> = arrivals.into_iter().map(|ms| {
                now += ms / 50;
                pace.take(now, gap_of(per_second))
            }).collect();
            for (at, start) in starts.iter().enumerate() {
                for (further, end) in starts[at..].iter().enumerate() {
                    // So many in a window that is open at one end; a ms for the rounding.
                    let allowed = (end - start + 1) as f64 / 1_000.0 * per_second + 1.0;
                    prop_assert!(further as f64 <= allowed, "{further} in {} ms", end - start);
                }
            }
        }
    }

    #[test]
    fn a_second_has_no_more_than_the_limit_although_each_start_may_be_a_little_late() {
        let mut pace = Pace::default();
        let starts: Vec<_> = (0..100).map(|_| pace.take(NOW, gap_of(10.0))).collect();
        for (at, start) in starts.iter().enumerate() {
            let late = start + 15;
            let in_second = starts[at + 1..].iter().filter(|other| **other < late + 1_000).count();
            assert!(in_second < 10, "{in_second} and the first");
        }
        assert_eq!(starts[99] - NOW, 99 * 102);
    }

    #[test]
    fn nothing_starts_while_it_is_held() {
        let mut pace = Pace::default();
        pace.hold(NOW + 5_000);
        pace.hold(NOW + 1_000);
        assert_eq!(pace.delay(NOW), 5_000.0);
        assert_eq!(pace.take(NOW, 0.0), NOW + 5_000);
    }
}
