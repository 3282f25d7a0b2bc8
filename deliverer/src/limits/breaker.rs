//! The breaker of an endpoint: while the endpoint is down, an occasional probe takes the place of all attempts. Pure.

use super::uptime::Uptime;
use crate::config::BreakerConfig;

/// Largest part by which an open period is prolonged, so that breakers which opened together do not probe together.
const JITTER: f64 = 0.2;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Breaker {
    config: BreakerConfig,
    state: BreakerState,
    failures: u32,
    consecutive_opens: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BreakerState {
    #[default]
    Closed,
    /// The first attempt after `until` is the probe.
    Open { until: Uptime },
    /// A probe is in flight. If it has not ended by `until`, the next attempt is another probe.
    HalfOpen { until: Uptime },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttemptKind {
    Regular,
    Probe,
}

/// A change of the breaker, which is announced to other processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transition {
    Opened { until: Uptime, consecutive_opens: u32 },
    Closed,
}

impl Breaker {
    pub(super) fn new(config: BreakerConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// The kind of an attempt at `now`, or the time before which none may start. A probe that has not ended after
    /// `probe_ms` is replaced by another.
    pub(super) fn check(&mut self, now: Uptime, probe_ms: u64) -> Result<AttemptKind, Uptime> {
        match self.state {
            BreakerState::Closed => Ok(AttemptKind::Regular),
            BreakerState::Open { until } | BreakerState::HalfOpen { until } if now < until => Err(until),
            BreakerState::Open { .. } | BreakerState::HalfOpen { .. } => {
                self.state = BreakerState::HalfOpen { until: now + probe_ms };
                Ok(AttemptKind::Probe)
            }
        }
    }

    pub(super) fn state(&self) -> BreakerState {
        self.state
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state == BreakerState::Closed
    }

    pub(super) fn reset(&mut self) {
        *self = Self::new(self.config);
    }

    pub(super) fn succeeded(&mut self) -> Option<Transition> {
        let was_closed = self.is_closed();
        self.reset();
        (!was_closed).then_some(Transition::Closed)
    }

    /// Notes an answer that is neither success nor failure. To a probe it shows that the endpoint is up.
    pub(super) fn answered(&mut self, kind: AttemptKind) -> Option<Transition> {
        if kind == AttemptKind::Probe && !self.is_closed() { self.succeeded() } else { None }
    }

    /// Failures of attempts that were in flight when the breaker opened do not prolong it.
    pub(super) fn failed(&mut self, kind: AttemptKind, now: Uptime, chance: f64) -> Option<Transition> {
        self.failures = self.failures.saturating_add(1);
        let opens = match self.state {
            BreakerState::Closed => self.failures >= self.config.failures.get(),
            BreakerState::HalfOpen { .. } => kind == AttemptKind::Probe,
            BreakerState::Open { .. } => false,
        };
        if !opens {
            return None;
        }
        let doubled = self.config.first.millis().saturating_mul(1 << self.consecutive_opens.min(32));
        let period = doubled.min(self.config.longest.millis());
        let until = now + (period as f64 * (1.0 + JITTER * chance)) as u64;
        self.consecutive_opens += 1;
        self.state = BreakerState::Open { until };
        Some(Transition::Opened { until, consecutive_opens: self.consecutive_opens })
    }

    /// Notes that an attempt ended without an outcome. If it was the probe, the next attempt is another one.
    pub(super) fn abandoned(&mut self, kind: AttemptKind, now: Uptime) {
        if kind == AttemptKind::Probe && matches!(self.state, BreakerState::HalfOpen { .. }) {
            self.state = BreakerState::Open { until: now };
        }
    }

    /// Applies the transition of another process's breaker. True if that changes something here.
    pub(super) fn apply_announced(&mut self, transition: Transition, now: Uptime) -> bool {
        match transition {
            Transition::Closed => self.succeeded().is_some(),
            Transition::Opened { until, consecutive_opens } => {
                // The clocks of hosts differ, so an announcement holds no longer than an own period could.
                let longest = self.config.longest.millis();
                let until = until.min(now + longest.saturating_add(longest / 5));
                let known = match self.state {
                    BreakerState::Closed => now,
                    BreakerState::Open { until } | BreakerState::HalfOpen { until } => until.max(now),
                };
                if until <= known {
                    return false;
                }
                let failures = self.failures.max(self.config.failures.get());
                *self = Self { state: BreakerState::Open { until }, failures, consecutive_opens, ..*self };
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        AttemptKind::{Probe, Regular},
        *,
    };

    const NOW: Uptime = Uptime::of_ms(1_000);

    fn open(breaker: &mut Breaker, now: Uptime) -> Uptime {
        for _ in 1..breaker.config.failures.get() {
            assert_eq!(breaker.failed(Regular, now, 0.0), None);
        }
        match breaker.failed(Regular, now, 0.0) {
            Some(Transition::Opened { until, consecutive_opens: 1 }) => until,
            transition => panic!("{transition:?}"),
        }
    }

    #[test]
    fn a_breaker_opens_at_the_third_failure_in_a_row_and_a_success_between_begins_anew() {
        let mut breaker = Breaker::default();
        breaker.failed(Regular, NOW, 0.0);
        breaker.failed(Regular, NOW, 0.0);
        assert_eq!(breaker.succeeded(), None);
        assert_eq!(open(&mut breaker, NOW), NOW + 10_000);
        assert_eq!(breaker.check(NOW + 9_999, 15_000), Err(NOW + 10_000));
    }

    #[test]
    fn each_failed_probe_doubles_the_open_period_up_to_two_minutes() {
        let mut breaker = Breaker::default();
        let mut now = open(&mut breaker, NOW);
        for expected in [20_000, 40_000, 80_000, 120_000, 120_000] {
            assert_eq!(breaker.check(now, 15_000), Ok(Probe));
            assert_eq!(breaker.check(now, 15_000), Err(now + 15_000), "one at a time");
            let Some(Transition::Opened { until, .. }) = breaker.failed(Probe, now, 0.0) else { panic!("it opens") };
            assert_eq!(until, now + expected);
            now = until;
        }
        assert_eq!(breaker.check(now, 15_000), Ok(Probe));
        assert_eq!(breaker.succeeded(), Some(Transition::Closed));
        assert_eq!(open(&mut breaker, now), now + 10_000, "it begins with the shortest again");
    }

    #[test]
    fn a_probe_that_is_answered_in_any_way_closes_the_breaker_and_a_lost_one_is_followed_by_another() {
        let mut breaker = Breaker::default();
        let now = open(&mut breaker, NOW);
        assert_eq!(breaker.check(now, 15_000), Ok(Probe));
        assert_eq!(breaker.answered(Regular), None, "not the probe");
        assert_eq!(breaker.check(now + 15_000, 15_000), Ok(Probe));
        assert_eq!(breaker.answered(Probe), Some(Transition::Closed));
        assert_eq!(breaker.check(now, 15_000), Ok(Regular));
    }

    #[test]
    fn an_attempt_that_was_under_way_when_the_breaker_opened_does_not_prolong_it() {
        let mut breaker = Breaker::default();
        let until = open(&mut breaker, NOW);
        assert_eq!(breaker.failed(Regular, NOW + 5_000, 0.5), None);
        assert_eq!(breaker.check(until, 15_000), Ok(Probe));
        assert_eq!(breaker.failed(Regular, until + 1, 0.5), None, "it is not the probe");
    }

    #[test]
    fn a_breaker_believes_other_processes_for_no_longer_than_its_own_longest_period() {
        let mut breaker = Breaker::default();
        assert!(breaker.apply_announced(Transition::Opened { until: NOW + u64::MAX, consecutive_opens: 5 }, NOW));
        assert_eq!(breaker.check(NOW, 1), Err(NOW + 144_000));
        assert!(
            !breaker.apply_announced(Transition::Opened { until: NOW + 1_000, consecutive_opens: 1 }, NOW),
            "it is open for longer"
        );
        assert!(breaker.apply_announced(Transition::Closed, NOW));
        assert!(!breaker.apply_announced(Transition::Closed, NOW));
        assert!(!breaker.apply_announced(Transition::Opened { until: NOW, consecutive_opens: 1 }, NOW), "that is over");
        assert_eq!(breaker, Breaker::default());
    }

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Check,
        Succeeded,
        Failed,
        Answered,
        Wait(u64),
        Hear(u64),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => Just(Event::Check),
            1 => Just(Event::Succeeded),
            4 => Just(Event::Failed),
            1 => Just(Event::Answered),
            3 => (0..40_000_u64).prop_map(Event::Wait),
            1 => (0..400_000_u64).prop_map(Event::Hear),
        ]
    }

    proptest! {
        /// Never two probes at once, never open for longer than the longest period, and after that period an attempt is
        /// allowed.
        #[test]
        fn a_breaker_is_never_open_for_good_and_never_probed_by_two(
            events in proptest::collection::vec(event(), 1..200),
            chance in 0.0..1.0_f64,
        ) {
            const PROBE_MS: u64 = 15_000;
            let (mut breaker, mut now) = (Breaker::default(), NOW);
            let mut probe: Option<Uptime> = None;
            let kind = |probe: Option<Uptime>| if probe.is_some() { Probe } else { Regular };
            for event in events {
                match event {
                    Event::Check => match breaker.check(now, PROBE_MS) {
                        Ok(Probe) => {
                            prop_assert!(probe.is_none_or(|since| now >= since + PROBE_MS), "two probes");
                            probe = Some(now);
                        }
                        Err(until) => {
                            prop_assert!(until > now && until.ms_since(now) <= 144_000);
                            prop_assert_ne!({ breaker }.check(until, PROBE_MS), Err(until));
                        }
                        Ok(Regular) => probe = None,
                    },
                    Event::Succeeded => { breaker.succeeded(); probe = None; }
                    Event::Failed => { breaker.failed(kind(probe.take()), now, chance); }
                    Event::Answered => { breaker.answered(kind(probe.take())); }
                    Event::Wait(ms) => now = now + ms,
                    Event::Hear(ms) => {
                        if breaker.apply_announced(Transition::Opened { until: now + ms, consecutive_opens: 1 }, now) {
                            probe = None;
                        }
                    }
                }
            }
        }
    }
}
