//! What is known of one endpoint, and the decision whether a delivery to it may be attempted now. Pure: time and chance are
//! arguments, and the endpoint's limiter keeps the queue that `queued` counts.

use super::{
    attempt_end::{AttemptEnd, BreakerEffect, ConcurrencyEffect, FailureStreak, LastingFailure},
    breaker::{AttemptKind, Breaker, BreakerState, Transition},
    cheap_waits::CheapWaits,
    concurrency::ConcurrencyLimit,
    health::{AttemptResult, LatestResults},
    latency::LatencyEwma,
    paused,
    rate::{RateLimiter, Reservations, Window},
    share::Share,
    uptime::Uptime,
};
use crate::config::BreakerConfig;

/// Shortest deferral, in ms: the shortest delay of the broker's ladder.
const MIN_DEFERRAL_MS: u64 = 1_000;
/// Longest wait in the queue, in ms. A delivery that would wait longer is deferred.
const MAX_QUEUE_WAIT_MS: f64 = MIN_DEFERRAL_MS as f64;
/// Longest wait in the queue, in ms, of a delivery that holds up no other tenant.
const MAX_WAIT_ALONE_MS: f64 = 2.0 * MAX_QUEUE_WAIT_MS;
/// Reservations up to this far ahead, in ms, show no backlog: each is a deferral's length ahead at least.
const NO_BACKLOG_MS: u64 = 2 * MIN_DEFERRAL_MS;
/// Ms within which an endpoint should answer its first request.
const ANSWER_MS: u64 = 1_000;
/// Factor by which reservations are further apart than the endpoint needs. One place in ten is free for late and for new
/// deliveries.
const SLACK: f64 = 1.1;
/// Length, in ms, of the window in which what waits for an endpoint returns that has not answered since it was unknown or
/// down. What it bears is found out then.
const FIRST_WINDOW_MS: f64 = 30_000.0;
/// Factor by which the window is longer than the time for which the endpoint has been answering. What is reserved cannot be
/// brought forward, and the endpoint may bear more later than it has so far.
const FORESIGHT: f64 = 3.0;
/// Longest time, in ms, for which a `Retry-After` holds up the endpoint's other deliveries: one mistaken answer must not
/// silence an endpoint for a day.
const MAX_HOLD_MS: u64 = 300_000;
/// Ms without a further reason after which an endpoint is no longer degraded.
const DEGRADED_MS: u64 = 60_000;

#[derive(Clone, Debug, Default)]
pub(crate) struct AdmissionState {
    breaker: Breaker,
    concurrency: ConcurrencyLimit,
    rate: RateLimiter,
    reservations: Reservations,
    cheap_waits: CheapWaits,
    latency: LatencyEwma,
    failures: FailureStreak,
    pub(super) health: LatestResults,
    /// Time of the first request.
    first_start: Option<Uptime>,
    /// Time of the first success here, or of the first one after the breaker was open.
    answering_since: Option<Uptime>,
    /// Time until which first attempts go to the slow lane, and requests are cut short first.
    degraded_until: Uptime,
    pub(super) in_flight: u32,
    pub(super) queued: u32,
    used_at: Uptime,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct WaitContext {
    /// The delivery has waited before, so it goes before first attempts.
    pub(super) has_waited: bool,
    pub(super) has_room: bool,
    /// No other tenant has anything in hand, so the delivery may wait although there is no room.
    pub(super) is_alone: bool,
    pub(super) slots_are_scarce: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// The attempt starts at `at`.
    Start { at: Uptime, kind: AttemptKind },
    /// The delivery waits in the queue for [`AdmissionState::grant`].
    Queue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnedAway {
    /// The delivery returns in `wait_ms`.
    Deferred {
        wait_ms: u64,
        reason: DeferReason,
    },
    SlowLane,
    /// The endpoint's backlog is full.
    Overflow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeferReason {
    Breaker,
    /// As many requests are in flight as the endpoint bears.
    Cap,
    /// The endpoint's `rate_limit`, or the `Retry-After` of its answer.
    Rate,
    /// The tenant has more than its share of the slow lane in hand, while others need the lane.
    Share,
    /// The endpoint is paused. It is no limit that a delivery may be too old for.
    Paused,
}

impl DeferReason {
    /// The value of the metric label and of the log field.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Breaker => "breaker",
            Self::Cap => "cap",
            Self::Rate => "rate",
            Self::Share => "share",
            Self::Paused => "paused",
        }
    }
}

impl AdmissionState {
    pub(super) fn new(breaker: BreakerConfig) -> Self {
        Self { breaker: Breaker::new(breaker), ..Self::default() }
    }

    /// Decides about one delivery at `now`.
    pub(super) fn admit(&mut self, wait: WaitContext, share: &Share, now: Uptime) -> Result<Admission, TurnedAway> {
        self.used_at = now;
        // This comes before the breaker, because probes keep to the rate, too.
        if self.rate.delay_ms(now) > MAX_QUEUE_WAIT_MS {
            return Err(self.defer(wait, DeferReason::Rate, share, now));
        }
        match self.breaker.check(now, share.attempt_ms) {
            Err(until) => return Err(self.defer_past_breaker(wait, until, share, now)),
            Ok(AttemptKind::Probe) => return Ok(self.start(AttemptKind::Probe, share, now)),
            Ok(AttemptKind::Regular) => {}
        }
        // A returning delivery would otherwise miss the time that is reserved for it.
        let yields = !wait.has_waited && self.reservations.reach_beyond(now + NO_BACKLOG_MS);
        let is_unknown = wait.is_alone && self.is_unknown(now);
        let max_wait_ms = match wait.has_room {
            _ if is_unknown || (wait.is_alone && self.may_fill_queue(wait.slots_are_scarce, share)) => {
                MAX_WAIT_ALONE_MS
            }
            true => MAX_QUEUE_WAIT_MS,
            false => 0.0,
        };
        // Deferred deliveries get the other half.
        let max_wait_ms = if yields { max_wait_ms / 2.0 } else { max_wait_ms };
        if self.is_free(share) && (!yields || self.rate.delay_ms(now) <= max_wait_ms) {
            return Ok(self.start(AttemptKind::Regular, share, now));
        }
        let for_place_ms = if is_unknown { 0.0 } else { self.wait_for_place_ms(share) };
        if for_place_ms.max(self.wait_for_rate_ms(share, now)) <= max_wait_ms {
            self.queued += 1;
            return Ok(Admission::Queue);
        }
        Err(self.defer(wait, self.bottleneck(share), share, now))
    }

    /// True when a delivery would begin within `ms` and nobody is kept waiting by it.
    pub(super) fn is_prompt(&self, share: &Share, ms: f64, now: Uptime) -> bool {
        let has_backlog = self.reservations.reach_beyond(now + NO_BACKLOG_MS);
        let wait_ms = if self.is_free(share) { 0.0 } else { self.wait_for_place_ms(share) };
        let is_well = self.breaker.is_closed() && !self.is_degraded(now);
        is_well && !has_backlog && wait_ms.max(self.wait_for_rate_ms(share, now)) <= ms
    }

    /// Gives the next free place, if any, to the first delivery in the queue. Returns its start.
    pub(super) fn grant(&mut self, share: &Share, now: Uptime) -> Option<Uptime> {
        if self.queued == 0 || !self.breaker.is_closed() || !self.has_place(share) {
            return None;
        }
        self.queued -= 1;
        Some(self.take_place(share, now))
    }

    /// Learns from an attempt that has ended. `chance` is in 0..1.
    pub(super) fn ended(
        &mut self,
        end: &AttemptEnd,
        kind: AttemptKind,
        share: &Share,
        now: Uptime,
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
            self.rate.hold(now + hold_ms.min(MAX_HOLD_MS));
        }
        let transition = match end.breaker {
            BreakerEffect::Close => {
                if self.answering_since.is_none() {
                    self.answering_since = Some(now);
                    self.reservations.continue_at_end();
                }
                self.breaker.succeeded()
            }
            BreakerEffect::Fail => self.breaker.failed(kind, now, chance),
            BreakerEffect::Answered => self.breaker.answered(kind),
        };
        if let Some(transition) = transition {
            self.follow(transition, now);
        }
        transition
    }

    pub(super) fn abandoned(&mut self, kind: AttemptKind, now: Uptime) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.breaker.abandoned(kind, now);
    }

    /// Applies a transition that another process announced. True if it changes something here.
    pub(super) fn apply_announced(&mut self, transition: Transition, now: Uptime) -> bool {
        let is_change = self.breaker.apply_announced(transition, now);
        if is_change {
            self.used_at = now;
            self.follow(transition, now);
        }
        is_change
    }

    pub(super) fn forget_failures(&mut self) {
        self.breaker.reset();
        self.degraded_until = Uptime::default();
        self.failures = FailureStreak::default();
        self.health.failing = None;
    }

    /// Counts a delivery that waits in the broker until `at`.
    pub(super) fn count_backlog(&mut self, at: Uptime, now: Uptime) {
        self.reservations.count(at, now);
    }

    /// Number of deliveries that wait in the broker.
    pub(super) fn backlog(&mut self, now: Uptime) -> u64 {
        self.reservations.backlog(now)
    }

    /// Notes the result of a delivery's attempt. True if the endpoint's health changes by it.
    pub(super) fn note_result(&mut self, result: AttemptResult<'_>, now: Uptime) -> (Option<LastingFailure>, bool) {
        if let Some(ms) = result.retry_ms() {
            self.count_backlog(now + ms, now);
        }
        (self.failures.note(result.is_success(), now), self.health.note(result))
    }

    /// Marks the endpoint as degraded for a while after `since`.
    pub(super) fn mark_degraded(&mut self, since: Uptime) {
        self.degraded_until = self.degraded_until.max(since + DEGRADED_MS);
    }

    pub(crate) fn is_degraded(&self, now: Uptime) -> bool {
        now < self.degraded_until
    }

    pub(crate) fn breaker(&self) -> BreakerState {
        self.breaker.state()
    }

    pub(super) fn success_ms(&self) -> f64 {
        self.latency.success_ms()
    }

    pub(super) fn is_idle_for(&self, ms: u64, now: Uptime) -> bool {
        self.in_flight == 0 && self.queued == 0 && !self.reservations.reach_beyond(now) && self.used_at + ms <= now
    }

    #[cfg(test)]
    pub(super) fn measured_as(&mut self, ms: f64) {
        self.latency = LatencyEwma::measured_as(ms);
    }

    fn start(&mut self, kind: AttemptKind, share: &Share, now: Uptime) -> Admission {
        Admission::Start { at: self.take_place(share, now), kind }
    }

    /// True if a delivery would wait for no place.
    pub(super) fn is_free(&self, share: &Share) -> bool {
        self.queued == 0 && self.has_place(share)
    }

    fn has_place(&self, share: &Share) -> bool {
        self.in_flight < self.concurrency.places(share.current.in_flight)
    }

    /// Takes a place for a request. Returns its start.
    fn take_place(&mut self, share: &Share, now: Uptime) -> Uptime {
        self.in_flight += 1;
        self.first_start.get_or_insert(now);
        self.rate.take(now, share.current.start_gap_ms(self.latency.round_trip_ms()))
    }

    /// True until the endpoint has answered for the first time, or should have.
    fn is_unknown(&self, now: Uptime) -> bool {
        self.answering_since.is_none() && self.first_start.is_none_or(|at| now < at + ANSWER_MS)
    }

    /// Whether any number of deliveries of a tenant that is alone may wait for the endpoint. They hold up nothing while
    /// slots are scarce, and not for long while each answer shows that the endpoint bears more, or while this process has
    /// a newcomer's share.
    fn may_fill_queue(&self, slots_are_scarce: bool, share: &Share) -> bool {
        let is_growing = share.is_newcomers() || self.concurrency.is_doubling(share.current.in_flight);
        self.answering_since.is_some() && (slots_are_scarce || is_growing)
    }

    /// Ms that one more delivery in the queue would wait for a place.
    fn wait_for_place_ms(&self, share: &Share) -> f64 {
        let (waiting, most) = (f64::from(self.queued) + 1.0, share.current.in_flight);
        let round_trips = match self.answering_since {
            Some(_) => self.concurrency.round_trips(waiting, most),
            None => waiting / f64::from(self.concurrency.places(most)),
        };
        round_trips * self.latency.round_trip_ms()
    }

    /// Ms that one more delivery in the queue would wait for the rate.
    fn wait_for_rate_ms(&self, share: &Share, now: Uptime) -> f64 {
        let gap_ms = share.current.start_gap_ms(self.latency.round_trip_ms());
        self.rate.delay_ms(now) + f64::from(self.queued) * gap_ms
    }

    /// Ms between two requests at the concurrency that the endpoint is expected to bear soon.
    fn expected_gap_ms(&self, share: &Share) -> f64 {
        self.latency.round_trip_ms() / self.concurrency.expected(share.settled.in_flight)
    }

    /// The limit that a delivery is deferred for: the rate, if it spaces requests more than half as far as the concurrency
    /// does.
    fn bottleneck(&self, share: &Share) -> DeferReason {
        let rate_gap_ms = share.current.start_gap_ms(self.latency.round_trip_ms());
        if rate_gap_ms > self.expected_gap_ms(share) / 2.0 { DeferReason::Rate } else { DeferReason::Cap }
    }

    fn defer(&mut self, wait: WaitContext, reason: DeferReason, share: &Share, now: Uptime) -> TurnedAway {
        let wait_ms = (self.rate.delay_ms(now) as u64).max(MIN_DEFERRAL_MS);
        self.reserve(now + wait_ms, wait, reason, share, now)
    }

    /// Defers a delivery while the breaker is open. One returns as the probe when the period ends, the others when the
    /// probe should have been answered.
    fn defer_past_breaker(&mut self, wait: WaitContext, until: Uptime, share: &Share, now: Uptime) -> TurnedAway {
        let answer_ms = self.latency.recent_ms().min(share.attempt_ms);
        let (earliest, is_probe) = match self.breaker.state() {
            BreakerState::HalfOpen { .. } => {
                let probe_began = until - share.attempt_ms;
                (probe_began + answer_ms, false)
            }
            _ if self.reservations.reach_beyond(until) => (until + answer_ms, false),
            _ => (until, true),
        };
        let earliest = earliest.max(now + MIN_DEFERRAL_MS);
        if !is_probe && let Some(at) = self.cheap_return(earliest, share, now) {
            return self.defer_until(at, wait.has_waited, DeferReason::Breaker, share, now);
        }
        self.reserve(earliest, wait, DeferReason::Breaker, share, now)
    }

    /// When a delivery returns for which there is no time within the window, because too many wait. Then it matters less at
    /// which moment a return comes than what it costs the broker. `None` if there is a time, or if many come at once.
    fn cheap_return(&mut self, earliest: Uptime, share: &Share, now: Uptime) -> Option<Uptime> {
        let backlog = self.reservations.backlog(now);
        if !self.is_crowded(backlog, share, now) {
            return None;
        }
        let wait_ms = self.window_ms(backlog, share, now).max(earliest.ms_since(now) as f64);
        let at = now + self.cheap_waits.choose(wait_ms, share.return_gap_ms, now)?;
        self.reservations.reserve_at(at);
        Some(at)
    }

    /// Defers a delivery until `at`, which is not reserved for it alone.
    pub(super) fn defer_until(
        &mut self,
        at: Uptime,
        has_waited: bool,
        reason: DeferReason,
        share: &Share,
        now: Uptime,
    ) -> TurnedAway {
        if share.overflows(self.reservations.backlog(now), has_waited) {
            return TurnedAway::Overflow;
        }
        self.reservations.count(at, now);
        TurnedAway::Deferred { wait_ms: at.ms_since(now), reason }
    }

    /// Defers a delivery while the endpoint is paused. No time is reserved for it, because nobody knows when the endpoint
    /// will bear how much, but it counts as backlog.
    pub(super) fn defer_while_paused(
        &mut self,
        times: u32,
        has_waited: bool,
        share: &Share,
        now: Uptime,
        chance: f64,
    ) -> TurnedAway {
        self.used_at = now;
        let all_return_ms = self.reservations.backlog(now) as f64 * share.return_gap_ms;
        let at = now + paused::wait_ms(times, all_return_ms, chance);
        self.defer_until(at, has_waited, DeferReason::Paused, share, now)
    }

    pub(super) fn advance_reservations(&mut self, ms: u64) {
        self.reservations.advance(ms);
    }

    /// Ms between two reserved times.
    fn reserved_gap_ms(&self, share: &Share) -> f64 {
        let settled_gap_ms = share.settled.start_gap_ms(self.latency.round_trip_ms());
        SLACK * self.expected_gap_ms(share).max(settled_gap_ms)
    }

    /// Reserves a time for a deferred delivery, from `earliest` on. One that has waited may get a spare time.
    fn reserve(
        &mut self,
        earliest: Uptime,
        wait: WaitContext,
        reason: DeferReason,
        share: &Share,
        now: Uptime,
    ) -> TurnedAway {
        let backlog = self.reservations.backlog(now);
        if share.overflows(backlog, wait.has_waited) {
            return TurnedAway::Overflow;
        }
        let window = Window { first: earliest, length_ms: self.window_ms(backlog, share, now) };
        let gap_ms = self.reserved_gap_ms(share);
        let until = match wait.has_waited {
            true => self.reservations.reserve_again(window, gap_ms),
            false => self.reservations.reserve(window, gap_ms),
        };
        self.reservations.count(until, now);
        TurnedAway::Deferred { wait_ms: until.ms_since(now), reason }
    }

    /// Length, in ms, of the window in which deferred deliveries return. The longer the endpoint has been answering, the
    /// longer it is, so that a delivery is deferred a few times at most while more and more is learnt of the endpoint.
    fn window_ms(&self, backlog: u64, share: &Share, now: Uptime) -> f64 {
        self.least_window_ms(backlog, share, now).max(backlog as f64 * share.return_gap_ms)
    }

    /// True if more waits than can return within the window, by what the endpoint is expected to bear as well as by what all
    /// deliverers take.
    fn is_crowded(&self, backlog: u64, share: &Share, now: Uptime) -> bool {
        let gap_ms = share.return_gap_ms.min(self.reserved_gap_ms(share));
        backlog as f64 * gap_ms > self.least_window_ms(backlog, share, now)
    }

    /// Length, in ms, of that window if no other endpoint had returns.
    fn least_window_ms(&self, backlog: u64, share: &Share, now: Uptime) -> f64 {
        let window_ms = match self.answering_since {
            None => FIRST_WINDOW_MS,
            Some(since) => FORESIGHT * (FIRST_WINDOW_MS + now.ms_since(since) as f64),
        };
        window_ms.max(backlog as f64 * SLACK * share.settled.gap_ms)
    }

    /// How many deferred deliveries should return in a ms, for all to do so within the window.
    pub(super) fn wanted_returns_per_ms(&mut self, share: &Share, now: Uptime) -> f64 {
        match self.reservations.backlog(now) {
            0 => 0.0,
            backlog => backlog as f64 / self.least_window_ms(backlog, share, now),
        }
    }

    /// Notes the latency of an attempt. True if the endpoint has become much slower than it used to be.
    fn measure(&mut self, end: &AttemptEnd, now: Uptime) -> bool {
        let Some(took_ms) = end.took_ms else { return false };
        self.latency.note(took_ms, end.breaker == BreakerEffect::Close);
        if self.latency.is_slow() {
            self.mark_degraded(now);
        }
        self.latency.is_slower()
    }

    fn follow(&mut self, transition: Transition, now: Uptime) {
        if let Transition::Opened { until, .. } = transition {
            self.answering_since = None;
            self.concurrency.collapse(self.latency.has_success(), now);
            self.reservations.restart(until);
            self.mark_degraded(until);
        }
    }
}

#[cfg(test)]
mod tests;
