//! What is known of one endpoint, and what a delivery to it may do now. Pure: time and chance are arguments, and the
//! queue that `queued` counts is kept by the endpoint's limiter.

use super::{
    attempt_end::{AttemptEnd, BreakerEffect, ConcurrencyEffect, FailureStreak, OnlyFailing},
    breaker::{AttemptKind, Breaker, BreakerState, Transition},
    concurrency::ConcurrencyLimit,
    latency::LatencyEwma,
    rate::{RateLimiter, Reservations},
    share::Share,
};
use crate::config::BreakerConfig;

/// Longest wait in the queue, in ms. The shortest delay of the broker's ladder is as long.
const LONGEST_WAIT_MS: f64 = 1_000.0;
/// Longest wait of a first attempt while deferred deliveries return, in ms. The other half of the queue is theirs.
const FIRST_ATTEMPT_WAIT_MS: f64 = 500.0;
/// Reservations that reach less far ahead than this, in ms, are no backlog: a deferral lasts a second at least, so that
/// the endpoint keeps up.
const KEEPS_UP_MS: u64 = 2_000;
/// Factor by which reservations are further apart than the endpoint needs. One place in ten is free for late and for new
/// deliveries.
const SLACK: f64 = 1.1;
/// Longest time for which a `Retry-After` holds up the endpoint's other deliveries, in ms. The delivery that got it waits
/// as long as it says, but one mistaken answer must not silence an endpoint for a day.
const LONGEST_HOLD_MS: u64 = 300_000;
/// Ms without a further reason after which an endpoint is no longer degraded.
const DEGRADED_MS: u64 = 60_000;

#[derive(Clone, Debug, Default)]
pub(crate) struct AdmissionState {
    breaker: Breaker,
    concurrency: ConcurrencyLimit,
    rate: RateLimiter,
    reservations: Reservations,
    latency: LatencyEwma,
    failures: FailureStreak,
    /// Unix ms until which the endpoint may hold up others. Its first attempts go to the slow lane, and its requests are
    /// cut short first.
    degraded_until: u64,
    pub(super) in_flight: u32,
    pub(super) queued: u32,
    used_at: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct WaitContext {
    /// It has waited before, so it goes before first attempts.
    pub(super) has_waited: bool,
    /// The endpoint's queue has room for it.
    pub(super) has_room: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Its attempt starts at `at`, unix ms.
    Start { at: u64, kind: AttemptKind },
    /// It waits in the queue for [`AdmissionState::grant`].
    Queue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnedAway {
    /// It returns at `until`, unix ms.
    Deferred { until: u64, reason: DeferReason },
    /// It goes to the slow lane at once.
    SlowLane,
    /// The endpoint's backlog is full.
    Overflow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeferReason {
    /// The endpoint is down.
    Breaker,
    /// As many requests are in flight as the endpoint bears.
    Cap,
    /// The endpoint's `rate_limit`, or the `Retry-After` of its answer.
    Rate,
}

impl DeferReason {
    /// The value of the metric label and of the log field.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Breaker => "breaker",
            Self::Cap => "cap",
            Self::Rate => "rate",
        }
    }
}

impl AdmissionState {
    pub(super) fn new(breaker: BreakerConfig) -> Self {
        Self { breaker: Breaker::new(breaker), ..Self::default() }
    }

    /// Decides about one delivery at `now`, unix ms.
    pub(super) fn admit(&mut self, wait: WaitContext, share: &Share, now: u64) -> Result<Admission, TurnedAway> {
        self.used_at = now;
        let gap_ms = share.current.start_gap_ms(self.latency.round_trip_ms());
        // Probes keep to the rate, too.
        if self.rate.delay_ms(now) > LONGEST_WAIT_MS {
            return Err(self.defer(wait, DeferReason::Rate, share, now));
        }
        match self.breaker.check(now, share.attempt_ms) {
            Err(until) => return Err(self.defer_past_breaker(until, share, now)),
            Ok(AttemptKind::Probe) => return Ok(self.start(AttemptKind::Probe, gap_ms, now)),
            Ok(AttemptKind::Regular) => {}
        }
        let is_free = self.queued == 0 && self.in_flight < self.concurrency.places(share.current.in_flight);
        // First attempts yield to deliveries that return, which would otherwise miss their reserved times.
        let yields = !wait.has_waited && self.reservations.reach_beyond(now + KEEPS_UP_MS);
        let may_wait_ms = match (wait.has_room, yields) {
            (false, _) => 0.0,
            (true, true) => FIRST_ATTEMPT_WAIT_MS,
            (true, false) => LONGEST_WAIT_MS,
        };
        if is_free && (!yields || self.rate.delay_ms(now) <= may_wait_ms) {
            return Ok(self.start(AttemptKind::Regular, gap_ms, now));
        }
        if self.expected_wait_ms(share, now) <= may_wait_ms {
            self.queued += 1;
            return Ok(Admission::Queue);
        }
        let is_rate_bound = gap_ms > self.expected_gap_ms(share) / 2.0;
        let reason = if is_rate_bound { DeferReason::Rate } else { DeferReason::Cap };
        Err(self.defer(wait, reason, share, now))
    }

    /// Gives the next free place, if any, to the first delivery in the queue. Returns when that may start, unix ms.
    pub(super) fn grant(&mut self, share: &Share, now: u64) -> Option<u64> {
        let is_free = self.queued > 0
            && self.breaker.is_closed()
            && self.in_flight < self.concurrency.places(share.current.in_flight);
        if !is_free {
            return None;
        }
        self.queued -= 1;
        self.in_flight += 1;
        Some(self.rate.take(now, share.current.start_gap_ms(self.latency.round_trip_ms())))
    }

    /// Learns from an attempt that has ended. `chance` is in 0..1.
    pub(super) fn ended(
        &mut self,
        end: &AttemptEnd,
        kind: AttemptKind,
        share: &Share,
        now: u64,
        chance: f64,
    ) -> Option<Transition> {
        self.used_at = now;
        let is_slower = self.measure(end, now);
        match end.concurrency {
            ConcurrencyEffect::Halve => self.concurrency.halve(now, self.latency.recent_ms()),
            _ if is_slower => self.concurrency.ease(now, self.latency.recent_ms()),
            ConcurrencyEffect::Grow => self.concurrency.grow(self.in_flight, share.current.in_flight),
            ConcurrencyEffect::None => {}
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(hold_ms) = end.hold_ms {
            self.rate.hold(now.saturating_add(hold_ms.min(LONGEST_HOLD_MS)));
        }
        let transition = match end.breaker {
            BreakerEffect::Close => self.breaker.succeeded(),
            BreakerEffect::Fail => self.breaker.failed(kind, now, chance),
            BreakerEffect::Answered => self.breaker.answered(kind),
        };
        if let Some(transition) = transition {
            self.follow(transition, now);
        }
        transition
    }

    pub(super) fn abandoned(&mut self, kind: AttemptKind, now: u64) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.breaker.abandoned(kind, now);
    }

    /// Takes over a transition that another process announced. True if it changes something here.
    pub(super) fn hear(&mut self, transition: Transition, now: u64) -> bool {
        let is_news = self.breaker.hear(transition, now);
        if is_news {
            self.used_at = now;
            self.follow(transition, now);
        }
        is_news
    }

    /// Forgets the failures of an endpoint that was changed, and may have been mended.
    pub(super) fn forgive(&mut self) {
        self.breaker.reset();
        self.degraded_until = 0;
        self.failures = FailureStreak::default();
    }

    /// Counts a delivery that waits elsewhere as backlog until `at`, unix ms.
    pub(super) fn expect_back(&mut self, at: u64) {
        self.reservations.count(at);
    }

    /// Notes the result of an attempt. Returns a report when the endpoint has only failed for long.
    pub(super) fn note_result(&mut self, is_success: bool, now: u64) -> Option<OnlyFailing> {
        self.failures.note(is_success, now)
    }

    /// Marks the endpoint as degraded for a while after `since`, unix ms.
    pub(super) fn mark_degraded(&mut self, since: u64) {
        self.degraded_until = self.degraded_until.max(since.saturating_add(DEGRADED_MS));
    }

    /// Whether the endpoint may hold up others.
    pub(crate) fn is_degraded(&self, now: u64) -> bool {
        now < self.degraded_until
    }

    pub(crate) fn breaker(&self) -> BreakerState {
        self.breaker.state()
    }

    /// Average ms of a success, 0 where there was none.
    pub(super) fn success_ms(&self) -> f64 {
        self.latency.success_ms()
    }

    /// Whether nothing is in flight, and nothing has happened for `ms`.
    pub(super) fn is_idle_for(&self, ms: u64, now: u64) -> bool {
        self.in_flight == 0 && self.queued == 0 && !self.reservations.reach_beyond(now) && self.used_at + ms <= now
    }

    #[cfg(test)]
    pub(super) fn measured_as(&mut self, ms: f64) {
        self.latency = LatencyEwma::measured_as(ms);
    }

    fn start(&mut self, kind: AttemptKind, gap_ms: f64, now: u64) -> Admission {
        self.in_flight += 1;
        Admission::Start { at: self.rate.take(now, gap_ms), kind }
    }

    /// Ms that one more delivery in the queue would wait.
    fn expected_wait_ms(&self, share: &Share, now: u64) -> f64 {
        let (before, round_trip_ms) = (f64::from(self.queued), self.latency.round_trip_ms());
        let for_place = (before + 1.0) * round_trip_ms / f64::from(self.concurrency.places(share.current.in_flight));
        let for_rate = self.rate.delay_ms(now) + before * share.current.start_gap_ms(round_trip_ms);
        for_place.max(for_rate)
    }

    /// Ms between two requests at the concurrency that the endpoint is expected to bear soon.
    fn expected_gap_ms(&self, share: &Share) -> f64 {
        self.latency.round_trip_ms() / self.concurrency.expected(share.settled.in_flight)
    }

    fn reserved_gap_ms(&self, share: &Share) -> f64 {
        SLACK * self.expected_gap_ms(share).max(share.settled.start_gap_ms(self.latency.round_trip_ms()))
    }

    fn defer(&mut self, wait: WaitContext, reason: DeferReason, share: &Share, now: u64) -> TurnedAway {
        if self.reservations.backlog(now) >= share.backlog {
            return TurnedAway::Overflow;
        }
        let earliest = now.saturating_add((self.rate.delay_ms(now).max(LONGEST_WAIT_MS)) as u64);
        let gap_ms = self.reserved_gap_ms(share);
        let until = match wait.has_waited {
            true => self.reservations.reserve_again(earliest, gap_ms),
            false => self.reservations.reserve(earliest, gap_ms),
        };
        self.reservations.count(until);
        TurnedAway::Deferred { until, reason }
    }

    /// Defers a delivery while the breaker is open. One returns as the probe when the period ends, the others when the
    /// probe should have been answered.
    fn defer_past_breaker(&mut self, until: u64, share: &Share, now: u64) -> TurnedAway {
        if self.reservations.backlog(now) >= share.backlog {
            return TurnedAway::Overflow;
        }
        let answer_ms = self.latency.recent_ms().min(share.attempt_ms);
        let earliest = match self.breaker.state() {
            BreakerState::HalfOpen { .. } => until.saturating_sub(share.attempt_ms).saturating_add(answer_ms),
            _ if self.reservations.reach_beyond(until) => until.saturating_add(answer_ms),
            _ => until,
        };
        let earliest = earliest.max(now.saturating_add(LONGEST_WAIT_MS as u64));
        let until = self.reservations.reserve(earliest, self.reserved_gap_ms(share));
        self.reservations.count(until);
        TurnedAway::Deferred { until, reason: DeferReason::Breaker }
    }

    /// Notes the latency of an attempt. True if the endpoint has become much slower than it used to be.
    fn measure(&mut self, end: &AttemptEnd, now: u64) -> bool {
        let Some(took_ms) = end.took_ms else { return false };
        self.latency.note(took_ms, end.breaker == BreakerEffect::Close);
        if self.latency.is_slow() {
            self.mark_degraded(now);
        }
        self.latency.is_slower()
    }

    fn follow(&mut self, transition: Transition, now: u64) {
        if let Transition::Opened { until, .. } = transition {
            self.concurrency.collapse(now);
            self.reservations.restart(until);
            self.mark_degraded(until);
        }
    }
}

#[cfg(test)]
mod tests;
