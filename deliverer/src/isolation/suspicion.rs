//! Whether an endpoint is a suspect: one that may hold up others. Its first attempts go to the slow lane too, and of
//! the requests that are cut short, its go first. Pure.

/// So long it must have been clean, in ms.
const CLEAN: u64 = 60_000;
/// Whoever takes longer than this on average, in ms.
const SLOW: f64 = 2_000.0;
/// Of requests under way more than one in this many,
const SHARE: u32 = 10;
/// if they are so many at least.
const MANY: u32 = 30;

/// Whether an endpoint is a suspect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Suspicion {
    /// Until then, unix ms.
    until: u64,
}

impl Suspicion {
    /// There is reason to be suspicious until `until` at least.
    pub(crate) fn arouse(&mut self, until: u64) {
        self.until = self.until.max(until.saturating_add(CLEAN));
    }

    /// Whether it is one now.
    pub(crate) fn holds(&self, now: u64) -> bool {
        now < self.until
    }
}

/// Whether an average latency, in ms, is a reason.
pub(crate) fn is_slow(average: f64) -> bool {
    average > SLOW
}

/// Whether `own` of `all` requests under way are a reason. Only where places are scarce: an endpoint that is alone may
/// have them.
pub(crate) fn is_greedy(own: u32, all: u32, scarce: bool) -> bool {
    scarce && own >= MANY && own > all / SHARE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_after_a_minute_without_a_reason() {
        let mut suspicion = Suspicion::default();
        assert!(!suspicion.holds(0));
        suspicion.arouse(5_000);
        suspicion.arouse(1_000);
        assert!(suspicion.holds(64_999) && !suspicion.holds(65_000));
    }

    #[test]
    fn many_are_too_many_only_where_others_need_the_places() {
        for (own, all, scarce, expected) in
            [(64, 64, false, false), (64, 500, true, true), (29, 100, true, false), (40, 400, true, false)]
        {
            assert_eq!(is_greedy(own, all, scarce), expected, "{own} of {all}, {scarce}");
        }
    }
}
