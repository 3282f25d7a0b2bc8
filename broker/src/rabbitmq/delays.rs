//! The ladder of delays: which delay level a message waits on next. Pure functions; the messages wait on the broker.

use crate::Due;

/// One delay queue, in which every message waits equally long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DelayLevel {
    /// The name says the value: another value is another queue.
    pub(super) name: &'static str,
    pub(super) ms: u64,
}

const fn level(name: &'static str, seconds: u64) -> DelayLevel {
    DelayLevel { name, ms: seconds * 1000 }
}

/// The levels, from short to long. A time per message instead would let the first message of a queue hold up all behind it
/// (docs/rabbitmq.md#a-time-per-message-holds-up-its-neighbours).
pub(super) const LEVELS: [DelayLevel; 14] = [
    level("1s", 1),
    level("2s", 2),
    level("5s", 5),
    level("10s", 10),
    level("30s", 30),
    level("1m", 60),
    level("2m", 120),
    level("5m", 300),
    level("10m", 600),
    level("30m", 1800),
    level("1h", 3600),
    level("2h", 7200),
    level("6h", 21_600),
    level("12h", 43_200),
];

/// A delay may end early by one part in this many, which saves half of the hops.
const EARLY: u64 = 20;

/// Milliseconds by which a level may be longer than what remains: time passes between computing a due time and
/// publishing, and a delay of exactly one level should not take all the levels below it.
const LATE: u64 = 250;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delay {
    /// Unix milliseconds.
    pub(super) due: u64,
    /// Length of the whole wait, in milliseconds; 0 for an exact one.
    pub(super) whole: u64,
}

impl Delay {
    pub(super) fn begin(due: Due, now: u64) -> Self {
        Self { due: due.at, whole: if due.exact { 0 } else { due.at.saturating_sub(now) } }
    }

    /// The first level: the largest that fits, or the smallest for anything shorter. `None` when the message is due.
    pub(super) fn first(self, now: u64) -> Option<&'static DelayLevel> {
        let remaining = self.due.saturating_sub(now);
        let fits = |level: &&DelayLevel| level.ms <= remaining + LATE;
        (remaining > 0).then(|| LEVELS.iter().rev().find(fits).unwrap_or(&LEVELS[0]))
    }

    /// The next level, after the message has waited on one. `None` when it may be handed out.
    pub(super) fn next(self, now: u64) -> Option<&'static DelayLevel> {
        let remaining = self.due.saturating_sub(now);
        if remaining <= self.whole / EARLY { None } else { self.first(now) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_790_000_000_000;
    const DAY: u64 = 86_400_000;

    /// Climbs down the ladder until the message is handed out. Returns the number of hops, and the time it took.
    fn climb(wait: u64, exact: bool, delay_of_each_hop: u64) -> (u32, u64) {
        let mut now = NOW;
        let delay = Delay::begin(Due { at: NOW + wait, exact }, now);
        let mut next = delay.first(now);
        let mut hops = 0;
        while let Some(level) = next {
            now += level.ms + delay_of_each_hop;
            hops += 1;
            next = delay.next(now);
        }
        (hops, now - NOW)
    }

    proptest! {
        #[test]
        fn a_wait_ends_at_most_a_twentieth_early_and_hardly_late(wait in 0..DAY, hop in 0..50_u64) {
            let (hops, waited) = climb(wait, false, hop);
            prop_assert!(waited + wait / EARLY >= wait, "{waited} of {wait}");
            prop_assert!(waited < wait + 1000 + u64::from(hops) * hop, "{waited} of {wait}");
        }

        #[test]
        fn a_wait_takes_few_hops(wait in 0..DAY, hop in 0..50_u64) {
            let (hops, _) = climb(wait, false, hop);
            prop_assert!(hops <= 6, "{hops} hops for {wait}");
        }

        #[test]
        fn an_exact_wait_is_never_early_and_at_most_a_second_late(wait in 0..DAY) {
            let (hops, waited) = climb(wait, true, 0);
            prop_assert!((wait..wait + 1000).contains(&waited), "{waited} of {wait}");
            prop_assert!(hops <= 20, "{hops} hops for {wait}");
        }

        #[test]
        fn what_is_due_does_not_wait(late in 0..DAY, exact: bool) {
            let delay = Delay::begin(Due { at: NOW - late, exact }, NOW);
            prop_assert_eq!(delay.first(NOW), None);
        }
    }

    #[test]
    fn the_first_hop_of_a_short_wait_is_rounded_up_to_a_second() {
        assert_eq!(climb(1, false, 0), (1, 1000));
        assert_eq!(climb(1, true, 0), (1, 1000));
    }

    #[test]
    fn the_waits_that_take_one_hop_are_the_levels() {
        assert_eq!(LEVELS.map(|level| level.ms), Due::ONE_HOP_MS);
    }

    #[test]
    fn a_wait_of_one_level_takes_one_hop_also_when_it_is_published_a_little_later() {
        for level in &LEVELS {
            for late in [0, 3, 200] {
                assert_eq!(climb(level.ms - late, false, 20), (1, level.ms + 20), "{}", level.name);
                assert_eq!(climb(level.ms - late, true, 20), (1, level.ms + 20), "{}", level.name);
            }
        }
    }
}
