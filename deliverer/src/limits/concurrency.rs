//! How many requests to an endpoint may be in flight: additive increase, multiplicative decrease, as in TCP. Pure. The
//! part of `max_in_flight` that belongs to this process varies with the number of deliverers, so it is an argument.

use super::uptime::Uptime;

const INITIAL_SIZE: f64 = 4.0;
/// Least size up to which the limit doubles after an outage. A backlog waits then, and the limit before the outage may
/// have been small only because the endpoint had little to do.
const RAMP: f64 = 16.0;
/// Part of the limit that remains after a round trip of slow answers.
const SLOWDOWN: f64 = 0.8;
/// Shortest time, in ms, between two reductions at an endpoint with a shorter round trip.
const MIN_REDUCTION_GAP_MS: u64 = 50;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ConcurrencyLimit {
    size: f64,
    /// Size up to which the limit doubles with every round trip. Infinite until the first reduction.
    threshold: f64,
    reduced_at: Option<Uptime>,
}

impl Default for ConcurrencyLimit {
    fn default() -> Self {
        Self { size: INITIAL_SIZE, threshold: f64::INFINITY, reduced_at: None }
    }
}

impl ConcurrencyLimit {
    /// Requests that may be in flight: at least one, at most this process' share `most`.
    pub(super) fn places(&self, most: f64) -> u32 {
        self.size.min(most).max(1.0) as u32
    }

    /// The size that the limit will soon reach again.
    pub(super) fn expected(&self, most: f64) -> f64 {
        self.size.max(self.threshold).min(most).max(1.0)
    }

    /// True while the limit doubles with every round trip.
    pub(super) fn is_doubling(&self, most: f64) -> bool {
        self.size < self.threshold.min(most)
    }

    /// Round trips until so many deliveries that wait have got a place, if all answers are successes.
    pub(super) fn round_trips(&self, waiting: f64, most: f64) -> f64 {
        let (places, expected) = (f64::from(self.places(most)), self.expected(most));
        let while_doubling = waiting.min(expected - places).max(0.0);
        (1.0 + while_doubling / places).log2() + (waiting - while_doubling) / expected
    }

    /// Notes a success with `in_flight` requests: the limit grows by one in a round trip, or doubles below the
    /// threshold. A limit that is less than half used does not grow, because the endpoint has not proved it.
    pub(super) fn grow(&mut self, in_flight: u32, most: f64) {
        if f64::from(in_flight) * 2.0 < self.size {
            return;
        }
        let step = if self.size < self.threshold { 1.0 } else { 1.0 / self.size };
        self.size = (self.size + step).min(most.max(1.0));
    }

    /// The endpoint was overloaded.
    pub(super) fn halve(&mut self, now: Uptime, round_trip_ms: u64) {
        self.reduce((self.size / 2.0).max(1.0), now, round_trip_ms);
    }

    /// Lowers the limit because answers are slower than usual. A busy machine makes all endpoints look slow, so the
    /// limit stays above `RAMP`: with a limit of one, deliveries would be deferred for minutes.
    pub(super) fn ease(&mut self, now: Uptime, round_trip_ms: u64) {
        self.reduce((self.size * SLOWDOWN).max(self.size.min(RAMP)), now, round_trip_ms);
    }

    fn reduce(&mut self, size: f64, now: Uptime, round_trip_ms: u64) {
        let gap_ms = round_trip_ms.max(MIN_REDUCTION_GAP_MS);
        if self.reduced_at.is_some_and(|at| now < at + gap_ms) {
            return;
        }
        (self.size, self.threshold, self.reduced_at) = (size, size, Some(now));
    }

    /// The endpoint is down. Afterwards the limit doubles up to half of what it was, or like that of a new endpoint if
    /// this one was never up.
    pub(super) fn collapse(&mut self, was_up: bool, now: Uptime) {
        self.threshold = if was_up { (self.size / 2.0).max(RAMP) } else { f64::INFINITY };
        self.size = 1.0;
        self.reduced_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Uptime = Uptime::of_ms(0);

    #[test]
    fn the_limit_doubles_until_it_is_halved_and_then_grows_by_one_a_round_trip() {
        let mut limit = ConcurrencyLimit::default();
        for expected in [4, 8, 16, 32, 64, 64] {
            let places = limit.places(64.0);
            assert_eq!(places, expected);
            (0..places).for_each(|_| limit.grow(places, 64.0));
        }
        limit.halve(NOW, 200);
        limit.halve(NOW + 199, 200);
        assert_eq!(limit.places(64.0), 32, "once in a round trip");
        (0..32).for_each(|_| limit.grow(32, 64.0));
        assert_eq!(limit.places(64.0), 32, "fractions are not given");
        limit.grow(32, 64.0);
        assert_eq!(limit.places(64.0), 33);
    }

    #[test]
    fn what_waits_gets_its_places_soon_while_the_limit_doubles() {
        let mut limit = ConcurrencyLimit::default();
        assert!(limit.is_doubling(64.0));
        assert_eq!([4.0, 28.0, 60.0, 124.0].map(|waiting| limit.round_trips(waiting, 64.0)), [1.0, 3.0, 4.0, 5.0]);
        limit.halve(NOW, 200);
        assert!(!limit.is_doubling(64.0));
        assert_eq!(limit.round_trips(60.0, 64.0), 30.0, "two at once");
    }

    #[test]
    fn the_limit_is_eased_by_slow_answers_but_not_below_sixteen() {
        let mut limit = ConcurrencyLimit::default();
        (0..1_000).for_each(|_| limit.grow(64, 64.0));
        let eased = (1..=20).map(|trip| {
            limit.ease(NOW + trip * 300, 300);
            limit.places(64.0)
        });
        assert_eq!(eased.collect::<Vec<_>>()[..7], [51, 40, 32, 26, 20, 16, 16]);
        assert_eq!(limit.places(64.0), 16);
        limit.halve(NOW + 30_000, 300);
        limit.ease(NOW + 60_000, 300);
        assert_eq!(limit.places(64.0), 8, "an overload goes lower than that");
    }

    #[test]
    fn the_limit_does_not_grow_while_it_is_not_used() {
        let mut limit = ConcurrencyLimit::default();
        (0..1_000).for_each(|_| limit.grow(1, 64.0));
        assert_eq!(limit.places(64.0), 4);
    }

    #[test]
    fn the_limit_doubles_after_an_outage_up_to_half_of_what_it_was() {
        let mut limit = ConcurrencyLimit::default();
        (0..1_000).for_each(|_| limit.grow(64, 64.0));
        limit.collapse(true, NOW);
        let ramp: Vec<_> = (0..6)
            .map(|_| {
                let places = limit.places(64.0);
                (0..places).for_each(|_| limit.grow(places, 64.0));
                places
            })
            .collect();
        assert_eq!(ramp, [1, 2, 4, 8, 16, 32]);
        assert_eq!(limit.places(64.0), 32, "the rest is approached by one a round trip");
    }

    proptest! {
        #[test]
        fn the_limit_stays_between_one_and_the_share(
            steps in proptest::collection::vec((0..4_u8, 0..200_u32, 0..5_000_u64), 0..300),
            most in 0.01..64.0_f64,
        ) {
            let (mut limit, mut now) = (ConcurrencyLimit::default(), NOW);
            for (step, in_flight, ms) in steps {
                now = now + ms;
                match step {
                    0 => limit.grow(in_flight, most),
                    1 => limit.halve(now, ms),
                    2 => limit.ease(now, ms),
                    _ => limit.collapse(ms % 2 == 0, now),
                }
                let places = limit.places(most);
                prop_assert!(places >= 1 && f64::from(places) <= most.max(1.0), "{places} of {most}");
                prop_assert!(limit.expected(most) + 1.0 > f64::from(places));
            }
        }
    }
}
