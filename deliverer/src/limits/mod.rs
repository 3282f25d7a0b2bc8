//! Limits keep endpoints apart: one that is dead, slow or flooded must not delay another.
//!
//! [`Limiter::admit`] says whether a delivery may be attempted now. It asks the [`EndpointLimiter`] of the delivery's
//! endpoint, whose pure `AdmissionState` decides by breaker, concurrency, rate and reservations. [`Slots`] bounds the
//! requests of the whole process, and [`Limiter::hold`] notes what each tenant has of the prefetch. There is no lock
//! service: each process decides for itself, and announces the breakers that it opens and closes.

mod attempt_end;
mod breaker;
mod cheap_waits;
mod concurrency;
mod endpoint;
mod endpoints;
mod fairness;
mod health;
mod in_hand;
mod latency;
mod paused;
mod rate;
mod share;
mod slots;
mod state;
mod uptime;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use broker::{Lane, Prefetch};
use endpoint::{ProcessState, Turn};
use endpoints::EndpointLimiters;
use in_hand::InHand;
use schemas::{BreakerChange, Endpoint};
use service::Clock;
use tokio::time::{sleep, timeout};

use crate::config::BreakerConfig;

pub(crate) use attempt_end::{AttemptEnd, LastingFailure};
pub(crate) use breaker::BreakerState;
pub(crate) use endpoint::{AttemptRequest, EndpointLimiter, Permit};
pub(crate) use health::AttemptResult;
pub(crate) use in_hand::HeldMessage;
pub(crate) use share::{DelivererCount, HEARTBEAT_MS, Peers};
pub(crate) use slots::{SlotCounts, Slots};
pub(crate) use state::{DeferReason, TurnedAway};
pub(crate) use uptime::{Uptime, UptimeClock};

/// Longest time in an endpoint's queue: twice what the endpoint was expected to need, or as long while a tenant is alone.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(2);

/// The limits of one process. Their memory grows with the endpoints that were posted to lately.
pub(crate) struct Limiter {
    endpoints: Mutex<EndpointLimiters>,
    process: Arc<ProcessState>,
    queues: QueueLimits,
    queued: AtomicU32,
    in_hand: Arc<InHand>,
}

/// How many deliveries may wait in memory until their endpoint has a free place.
#[derive(Clone, Copy, Debug)]
struct QueueLimits {
    per_endpoint: u32,
    total: u32,
}

impl QueueLimits {
    /// As many as half of the messages of one lane may wait for their endpoint, and half of these for the same one.
    fn of(prefetch: Prefetch) -> Self {
        let messages = u32::from(prefetch.messages);
        Self { per_endpoint: messages / 4, total: messages / 2 }
    }
}

impl Limiter {
    /// Limits count by `uptime`; `clock` dates what is announced to other processes. `prefetch` is that of each lane.
    pub(crate) fn new(clock: Clock, uptime: UptimeClock, prefetch: Prefetch, breaker: BreakerConfig) -> Self {
        let process = Arc::new(ProcessState::new(clock, uptime));
        let endpoints = Mutex::new(EndpointLimiters::new(breaker, process.clone()));
        let (queues, in_hand) = (QueueLimits::of(prefetch), InHand::new(prefetch, uptime));
        Self { endpoints, process, queues, queued: AtomicU32::new(0), in_hand }
    }

    /// Notes a message that is in hand until the result is dropped.
    pub(crate) fn hold(&self, lane: Lane, tenant: &str, bytes: usize) -> HeldMessage {
        self.in_hand.hold(lane, tenant, bytes)
    }

    /// Bytes of the bodies in hand.
    pub(crate) fn bytes_in_hand(&self) -> usize {
        self.in_hand.bytes()
    }

    /// Waits, for about two seconds at most, until the delivery may be attempted.
    pub(crate) async fn admit(&self, request: AttemptRequest<'_>) -> Result<Permit, TurnedAway> {
        let endpoint = self.endpoint(request.held.tenant(), &request.endpoint.id);
        let mut may_wait = true;
        let permit = loop {
            let has_room = may_wait && self.has_room(endpoint.queued());
            match endpoint.admit(&request, has_room, may_wait)? {
                Turn::Now(permit) => break permit,
                Turn::Queued(turn) => {
                    let _queued = QueuedGuard::new(&self.queued);
                    match timeout(QUEUE_TIMEOUT, turn).await {
                        Ok(Ok(permit)) => break permit,
                        // The breaker has opened, which empties the queue. The next round defers the delivery.
                        Ok(Err(_)) => {}
                        Err(_) => may_wait = false,
                    }
                }
            }
        };
        request.held.attempted();
        let wait_ms = permit.start_at().ms_since(self.process.now());
        if wait_ms > 0 {
            sleep(Duration::from_millis(wait_ms)).await;
        }
        Ok(permit)
    }

    /// Says how long a delivery to a paused endpoint waits that has found it paused `times` times before. `chance` is in 0..1.
    pub(crate) fn defer_while_paused(&self, request: &AttemptRequest<'_>, times: u32, chance: f64) -> TurnedAway {
        let endpoint = self.endpoint(request.held.tenant(), &request.endpoint.id);
        endpoint.defer_while_paused(request, times, chance)
    }

    /// True when a delivery of the fast lane to this endpoint would begin within `ms`, at an endpoint that answers within a
    /// second, and of which nothing speaks against it. Takes nothing.
    pub(crate) fn is_prompt(&self, tenant: &str, endpoint: &Arc<Endpoint>, ms: f64) -> bool {
        let Some(known) = self.known(tenant, &endpoint.id) else { return false };
        known.is_prompt(endpoint, ms)
    }

    /// Whether an endpoint with this many queued deliveries may queue one more. An endpoint with half of all queued
    /// deliveries always may: it holds up few others, and deferring a delivery costs more than posting it.
    fn has_room(&self, queued_for_endpoint: u32) -> bool {
        let all = self.queued.load(Relaxed);
        (all < self.queues.total && queued_for_endpoint < self.queues.per_endpoint) || queued_for_endpoint >= all / 2
    }

    fn endpoint(&self, tenant: &str, endpoint: &str) -> Arc<EndpointLimiter> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).of(tenant, endpoint, self.process.now())
    }

    /// The limiter of an endpoint, if it was posted to lately.
    pub(crate) fn known(&self, tenant: &str, endpoint: &str) -> Option<Arc<EndpointLimiter>> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).find(tenant, endpoint)
    }

    pub(crate) fn endpoints(&self) -> Vec<Arc<EndpointLimiter>> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).all()
    }

    pub(crate) fn now(&self) -> Uptime {
        self.process.now()
    }

    pub(crate) fn set_deliverers(&self, count: DelivererCount) {
        self.process.set_deliverers(count);
    }

    /// Divides the deliveries that may return in a second among the endpoints that some wait for. It looks at every endpoint.
    pub(crate) fn divide_returns(&self) {
        self.process.divide_returns(&self.endpoints());
    }

    /// Takes over what another process announced of an endpoint's breaker.
    pub(crate) fn apply_announced(&self, change: &BreakerChange) {
        self.endpoint(&change.tenant, &change.endpoint_id).apply_announced(change);
    }

    /// Returns each change of a breaker once, so that it can be announced to the other processes.
    pub(crate) fn take_breaker_changes(&self) -> Vec<BreakerChange> {
        self.process.take_breaker_changes()
    }

    /// Returns the endpoints that began to fail or answered again since the last call.
    pub(crate) fn take_health_changes(&self) -> Vec<Arc<EndpointLimiter>> {
        self.process.take_health_changes()
    }
}

struct QueuedGuard<'a>(&'a AtomicU32);

impl<'a> QueuedGuard<'a> {
    fn new(queued: &'a AtomicU32) -> Self {
        queued.fetch_add(1, Relaxed);
        Self(queued)
    }
}

impl Drop for QueuedGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
