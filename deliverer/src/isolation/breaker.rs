//! The breaker of an endpoint: what is down is not asked by every delivery, but by one probe now and then.
//!
//! Pure. It knows one process's attempts and what others say of theirs; a word that gets lost costs probes, no more.

use crate::config::BreakerConfig;

/// What opened together must not probe together: a period is up to a fifth longer.
const JITTER: f64 = 0.2;

/// Whether attempts are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Breaker {
    config: BreakerConfig,
    state: State,
    /// Failures since the last success.
    failures: u32,
    /// How often it was opened since it was closed.
    consecutive_opens: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    /// Until then, unix ms; afterwards the next to ask is the probe.
    Open(u64),
    /// A probe is under way; if nothing is heard of it until then, the next to ask is another.
    Probing(u64),
}

/// What whoever asks may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    /// Attempt.
    Free,
    /// Attempt: all others wait for what comes of it.
    Probe,
    /// Come back then, unix ms.
    Shut(u64),
}

/// What became of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is open until then, unix ms, for so many times in a row.
    Opened { until: u64, consecutive_opens: u32 },
    /// It is closed.
    Closed,
}

/// What can be seen of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Closed,
    Open,
    HalfOpen,
}

impl Breaker {
    /// A closed one.
    pub(crate) fn new(config: BreakerConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// May an attempt be made now? A probe may take `patience` ms; once that is over another may be made.
    pub(crate) fn ask(&mut self, now: u64, patience: u64) -> Passage {
        match self.state {
            State::Closed => Passage::Free,
            State::Open(until) | State::Probing(until) if now < until => Passage::Shut(until),
            State::Open(_) | State::Probing(_) => {
                self.state = State::Probing(now.saturating_add(patience));
                Passage::Probe
            }
        }
    }

    /// As if nothing were known of the endpoint.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.config);
    }

    /// The endpoint works.
    pub(crate) fn well(&mut self) -> Option<Change> {
        let was_closed = self.state == State::Closed;
        self.reset();
        (!was_closed).then_some(Change::Closed)
    }

    /// The endpoint answered something that does not count. A probe has then shown that somebody is there.
    pub(crate) fn neither(&mut self, was_probe: bool) -> Option<Change> {
        if was_probe && self.state != State::Closed { self.well() } else { None }
    }

    /// An attempt failed. Those that were under way when it opened say nothing new.
    pub(crate) fn ill(&mut self, was_probe: bool, now: u64, chance: f64) -> Option<Change> {
        self.failures = self.failures.saturating_add(1);
        let opens = match self.state {
            State::Closed => self.failures >= self.config.failures.get(),
            State::Probing(_) => was_probe,
            State::Open(_) => false,
        };
        if !opens {
            return None;
        }
        let doubled = self.config.first.millis().saturating_mul(1 << self.consecutive_opens.min(32));
        let period = doubled.min(self.config.longest.millis());
        let until = now.saturating_add((period as f64 * (1.0 + JITTER * chance)) as u64);
        self.consecutive_opens += 1;
        self.state = State::Open(until);
        Some(Change::Opened { until, consecutive_opens: self.consecutive_opens })
    }

    /// A probe ended without an outcome: the next to ask is another.
    pub(crate) fn abandon_probe(&mut self, now: u64) {
        if matches!(self.state, State::Probing(_)) {
            self.state = State::Open(now);
        }
    }

    /// Another process says what became of its own. True if that changes something here.
    pub(crate) fn hear(&mut self, change: Change, now: u64) -> bool {
        match change {
            Change::Closed => self.well().is_some(),
            Change::Opened { until, consecutive_opens } => {
                // Clocks of hosts differ, and a notice is no reason to wait for longer than one's own failures are.
                let longest = self.config.longest.millis();
                let until = until.min(now.saturating_add(longest.saturating_add(longest / 5)));
                let known = match self.state {
                    State::Closed => 0,
                    State::Open(until) | State::Probing(until) => until,
                };
                if until <= now.max(known) {
                    return false;
                }
                let failures = self.failures.max(self.config.failures.get());
                *self = Self { state: State::Open(until), failures, consecutive_opens, ..*self };
                true
            }
        }
    }

    /// What can be seen of it.
    pub(crate) fn phase(&self) -> Phase {
        match self.state {
            State::Closed => Phase::Closed,
            State::Open(_) => Phase::Open,
            State::Probing(_) => Phase::HalfOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_790_000_000_000;

    fn opened(breaker: &mut Breaker, now: u64) -> u64 {
        for _ in 1..breaker.config.failures.get() {
            assert_eq!(breaker.ill(false, now, 0.0), None);
        }
        match breaker.ill(false, now, 0.0) {
            Some(Change::Opened { until, consecutive_opens: 1 }) => until,
            change => panic!("{change:?}"),
        }
    }

    #[test]
    fn the_third_failure_in_a_row_opens_it_and_a_success_between_begins_anew() {
        let mut breaker = Breaker::default();
        breaker.ill(false, NOW, 0.0);
        breaker.ill(false, NOW, 0.0);
        assert_eq!(breaker.well(), None);
        assert_eq!(opened(&mut breaker, NOW), NOW + 10_000);
        assert_eq!(breaker.ask(NOW + 9_999, 15_000), Passage::Shut(NOW + 10_000));
    }

    #[test]
    fn after_its_time_one_may_probe_and_each_failure_doubles_the_time_up_to_two_minutes() {
        let mut breaker = Breaker::default();
        let mut now = opened(&mut breaker, NOW);
        for expected in [20_000, 40_000, 80_000, 120_000, 120_000] {
            assert_eq!(breaker.ask(now, 15_000), Passage::Probe);
            assert_eq!(breaker.ask(now, 15_000), Passage::Shut(now + 15_000), "one at a time");
            let Some(Change::Opened { until, .. }) = breaker.ill(true, now, 0.0) else { panic!("it opens") };
            assert_eq!(until - now, expected);
            now = until;
        }
        assert_eq!(breaker.ask(now, 15_000), Passage::Probe);
        assert_eq!(breaker.well(), Some(Change::Closed));
        assert_eq!(opened(&mut breaker, now), now + 10_000, "it begins with the shortest again");
    }

    #[test]
    fn a_probe_that_somebody_answers_somehow_closes_it_and_one_that_is_never_heard_of_is_followed_by_another() {
        let mut breaker = Breaker::default();
        let now = opened(&mut breaker, NOW);
        assert_eq!(breaker.ask(now, 15_000), Passage::Probe);
        assert_eq!(breaker.neither(false), None, "not the probe");
        assert_eq!(breaker.ask(now + 15_000, 15_000), Passage::Probe);
        assert_eq!(breaker.neither(true), Some(Change::Closed));
        assert_eq!(breaker.ask(now, 15_000), Passage::Free);
    }

    #[test]
    fn what_was_under_way_when_it_opened_does_not_keep_it_open_for_longer() {
        let mut breaker = Breaker::default();
        let until = opened(&mut breaker, NOW);
        assert_eq!(breaker.ill(false, NOW + 5_000, 0.5), None);
        assert_eq!(breaker.ask(until, 15_000), Passage::Probe);
        assert_eq!(breaker.ill(false, until + 1, 0.5), None, "it is not the probe");
    }

    #[test]
    fn it_believes_others_but_for_no_longer_than_itself() {
        let mut breaker = Breaker::default();
        assert!(breaker.hear(Change::Opened { until: u64::MAX, consecutive_opens: 5 }, NOW));
        assert_eq!(breaker.ask(NOW, 1), Passage::Shut(NOW + 144_000));
        assert!(
            !breaker.hear(Change::Opened { until: NOW + 1_000, consecutive_opens: 1 }, NOW),
            "it is shut for longer"
        );
        assert!(breaker.hear(Change::Closed, NOW));
        assert!(!breaker.hear(Change::Closed, NOW));
        assert!(!breaker.hear(Change::Opened { until: NOW, consecutive_opens: 1 }, NOW), "that is over");
        assert_eq!(breaker, Breaker::default());
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Ask,
        Well,
        Ill,
        Neither,
        Wait(u64),
        Hear(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Ask),
            1 => Just(Step::Well),
            4 => Just(Step::Ill),
            1 => Just(Step::Neither),
            3 => (0..40_000_u64).prop_map(Step::Wait),
            1 => (0..400_000_u64).prop_map(Step::Hear),
        ]
    }

    proptest! {
        /// Whatever happens: never two probes at once, never shut for longer than the longest, and who waits for as long
        /// as it says may pass.
        #[test]
        fn it_is_never_shut_for_good_and_never_probed_by_two(
            steps in proptest::collection::vec(step(), 1..200),
            chance in 0.0..1.0_f64,
        ) {
            const PATIENCE: u64 = 15_000;
            let (mut breaker, mut now) = (Breaker::default(), NOW);
            let mut probe: Option<u64> = None;
            for step in steps {
                match step {
                    Step::Ask => match breaker.ask(now, PATIENCE) {
                        Passage::Probe => {
                            prop_assert!(probe.is_none_or(|since| now >= since + PATIENCE), "two probes");
                            probe = Some(now);
                        }
                        Passage::Shut(until) => {
                            prop_assert!(until > now && until - now <= 144_000);
                            prop_assert_ne!({ breaker }.ask(until, PATIENCE), Passage::Shut(until));
                        }
                        Passage::Free => probe = None,
                    },
                    Step::Well => { breaker.well(); probe = None; }
                    Step::Ill => { breaker.ill(probe.take().is_some(), now, chance); }
                    Step::Neither => { breaker.neither(probe.take().is_some()); }
                    Step::Wait(ms) => now += ms,
                    Step::Hear(ms) => {
                        if breaker.hear(Change::Opened { until: now + ms, consecutive_opens: 1 }, now) {
                            probe = None;
                        }
                    }
                }
            }
        }
    }
}
