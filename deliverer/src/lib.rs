//! One delivery in, one POST out, and what follows: done, the next due time, or dead letter.
//!
//! Nothing is lost with it: any number of deliverers may run on one broker. [`Deliverer::run`] consumes both lanes;
//! `handle` is decode, look up, admit, attempt, decide, settle, report. The body is never parsed: it is what gets POSTed.

mod attempt;
mod canary;
mod client;
mod config;
mod consume;
mod defer;
mod destination;
mod forks;
mod gone;
mod heartbeat;
mod hidden;
mod limits;
mod metrics;
mod outcome;
mod prefetch;
mod repeat;
mod report;
mod settle;
mod sign;
mod target;
mod trial;
mod verdict;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use broker::{Broker, ConsumerStatus, Incoming, Lane, Settlement};
use bytes::Bytes;
use schemas::{Counts, DeadReason, Delivery, Endpoint, ParkReason, RetryPolicy};
use service::{Chance, Clock};
use store::{Outbox, RetentionTable, Store};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;

pub use attempt::Poster;
pub use canary::CanaryMetrics;
pub use config::{BreakerConfig, DelivererConfig};
pub use metrics::DelivererMetrics;
pub use outcome::{Outcome, RetryAfter};
pub use verdict::{Spent, Verdict, decide};

use canary::Canaries;
use forks::Forks;
use gone::Gone;
use heartbeat::Heartbeat;
use limits::{
    AttemptEnd, EndpointLimiter, Limiter, OnlyFailing, Permit, QueueLimits, Request, SlotCounts, Slots, TurnedAway,
};
use metrics::LaneMetrics;
use repeat::Delivered;
use settle::attempt_of;
use target::Targets;

/// The commented defaults of the section `deliverer`.
pub const DEFAULT_TOML: &str = include_str!("../default.toml");

/// What a deliverer needs from its process.
pub struct DelivererDependencies {
    /// Where deliveries are.
    pub broker: Arc<dyn Broker>,
    /// Where they go.
    pub store: Arc<dyn Store>,
    /// What was done, and found out, is told here.
    pub outbox: Arc<Outbox>,
    /// What is kept of dead letters.
    pub retention: Arc<RetentionTable>,
    /// The time.
    pub clock: Clock,
    /// For the spread of retries.
    pub chance: Chance,
    /// It ends once this reads true.
    pub stop: CancellationToken,
}

/// Delivers.
pub struct Deliverer {
    deps: DelivererDependencies,
    poster: Poster,
    targets: Targets,
    gone: Gone,
    limiter: Limiter,
    slots: Slots,
    slot_counts: SlotCounts,
    delivered: Delivered,
    forks: Forks,
    default_policy: RetryPolicy,
    bytes: Semaphore,
    max_bytes: u32,
    size: prefetch::AverageSize,
    metrics: DelivererMetrics,
    canaries: Canaries,
    consumer_status: [Arc<ConsumerStatus>; 2],
}

impl Deliverer {
    /// A deliverer that posts what the broker holds to what the store knows.
    ///
    /// # Errors
    /// When the HTTP client cannot be made of the configuration.
    pub fn new(
        config: &DelivererConfig,
        deps: DelivererDependencies,
        metrics: DelivererMetrics,
        canaries: CanaryMetrics,
    ) -> anyhow::Result<Arc<Self>> {
        let slot_counts = SlotCounts { fast: config.slots, slow: config.slow_slots };
        let prefetch = u32::from(slot_counts.prefetch(Lane::Fast));
        // Half of the messages in the process may wait for their endpoint, and half of these for one.
        let queues = QueueLimits { per_endpoint: (prefetch / 4).max(1), total: (prefetch / 2).max(1) };
        Ok(Arc::new(Self {
            limiter: Limiter::new(deps.clock.clone(), queues, config.breaker),
            slots: Slots::new(slot_counts, deps.clock.clone()),
            slot_counts,
            consumer_status: [Lane::Fast, Lane::Slow]
                .map(|_| ConsumerStatus::new(deps.broker.connection_state(), Instant::now())),
            deps,
            poster: Poster::new(config)?,
            targets: Targets::default(),
            gone: Gone::default(),
            delivered: Delivered::new(config.duplicates),
            forks: Forks::default(),
            default_policy: config.retry.clone(),
            bytes: Semaphore::new(config.max_in_flight_bytes as usize),
            max_bytes: config.max_in_flight_bytes,
            size: prefetch::AverageSize::default(),
            metrics,
            canaries: Canaries::new(config, canaries),
        }))
    }

    /// Consumes both lanes until asked to stop; then finishes what is under way.
    pub async fn run(self: Arc<Self>) {
        let stop = self.deps.stop.clone();
        let mut revision = self.deps.store.revision();
        tokio::select! {
            // Without a snapshot every endpoint would look unknown.
            Ok(_) = revision.wait_for(|revision| *revision > 0) => {}
            () = stop.cancelled() => return,
            else => return,
        }
        let notices = self.deps.broker.notices();
        let heartbeat = tokio::spawn(Heartbeat::new(self.clone()).run(notices));
        let canaries = tokio::spawn(self.clone().send_canaries());
        tokio::join!(self.clone().consume(Lane::Fast), self.clone().consume(Lane::Slow));
        heartbeat.abort();
        canaries.abort();
        self.announce_presence(true);
    }

    async fn handle(&self, incoming: &Incoming, lane: Lane, counted: &LaneMetrics) -> Settlement {
        if incoming.redelivered {
            self.metrics.redeliveries.inc();
        }
        self.size.note(incoming.message.body.len());
        let delivery = match Delivery::from_message(&incoming.message) {
            Ok(delivery) => delivery,
            Err(bad) => return self.park(incoming, ParkReason::Schema, bad.to_string()).await,
        };
        if delivery.is_test {
            return self.try_out(&delivery, incoming, lane, counted).await;
        }
        if self.delivered.contains(&delivery, self.now()) {
            report::repeated(&self.metrics, &delivery);
            return Settlement::Done;
        }
        let endpoint = match self.find(&delivery).await {
            Ok(endpoint) => endpoint,
            Err(absent) => return self.without_attempt(&delivery, incoming, lane, absent).await,
        };
        let permit = match self.admit(&delivery, &endpoint, lane).await {
            Ok(permit) => permit,
            Err(turned_away) => return self.turned_away(&delivery, incoming, &endpoint, turned_away).await,
        };
        if self.forks.note(&delivery, incoming.redelivered, self.now()) {
            report::forked(&self.metrics, &delivery);
        }
        let body = &incoming.message.body;
        let (began, outcome) = self.post(&delivery, &endpoint, body, &permit, counted).await;
        let now = self.now();
        let limiter = permit.endpoint().clone();
        permit.ended(AttemptEnd::of(&outcome, now), now, (self.deps.chance)());
        let policy = endpoint.retry.as_ref().unwrap_or(&self.default_policy);
        let spent = Spent { attempts: delivery.attempt, accepted_at: delivery.accepted_at };
        let verdict = decide(&outcome, spent, policy, now, (self.deps.chance)());
        let attempt = attempt_of(&delivery, outcome, began, &verdict);
        report::count(counted, &delivery, &attempt, &verdict, now);
        if verdict == Verdict::Delivered {
            self.delivered.note(&delivery, now);
        }
        self.conclude(&delivery, &endpoint, &limiter, &verdict, now);
        let settlement = self.settler(now).carry_out(&delivery, body, &attempt, &verdict).await;
        report::attempted(&self.metrics, &delivery, &attempt, &verdict, settlement);
        self.outbox(&delivery, now, report::counts(body, &verdict, settlement));
        settlement
    }

    /// What follows for the endpoint's other deliveries.
    fn conclude(
        &self,
        delivery: &Delivery,
        endpoint: &Arc<Endpoint>,
        limiter: &EndpointLimiter,
        verdict: &Verdict,
        now: u64,
    ) {
        let retry_at = match verdict {
            Verdict::Retry(due) => Some(due.at),
            Verdict::Delivered | Verdict::Dead(_) => None,
        };
        let failed = limiter.concluded(retry_at, *verdict == Verdict::Delivered, now);
        let snapshot = self.deps.store.snapshot();
        let is_gone = *verdict == Verdict::Dead(DeadReason::Permanent);
        let fact = match failed {
            _ if is_gone => gone::fact(snapshot.as_deref(), delivery, endpoint),
            Some(OnlyFailing { since, .. }) => gone::failing(snapshot.as_deref(), delivery, endpoint, since),
            None => None,
        };
        if is_gone || failed.is_some_and(|failed| failed.is_enough) {
            self.gone.note(endpoint);
        }
        if let Some(fact) = fact {
            self.deps.outbox.record_finding(fact);
        }
    }

    /// May it be attempted now?
    async fn admit(&self, delivery: &Delivery, endpoint: &Arc<Endpoint>, lane: Lane) -> Result<Permit, TurnedAway> {
        let request = Request {
            tenant: &delivery.tenant,
            endpoint,
            has_waited: delivery.due.is_some(),
            is_on_fast: lane == Lane::Fast,
            slots_are_scarce: self.slots.are_scarce(),
        };
        self.limiter.admit(request).await
    }

    /// Posts it as soon as there is a slot for it and its weight is free; says when that was, and what came of it.
    async fn post(
        &self,
        delivery: &Delivery,
        endpoint: &Arc<Endpoint>,
        body: &Bytes,
        permit: &Permit,
        counted: &LaneMetrics,
    ) -> (u64, Outcome) {
        let target = self.targets.of(&delivery.tenant, endpoint);
        let weight = u32::try_from(body.len()).unwrap_or(u32::MAX).min(self.max_bytes);
        // Closed never, so acquired always.
        let _weight = self.bytes.acquire_many(weight).await;
        let began = AtomicU64::new(self.now());
        let request = async {
            let now = self.now();
            began.store(now, Relaxed);
            report::begins(counted, delivery, now);
            self.poster.post(&target, delivery, body.clone(), now).await
        };
        let outcome = self.slots.run(counted.lane, permit.endpoint(), request).await;
        let began = began.into_inner();
        (began, outcome.unwrap_or_else(|| Outcome::cut_short(self.now().saturating_sub(began))))
    }

    fn outbox(&self, delivery: &Delivery, now: u64, counts: Counts) {
        self.deps.outbox.add(now, &delivery.tenant, Some(&delivery.endpoint_id), counts);
    }

    fn now(&self) -> u64 {
        (self.deps.clock)()
    }
}

#[cfg(test)]
mod tests;
