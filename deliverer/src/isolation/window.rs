//! How many requests to an endpoint may be under way: more while it bears them, half when it does not (AIMD, as TCP).
//!
//! Pure. How much of `max_in_flight` is this process's share is an argument, since it changes.

/// Where it begins.
const START: f64 = 4.0;
/// After an outage it doubles up to this at least: a backlog waits, and what the endpoint bore before may be little only
/// because little was asked of it.
const RAMP: f64 = 16.0;
/// What is left of it in a round trip in which answers were slow to come.
const EASE: f64 = 0.8;
/// It is cut at most once in a round trip; for endpoints that answer at once, not more often than this, in ms.
const SHORTEST_TRIP: u64 = 50;

/// A window of requests under way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    size: f64,
    /// Below it doubles with every round trip: so much was borne before. Infinite until it was cut for the first time.
    threshold: f64,
    /// When it was last cut, unix ms.
    cut_at: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self { size: START, threshold: f64::INFINITY, cut_at: 0 }
    }
}

impl Window {
    /// How many may be under way, of `most` that are this process's share; always one.
    pub(crate) fn places(&self, most: f64) -> u32 {
        self.size.min(most).max(1.0) as u32
    }

    /// How many it may come to soon, for reckoning ahead.
    pub(crate) fn prospect(&self, most: f64) -> f64 {
        self.size.max(self.threshold).min(most).max(1.0)
    }

    /// A success, with so many under way. Grows by one a window, or by one a success below what was borne before; and
    /// only if it was used, or an idle endpoint would earn a window that nobody has tried.
    pub(crate) fn grow(&mut self, under_way: u32, most: f64) {
        if f64::from(under_way) * 2.0 < self.size {
            return;
        }
        let step = if self.size < self.threshold { 1.0 } else { 1.0 / self.size };
        self.size = (self.size + step).min(most.max(1.0));
    }

    /// It was too much.
    pub(crate) fn cut(&mut self, now: u64, round_trip: u64) {
        self.shrink((self.size / 2.0).max(1.0), now, round_trip);
    }

    /// It answers more slowly than it used to: more at once gain nothing. No sign that it is down, and a busy machine makes
    /// all endpoints look like that; so it is not brought below where a ramp leads. (Else what came meanwhile would be booked
    /// for minutes ahead by a window of one.)
    pub(crate) fn ease(&mut self, now: u64, round_trip: u64) {
        self.shrink((self.size * EASE).max(self.size.min(RAMP)), now, round_trip);
    }

    fn shrink(&mut self, size: f64, now: u64, round_trip: u64) {
        if now < self.cut_at.saturating_add(round_trip.max(SHORTEST_TRIP)) {
            return;
        }
        (self.size, self.threshold, self.cut_at) = (size, size, now);
    }

    /// The endpoint is down: afterwards it is approached with one, then two, then four, up to half of what it bore.
    pub(crate) fn collapse(&mut self, now: u64) {
        self.threshold = (self.size / 2.0).max(RAMP);
        self.size = 1.0;
        self.cut_at = now;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_790_000_000_000;

    #[test]
    fn it_doubles_until_it_is_cut_and_then_grows_by_one_a_round_trip() {
        let mut window = Window::default();
        for expected in [4, 8, 16, 32, 64, 64] {
            let places = window.places(64.0);
            assert_eq!(places, expected);
            (0..places).for_each(|_| window.grow(places, 64.0));
        }
        window.cut(NOW, 200);
        window.cut(NOW + 199, 200);
        assert_eq!(window.places(64.0), 32, "once in a round trip");
        (0..32).for_each(|_| window.grow(32, 64.0));
        assert_eq!(window.places(64.0), 32, "fractions are not given");
        window.grow(32, 64.0);
        assert_eq!(window.places(64.0), 33);
    }

    #[test]
    fn slow_answers_ease_it_and_never_to_a_crawl() {
        let mut window = Window::default();
        (0..1_000).for_each(|_| window.grow(64, 64.0));
        let eased = (1..=20).map(|trip| {
            window.ease(NOW + trip * 300, 300);
            window.places(64.0)
        });
        assert_eq!(eased.collect::<Vec<_>>()[..7], [51, 40, 32, 26, 20, 16, 16]);
        assert_eq!(window.places(64.0), 16);
        window.cut(NOW + 30_000, 300);
        window.ease(NOW + 60_000, 300);
        assert_eq!(window.places(64.0), 8, "what was too much is another thing");
    }

    #[test]
    fn what_is_not_used_does_not_grow() {
        let mut window = Window::default();
        (0..1_000).for_each(|_| window.grow(1, 64.0));
        assert_eq!(window.places(64.0), 4);
    }

    #[test]
    fn after_an_outage_it_is_approached_at_a_ramp() {
        let mut window = Window::default();
        (0..1_000).for_each(|_| window.grow(64, 64.0));
        window.collapse(NOW);
        let ramp: Vec<_> = (0..6)
            .map(|_| {
                let places = window.places(64.0);
                (0..places).for_each(|_| window.grow(places, 64.0));
                places
            })
            .collect();
        assert_eq!(ramp, [1, 2, 4, 8, 16, 32]);
        assert_eq!(window.places(64.0), 32, "the last of the old window is approached by one a round trip");
    }

    proptest! {
        #[test]
        fn it_stays_between_one_and_the_share(
            steps in proptest::collection::vec((0..4_u8, 0..200_u32, 0..5_000_u64), 0..300),
            most in 0.01..64.0_f64,
        ) {
            let (mut window, mut now) = (Window::default(), NOW);
            for (step, under_way, ms) in steps {
                now += ms;
                match step {
                    0 => window.grow(under_way, most),
                    1 => window.cut(now, ms),
                    2 => window.ease(now, ms),
                    _ => window.collapse(now),
                }
                let places = window.places(most);
                prop_assert!(places >= 1 && f64::from(places) <= most.max(1.0), "{places} of {most}");
                prop_assert!(window.prospect(most) + 1.0 > f64::from(places));
            }
        }
    }
}
