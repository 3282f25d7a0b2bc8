//! The limiter of one endpoint: its queue, its permits, and the lock around the state that decides. The lock is never
//! held across an await.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use schemas::{
    BreakerChange, Endpoint,
    process_report::{EndpointFailure, EndpointRecovery},
    time::rfc3339,
};
use service::Clock;
use tokio::sync::oneshot;

use super::{
    attempt_end::{AttemptEnd, LastingFailure},
    breaker::{AttemptKind, BreakerState, Transition},
    fairness::{TenantFairness, TenantInFlight, takes_too_many},
    health::AttemptResult,
    in_hand::HeldMessage,
    share::{DelivererCount, Share, return_part},
    slots::EndpointSlots,
    state::{Admission, AdmissionState, DeferReason, TurnedAway, WaitContext},
    uptime::{Uptime, UptimeClock},
};
use crate::config::BreakerConfig;

/// Largest number of breaker changes that wait to be announced. Dropping one costs other processes a few probes.
const MAX_UNANNOUNCED: usize = 10_000;
/// Largest number of health changes that wait to be announced. What is dropped comes with the next round.
const MAX_HEALTH_CHANGES: usize = 1_000;

#[derive(Clone, Copy)]
pub(crate) struct AttemptRequest<'a> {
    pub(crate) held: &'a HeldMessage,
    pub(crate) endpoint: &'a Arc<Endpoint>,
    /// The delivery returns from a deferral or is a retry.
    pub(crate) has_waited: bool,
    /// Most fast slots of this process are in use.
    pub(crate) slots_are_scarce: bool,
}

pub(super) enum Turn {
    Now(Permit),
    /// The permit follows. The channel closes without one when the breaker opens.
    Queued(oneshot::Receiver<Permit>),
}

pub(super) struct ProcessState {
    /// For breaker changes, which other processes read by the clock of their machine.
    clock: Clock,
    uptime: UptimeClock,
    division: Mutex<Division>,
    fairness: TenantFairness,
    breaker_changes: Mutex<Vec<BreakerChange>>,
    health_changes: Mutex<Vec<Arc<EndpointLimiter>>>,
}

/// What limits are divided by.
#[derive(Clone, Copy)]
struct Division {
    deliverers: DelivererCount,
    /// Part of all returns to this process that one endpoint may have.
    return_part: f64,
}

impl Division {
    fn share(self, endpoint: &Endpoint) -> Share {
        Share::of(endpoint, self.deliverers, self.return_part)
    }
}

impl ProcessState {
    pub(super) fn new(clock: Clock, uptime: UptimeClock) -> Self {
        let alone = Division { deliverers: DelivererCount { known: 1, assumed: 1 }, return_part: 1.0 };
        Self {
            clock,
            uptime,
            division: Mutex::new(alone),
            fairness: TenantFairness::default(),
            breaker_changes: Mutex::default(),
            health_changes: Mutex::default(),
        }
    }

    pub(super) fn now(&self) -> Uptime {
        self.uptime.now()
    }

    /// Unix ms.
    fn wall_clock(&self) -> u64 {
        (self.clock)()
    }

    pub(super) fn set_deliverers(&self, count: DelivererCount) {
        self.division.lock().unwrap_or_else(PoisonError::into_inner).deliverers = count;
    }

    fn division(&self) -> Division {
        *self.division.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Divides the returns anew among endpoints, by what waits for each.
    pub(super) fn divide_returns(&self, endpoints: &[Arc<EndpointLimiter>]) {
        let (all, now) = (Division { return_part: 1.0, ..self.division() }, self.now());
        let part = return_part(endpoints.iter().filter_map(|endpoint| endpoint.wanted_returns(all, now)).collect());
        self.division.lock().unwrap_or_else(PoisonError::into_inner).return_part = part;
    }

    pub(super) fn take_breaker_changes(&self) -> Vec<BreakerChange> {
        std::mem::take(&mut *self.breaker_changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn take_health_changes(&self) -> Vec<Arc<EndpointLimiter>> {
        std::mem::take(&mut *self.health_changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn health_changed(&self, endpoint: &Arc<EndpointLimiter>) {
        let mut changes = self.health_changes.lock().unwrap_or_else(PoisonError::into_inner);
        if changes.len() < MAX_HEALTH_CHANGES {
            changes.push(endpoint.clone());
        }
    }

    fn breaker_changed(&self, change: BreakerChange) {
        let mut changes = self.breaker_changes.lock().unwrap_or_else(PoisonError::into_inner);
        if changes.len() < MAX_UNANNOUNCED {
            changes.push(change);
        }
    }
}

pub(crate) struct EndpointLimiter {
    tenant_id: String,
    endpoint_id: String,
    tenant: TenantInFlight,
    process: Arc<ProcessState>,
    pub(super) slots: EndpointSlots,
    locked: Mutex<Locked>,
}

struct Locked {
    state: AdmissionState,
    /// One sender for each delivery that the state has queued, the oldest first.
    queue: VecDeque<oneshot::Sender<Permit>>,
    /// The configuration under which the state was observed.
    endpoint: Option<Arc<Endpoint>>,
}

impl EndpointLimiter {
    pub(super) fn new(
        tenant_id: &str,
        endpoint_id: &str,
        tenant: TenantInFlight,
        process: Arc<ProcessState>,
        breaker: BreakerConfig,
    ) -> Self {
        let locked = Locked { state: AdmissionState::new(breaker), queue: VecDeque::new(), endpoint: None };
        let (tenant_id, endpoint_id) = (tenant_id.to_owned(), endpoint_id.to_owned());
        Self { tenant_id, endpoint_id, tenant, process, slots: EndpointSlots::default(), locked: Mutex::new(locked) }
    }

    /// `has_room` allows the delivery to wait in the queue, and `may_wait` allows it while its tenant is alone.
    pub(super) fn admit(
        self: &Arc<Self>,
        request: &AttemptRequest<'_>,
        has_room: bool,
        may_wait: bool,
    ) -> Result<Turn, TurnedAway> {
        let (fairness, held) = (&self.process.fairness, request.held);
        let is_on_fast = held.is_on_fast();
        if is_on_fast && request.slots_are_scarce && !held.is_alone() && fairness.is_crowded_by(&self.tenant) {
            return Err(TurnedAway::SlowLane);
        }
        let (all, now) = (fairness.in_flight(), self.process.now());
        let share = self.process.division().share(request.endpoint);
        let locked = &mut *self.lock();
        locked.follow_configuration(request.endpoint);
        if takes_too_many(locked.state.in_flight, all, request.slots_are_scarce) {
            locked.state.mark_degraded(now);
        }
        // An endpoint that is down defers from either lane, which takes one publish instead of two.
        let is_up = locked.state.breaker() == BreakerState::Closed;
        if is_up && is_on_fast && locked.state.is_degraded(now) {
            return Err(TurnedAway::SlowLane);
        }
        if is_up && held.is_beyond_share(request.has_waited) {
            if is_on_fast {
                return Err(TurnedAway::SlowLane);
            }
            let until = held.return_at(share.return_gap_ms);
            return Err(locked.state.defer_until(until, request.has_waited, DeferReason::Share, &share, now));
        }
        let wait = WaitContext {
            has_waited: request.has_waited,
            has_room,
            is_alone: may_wait && !locked.state.is_free(&share) && held.is_alone(),
            slots_are_scarce: request.slots_are_scarce,
        };
        match locked.state.admit(wait, &share, now)? {
            Admission::Start { at, kind } => Ok(Turn::Now(Permit::new(self, at, kind))),
            Admission::Queue => {
                let (sender, turn) = oneshot::channel();
                locked.queue.push_back(sender);
                Ok(Turn::Queued(turn))
            }
        }
    }

    /// Defers a delivery while the endpoint is paused.
    pub(super) fn defer_while_paused(&self, request: &AttemptRequest<'_>, times: u32, chance: f64) -> TurnedAway {
        let (share, now) = (self.process.division().share(request.endpoint), self.process.now());
        let locked = &mut *self.lock();
        locked.follow_configuration(request.endpoint);
        locked.state.defer_while_paused(times, request.has_waited, &share, now, chance)
    }

    /// True when a delivery would begin within `ms`, and the last request of this version of the endpoint ended within a
    /// second.
    pub(super) fn is_prompt(&self, endpoint: &Arc<Endpoint>, ms: f64) -> bool {
        let (share, now) = (self.process.division().share(endpoint), self.process.now());
        let locked = self.lock();
        let is_known = locked.endpoint.as_ref().is_some_and(|known| Arc::ptr_eq(known, endpoint));
        is_known && self.slots.is_quick() && locked.state.is_prompt(&share, ms, now)
    }

    /// Takes over what another process announced of this endpoint's breaker.
    pub(super) fn apply_announced(&self, change: &BreakerChange) {
        let now = self.process.now();
        let transition = match change.open_until {
            Some(until) => Transition::Opened {
                until: now + until.saturating_sub(self.process.wall_clock()),
                consecutive_opens: change.consecutive_opens,
            },
            None => Transition::Closed,
        };
        let locked = &mut *self.lock();
        if locked.state.apply_announced(transition, now) {
            locked.follow_breaker(transition);
        }
    }

    pub(super) fn tenant_id(&self) -> &str {
        &self.tenant_id
    }

    pub(super) fn queued(&self) -> u32 {
        self.lock().state.queued
    }

    /// Records the result of a delivery's attempt. A retry counts as backlog until it returns.
    pub(crate) fn record_result(self: &Arc<Self>, result: AttemptResult<'_>) -> Option<LastingFailure> {
        let now = self.process.now();
        let (failure, is_changed) = self.lock().state.note_result(result, now);
        if is_changed {
            self.process.health_changed(self);
        }
        failure
    }

    /// The failure that other processes are told of, and the configuration that it was observed under. None while the
    /// endpoint does not fail. The version is left out.
    pub(crate) fn failure(&self) -> Option<(Arc<Endpoint>, EndpointFailure)> {
        let (now, wall) = (self.process.now(), self.process.wall_clock());
        let locked = &mut *self.lock();
        let failing = locked.state.health.failing.clone()?;
        let next_at = match locked.state.breaker() {
            BreakerState::Closed => failing.retry_at.filter(|at| *at > wall),
            BreakerState::Open { until } | BreakerState::HalfOpen { until } => Some(wall + until.ms_since(now)),
        };
        let failure = EndpointFailure {
            tenant: self.tenant_id.clone(),
            endpoint_id: self.endpoint_id.clone(),
            version: None,
            since: failing.since,
            failures: failing.failures,
            last: failing.last,
            last_success_at: locked.state.health.last_success_at,
            waiting: locked.state.backlog(now),
            next_at,
            only_operational: failing.only_operational,
        };
        Some((locked.endpoint.clone()?, failure))
    }

    /// The last success of an endpoint that does not fail.
    pub(crate) fn recovery(&self) -> Option<EndpointRecovery> {
        let at = self.with(|state| state.health.last_success_at.filter(|_| state.health.failing.is_none()))?;
        Some(EndpointRecovery { tenant: self.tenant_id.clone(), endpoint_id: self.endpoint_id.clone(), at })
    }

    /// Notes a success of another process, at `at` unix ms.
    pub(crate) fn succeeded_elsewhere(&self, at: u64) {
        self.lock().state.health.succeeded_elsewhere(at);
    }

    pub(crate) fn with<T>(&self, read: impl FnOnce(&AdmissionState) -> T) -> T {
        read(&self.lock().state)
    }

    /// Brings reserved times forward, as the deliveries that they are for return sooner.
    pub(crate) fn advance_reservations(&self, ms: u64) {
        self.lock().state.advance_reservations(ms);
    }

    /// Part of all returns that what waits for the endpoint should have, or None if nothing does.
    fn wanted_returns(&self, all: Division, now: Uptime) -> Option<f64> {
        let locked = &mut *self.lock();
        let share = locked.share(all)?;
        let wanted = locked.state.wanted_returns_per_ms(&share, now) * share.return_gap_ms;
        (wanted > 0.0).then(|| wanted.min(1.0))
    }

    #[cfg(test)]
    pub(super) fn change(&self, change: impl FnOnce(&mut AdmissionState)) {
        change(&mut self.lock().state);
    }

    fn ended(self: &Arc<Self>, end: &AttemptEnd, kind: AttemptKind, chance: f64) {
        let now = self.process.now();
        let transition = {
            let division = self.process.division();
            let locked = &mut *self.lock();
            let Some(share) = locked.share(division) else { return };
            let transition = locked.state.ended(end, kind, &share, now, chance);
            if let Some(transition) = transition {
                locked.follow_breaker(transition);
            }
            self.grant(locked, &share, now);
            transition
        };
        if let Some(transition) = transition {
            self.report(transition, now);
        }
    }

    fn abandoned(self: &Arc<Self>, kind: AttemptKind) {
        let (division, now) = (self.process.division(), self.process.now());
        let locked = &mut *self.lock();
        locked.state.abandoned(kind, now);
        if let Some(share) = locked.share(division) {
            self.grant(locked, &share, now);
        }
    }

    fn grant(self: &Arc<Self>, locked: &mut Locked, share: &Share, now: Uptime) {
        while let Some(at) = locked.state.grant(share, now) {
            let Some(next) = locked.queue.pop_front() else { break };
            if let Err(permit) = next.send(Permit::new(self, at, AttemptKind::Regular)) {
                permit.discard();
                locked.state.abandoned(AttemptKind::Regular, now);
            }
        }
    }

    fn report(&self, transition: Transition, now: Uptime) {
        let (open_until, consecutive_opens) = match transition {
            Transition::Opened { until, consecutive_opens } => {
                (Some(self.process.wall_clock().saturating_add(until.ms_since(now))), consecutive_opens)
            }
            Transition::Closed => (None, 0),
        };
        let (tenant, endpoint_id) = (self.tenant_id.clone(), self.endpoint_id.clone());
        let until = open_until.map(rfc3339);
        let state = if until.is_some() { "open" } else { "closed" };
        tracing::info!(tenant, endpoint_id, state, open_until = until, consecutive_opens, "breaker.changed");
        self.process.breaker_changed(BreakerChange { tenant, endpoint_id, open_until, consecutive_opens });
    }

    fn lock(&self) -> MutexGuard<'_, Locked> {
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Locked {
    fn share(&self, division: Division) -> Option<Share> {
        self.endpoint.as_ref().map(|endpoint| division.share(endpoint))
    }

    /// A change of the configuration may have repaired the endpoint, so its failures are forgotten. A version that is
    /// equal to the known one is a change, too: the endpoint was disabled in between, and is enabled again.
    fn follow_configuration(&mut self, endpoint: &Arc<Endpoint>) {
        if self.endpoint.as_ref().is_some_and(|known| Arc::ptr_eq(known, endpoint)) {
            return;
        }
        if self.endpoint.replace(endpoint.clone()).is_some() {
            self.state.forget_failures();
        }
    }

    /// An opened breaker empties the queue. Its deliveries ask again, and are deferred.
    fn follow_breaker(&mut self, transition: Transition) {
        if let Transition::Opened { .. } = transition {
            self.queue.clear();
            self.state.queued = 0;
        }
    }
}

/// The right to make one attempt. Its place at the endpoint is returned by [`Permit::ended`], or by the drop of an
/// attempt that panicked or was abandoned.
pub(crate) struct Permit {
    endpoint: Arc<EndpointLimiter>,
    start_at: Uptime,
    kind: AttemptKind,
    is_returned: bool,
}

impl Permit {
    fn new(endpoint: &Arc<EndpointLimiter>, start_at: Uptime, kind: AttemptKind) -> Self {
        endpoint.process.fairness.enter(&endpoint.tenant);
        Self { endpoint: endpoint.clone(), start_at, kind, is_returned: false }
    }

    pub(crate) fn endpoint(&self) -> &Arc<EndpointLimiter> {
        &self.endpoint
    }

    /// Time before which the attempt must not start.
    pub(super) fn start_at(&self) -> Uptime {
        self.start_at
    }

    /// `chance` is in 0..1.
    pub(crate) fn ended(mut self, end: AttemptEnd, chance: f64) {
        self.leave();
        self.endpoint.ended(&end, self.kind, chance);
    }

    /// Drops a permit while the endpoint's lock is held, which [`Permit::drop`] would take again.
    fn discard(mut self) {
        self.leave();
    }

    fn leave(&mut self) {
        self.is_returned = true;
        self.endpoint.process.fairness.leave(&self.endpoint.tenant);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.is_returned {
            self.leave();
            self.endpoint.abandoned(self.kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use broker::{Lane, Prefetch};
    use serde_json::json;
    use tokio::time::advance;

    use super::*;
    use crate::{limits::Limiter, outcome::Outcome};

    const DAY: Duration = Duration::from_secs(86_400);

    /// A version of the endpoint: each is equal to the others, and another one.
    fn version() -> Arc<Endpoint> {
        Arc::new(serde_json::from_value(json!({"id": "crm", "url": "https://crm.example"})).unwrap())
    }

    async fn fail(limiter: &Limiter, endpoint: &Arc<Endpoint>) -> Option<LastingFailure> {
        let held = &limiter.hold(Lane::Fast, "acme", 0);
        let request = AttemptRequest { held, endpoint, has_waited: false, slots_are_scarce: false };
        let permit = limiter.admit(request).await.unwrap_or_else(|why| panic!("{why:?}"));
        let outcome = Outcome::with_status(500, None, String::new());
        let failed =
            AttemptResult::Failure { outcome: &outcome, began: 0, ended: 0, retry_ms: None, is_operational: false };
        permit.endpoint().record_result(failed)
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_is_enabled_again_is_not_given_up_for_what_failed_before() {
        let prefetch = Prefetch { messages: 10, bytes: 1_000 };
        let limiter = Limiter::new(Arc::new(|| 0), UptimeClock::start(), prefetch, BreakerConfig::default());
        let (before, after) = (version(), version());
        assert_eq!(fail(&limiter, &before).await, None);
        advance(4 * DAY).await;
        assert!(fail(&limiter, &before).await.is_some_and(|failure| !failure.is_given_up), "for four days");
        // It is disabled meanwhile, and gets nothing.
        advance(2 * DAY).await;
        assert_eq!(fail(&limiter, &after).await, None, "it begins anew");
        advance(5 * DAY).await;
        assert!(fail(&limiter, &after).await.is_some_and(|failure| failure.is_given_up));
    }
}
