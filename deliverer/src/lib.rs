//! The deliverer: one delivery in, one POST out, and what follows: done, a retry, or a dead letter.
//!
//! Any number of deliverers may consume the same broker. [`Deliverer::run`] consumes both lanes, and `Deliverer::handle` is
//! the path of one delivery. Its stages are structs that hold what they need and nothing else: `Resolver`, `Limiter`,
//! `Poster`, `Settler`, `Reporter`. The body of a delivery is posted as it is and never parsed.

mod canary;
mod config;
mod consume;
mod defer;
mod delivery_events;
mod direct;
mod erased;
mod health;
mod heartbeat;
mod limits;
mod metrics;
mod outcome;
mod post;
mod recent;
mod report;
mod resolve;
mod settle;
mod verdict;

use std::sync::Arc;

use broker::{Broker, ConsumerStatus, DirectDelivery, Handler, Incoming, Lane, Prefetch, Settlement};
use history::Recorder;
use schemas::{DeadReason, Delivery, DeliveryEnd, EndpointState, Notice, OutcomeClass, ParkReason, RetryPolicy};
use service::{Chance, Clock, FairSemaphore};
use store::{Outbox, RetentionTable, Store};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use canary::CanaryMetrics;
pub use config::DelivererConfig;
pub use metrics::DelivererMetrics;

use canary::Canaries;
use consume::{ConsumedDelivery, Lanes, Path};
use defer::NotAttempted;
use delivery_events::DeliveryEvents;
use direct::{DirectDeliverer, DirectTasks};
use erased::ErasedEvents;
use heartbeat::DelivererHeartbeat;
use limits::{AttemptEnd, AttemptRequest, AttemptResult, HeldMessage, Limiter, Permit, SlotCounts, Slots, UptimeClock};
use post::{Network, Posted, Poster, PreparedEndpoint};
use recent::Recent;
use report::Reporter;
use resolve::{Resolver, Unresolved};
use settle::{Concluded, Settler};
use verdict::{Spent, Verdict, decide};

pub const DEFAULT_TOML: &str = include_str!("../default.toml");

/// Longest wait, in ms, of a test delivery for a snapshot that has its endpoint. Afterwards nobody looks at the test
/// any more.
const MAX_TEST_AGE_MS: u64 = 60_000;
/// Most test deliveries of a tenant in hand at once, because no other limit holds for them. One process of control has four
/// callers of a tenant wait at most.
const MAX_TESTS: u32 = 16;

pub struct DelivererDependencies {
    pub broker: Arc<dyn Broker>,
    pub store: Arc<dyn Store>,
    pub outbox: Arc<Outbox>,
    /// How much is kept of each tenant's dead letters.
    pub retention: Arc<RetentionTable>,
    /// Takes what history keeps of attempts.
    pub recorder: Recorder,
    pub clock: Clock,
    /// Spreads retries, so that what failed together does not return together.
    pub chance: Chance,
    pub stop: CancellationToken,
}

pub struct Deliverer {
    deps: DelivererDependencies,
    lanes: Lanes,
    recent: Recent,
    resolver: Resolver,
    limiter: Limiter,
    /// Test deliveries in hand, by tenant.
    tests: Arc<FairSemaphore>,
    poster: Poster,
    default_policy: RetryPolicy,
    settler: Settler,
    reporter: Reporter,
    canaries: Canaries,
    erased: ErasedEvents,
    direct: DirectTasks,
    delivery_events: DeliveryEvents,
}

impl Deliverer {
    /// # Errors
    /// When the HTTP client cannot be made from the configuration.
    pub fn new(
        config: &DelivererConfig,
        deps: DelivererDependencies,
        metrics: DelivererMetrics,
        canaries: CanaryMetrics,
    ) -> anyhow::Result<Arc<Self>> {
        let DelivererDependencies { broker, store, outbox, retention, recorder, clock, stop, .. } = &deps;
        let uptime = UptimeClock::start();
        let slot_counts = SlotCounts { fast: config.slots, slow: config.slow_slots };
        let slots = Slots::new(slot_counts, uptime);
        let prefetch = Prefetch { messages: slot_counts.prefetch(), bytes: config.max_in_flight_bytes as usize / 2 };
        Ok(Arc::new(Self {
            lanes: Lanes::new(broker.clone(), prefetch, stop.clone()),
            recent: Recent::new(config.duplicates),
            resolver: Resolver::new(store.clone()),
            limiter: Limiter::new(clock.clone(), uptime, prefetch, config.breaker),
            tests: FairSemaphore::new(u32::MAX),
            poster: Poster::new(config, Network::of_the_system(config), slots, clock.clone())?,
            default_policy: config.retry.clone(),
            settler: Settler::new(broker.clone(), retention.clone(), metrics.clone(), stop.clone()),
            delivery_events: DeliveryEvents::new(broker.clone(), store.clone(), metrics.clone(), stop.clone()),
            reporter: Reporter::new(metrics, outbox.clone(), recorder.clone()),
            canaries: Canaries::new(config, canaries),
            erased: ErasedEvents::default(),
            direct: DirectTasks::default(),
            deps,
        }))
    }

    /// Consumes both lanes until asked to stop, and then finishes the deliveries in hand.
    pub async fn run(self: Arc<Self>) {
        let mut revision = self.deps.store.revision();
        tokio::select! {
            // Without a snapshot every endpoint would look unknown.
            Ok(_) = revision.wait_for(|revision| *revision > 0) => {}
            () = self.deps.stop.cancelled() => return,
            else => return,
        }
        let notices = self.deps.broker.notices();
        let heartbeat = tokio::spawn(DelivererHeartbeat::new(self.clone()).run(notices));
        let deliverer = self.clone();
        let canaries = tokio::spawn(async move { deliverer.canaries.send(&deliverer.deps).await });
        let consume = |lane| self.lanes.consume(lane, Arc::new(LaneHandler { deliverer: self.clone(), lane }));
        tokio::join!(consume(Lane::Fast), consume(Lane::Slow));
        self.direct.finish().await;
        self.delivery_events.finish().await;
        heartbeat.abort();
        canaries.abort();
        heartbeat::announce_presence(&self, true);
    }

    /// What this deliverer offers to the router of its process.
    pub fn direct(self: &Arc<Self>) -> Arc<dyn DirectDelivery> {
        Arc::new(DirectDeliverer(self.clone()))
    }

    pub fn consumer_status(&self, lane: Lane) -> &Arc<ConsumerStatus> {
        self.lanes.status(lane)
    }

    /// The path of one delivery. `Err` is the settlement of a message that is not attempted.
    async fn handle(&self, incoming: &Incoming, lane: Lane) -> Result<Settlement, Settlement> {
        let consumed = self.decode(incoming, lane).await?;
        let held = self.limiter.hold(lane, &consumed.delivery.tenant, consumed.body.len());
        if consumed.delivery.is_test {
            return self.handle_test(&consumed).await;
        }
        if self.erased.contain(&consumed.delivery, Instant::now()) {
            return Err(self.without_attempt(&consumed, NotAttempted::Erased).await);
        }
        let endpoint = self.resolve(&consumed).await?;
        let permit = self.admit(&consumed, &endpoint, &held).await?;
        Ok(self.attempt(&consumed, &endpoint, permit).await)
    }

    /// One attempt and what follows from it.
    async fn attempt(&self, consumed: &ConsumedDelivery, endpoint: &PreparedEndpoint, permit: Permit) -> Settlement {
        let posted = self.post(consumed, endpoint, &permit).await;
        let mut concluded = self.decide(consumed, endpoint, permit, posted);
        let settlement = self.settler.settle(consumed, &mut concluded).await;
        self.reporter.settled(consumed, &concluded, settlement);
        if let (Settlement::Done, Some(end)) = (settlement, concluded.end_of_delivery()) {
            self.delivery_events.publish(&consumed.delivery, &end, concluded.at);
        }
        settlement
    }

    /// The path of a delivery that the test button made: one attempt, whatever the endpoint's state and limits, and a
    /// notice to control. It is not retried, leaves no dead letter and changes no limit. A crash before the settlement
    /// attempts it again. Beyond [`MAX_TESTS`] it ends without an attempt, and its caller hears that there is no result yet.
    async fn handle_test(&self, consumed: &ConsumedDelivery) -> Result<Settlement, Settlement> {
        let delivery = &consumed.delivery;
        let in_hand = self.tests.try_acquire_if(&delivery.tenant, 1, |own, _| own < MAX_TESTS);
        let Some(_in_hand) = in_hand else { return Err(Settlement::Done) };
        let endpoint = match self.resolver.resolve_for_test(delivery).await {
            Ok(endpoint) => endpoint,
            Err(why @ (Unresolved::Unknown | Unresolved::Ahead))
                if self.now() < delivery.accepted_at + MAX_TEST_AGE_MS =>
            {
                return Err(self.unresolved(consumed, why).await);
            }
            Err(_) => return Err(Settlement::Done),
        };
        let posted = self.poster.post_now(&endpoint, delivery, &consumed.body).await;
        self.reporter.attempt_ended(consumed, &posted);
        let verdict = match posted.outcome.class {
            OutcomeClass::Success => Verdict::Delivered,
            _ => Verdict::Dead(DeadReason::Exhausted),
        };
        let concluded = Concluded::new(delivery, posted, verdict);
        self.reporter.tested(consumed, &concluded);
        let tested = Notice::Tested { delivery_id: delivery.id, attempt: concluded.attempt };
        self.deps.broker.announce(tested.write().into());
        Ok(Settlement::Done)
    }

    /// Reads a delivery. A message that is none is parked; a delivery that has already succeeded here is done.
    async fn decode(&self, incoming: &Incoming, lane: Lane) -> Result<ConsumedDelivery, Settlement> {
        if incoming.redelivered {
            self.reporter.metrics.redeliveries.inc();
        }
        let delivery = match Delivery::from_message(&incoming.message) {
            Ok(delivery) => delivery,
            Err(error) => return Err(self.park(incoming, ParkReason::Schema, &error.to_string()).await),
        };
        let tenant_created = self.resolver.tenant_created(&delivery);
        let body = &incoming.message.body;
        if !delivery.is_test && self.recent.was_delivered(&delivery, tenant_created, body, Instant::now()) {
            self.reporter.repeated(&delivery);
            return Err(Settlement::Done);
        }
        let (body, session) = (body.clone(), incoming.session.clone());
        let (path, redelivered) = (Path::Lane(lane), incoming.redelivered);
        Ok(ConsumedDelivery { delivery, body, path, redelivered, session, tenant_created })
    }

    async fn resolve(&self, consumed: &ConsumedDelivery) -> Result<Arc<PreparedEndpoint>, Settlement> {
        match self.resolver.resolve(&consumed.delivery).await {
            Ok(endpoint) => Ok(endpoint),
            Err(why) => Err(self.unresolved(consumed, why).await),
        }
    }

    /// Gets a permit for one attempt. A delivery that the endpoint's limits turn away is deferred, or ends, and one to a
    /// paused endpoint waits.
    async fn admit(
        &self,
        consumed: &ConsumedDelivery,
        endpoint: &PreparedEndpoint,
        held: &HeldMessage,
    ) -> Result<Permit, Settlement> {
        let delivery = &consumed.delivery;
        let request = AttemptRequest {
            held,
            endpoint: &endpoint.endpoint,
            has_waited: delivery.due.is_some() || delivery.found_paused > 0,
            slots_are_scarce: self.poster.slots.are_scarce(),
        };
        let admitted = match endpoint.endpoint.state {
            EndpointState::Paused => {
                let chance = (self.deps.chance)();
                Err(self.limiter.defer_while_paused(&request, delivery.found_paused, chance))
            }
            _ => self.limiter.admit(request).await,
        };
        match admitted {
            Ok(permit) => Ok(permit),
            Err(turned_away) => {
                let decision = defer::turned_away(delivery, turned_away, self.policy(endpoint), self.now());
                Err(self.without_attempt(consumed, decision).await)
            }
        }
    }

    async fn post(&self, consumed: &ConsumedDelivery, endpoint: &PreparedEndpoint, permit: &Permit) -> Posted {
        if self.recent.is_forked_retry(&consumed.delivery, consumed.redelivered, Instant::now()) {
            self.reporter.forked(&consumed.delivery);
        }
        let begins = |now| self.reporter.attempt_begins(consumed, now);
        let posted = self.poster.post(endpoint, consumed, permit, begins).await;
        self.reporter.attempt_ended(consumed, &posted);
        posted
    }

    /// Decides what follows from an attempt, for this delivery and for the others to its endpoint.
    fn decide(
        &self,
        consumed: &ConsumedDelivery,
        endpoint: &PreparedEndpoint,
        permit: Permit,
        posted: Posted,
    ) -> Concluded {
        let (delivery, now) = (&consumed.delivery, posted.ended);
        let limiter = permit.endpoint().clone();
        permit.ended(AttemptEnd::of(&posted.outcome, now), (self.deps.chance)());
        let spent = Spent { attempts: delivery.attempt, accepted_at: delivery.accepted_at };
        let verdict = decide(&posted.outcome, spent, self.policy(endpoint), now, (self.deps.chance)());
        let (retry_ms, is_delivered) = match verdict {
            Verdict::Delivered => (None, true),
            Verdict::Retry(due) => (Some(due.at.saturating_sub(now)), false),
            Verdict::Dead(_) => (None, false),
        };
        if is_delivered {
            self.recent.delivered(delivery, consumed.tenant_created, &consumed.body, Instant::now());
        }
        let result = match is_delivered {
            true => AttemptResult::Success { at: now },
            false => AttemptResult::Failure {
                outcome: &posted.outcome,
                began: posted.began,
                ended: now,
                retry_ms,
                is_operational: delivery.event_type.is_operational(),
            },
        };
        let failure = limiter.record_result(result);
        let is_gone = verdict == Verdict::Dead(DeadReason::Permanent);
        if let Some(finding) = self.resolver.learn(delivery, &endpoint.endpoint, is_gone, failure, now) {
            self.reporter.found(finding);
        }
        Concluded::new(delivery, posted, verdict)
    }

    async fn unresolved(&self, consumed: &ConsumedDelivery, why: Unresolved) -> Settlement {
        let ConsumedDelivery { delivery, path, .. } = consumed;
        let decision = defer::unresolved(delivery, path.lane(), why, &self.default_policy, self.now());
        self.without_attempt(consumed, decision).await
    }

    async fn without_attempt(&self, consumed: &ConsumedDelivery, mut decision: NotAttempted) -> Settlement {
        let now = self.now();
        let settlement = self.settler.without_attempt(consumed, &mut decision, now).await;
        self.reporter.not_attempted(consumed, decision, settlement, now);
        if let (Settlement::Done, NotAttempted::Dead(reason)) = (settlement, decision) {
            let delivery = &consumed.delivery;
            let (attempt_count, last) = (delivery.attempt.saturating_sub(1), delivery.last.as_ref());
            let (outcome, status) = (last.map(|last| last.outcome), last.and_then(|last| last.status));
            let end = DeliveryEnd { attempt_count, outcome, status, reason: Some(reason) };
            self.delivery_events.publish(delivery, &end, now);
        }
        settlement
    }

    async fn park(&self, incoming: &Incoming, reason: ParkReason, detail: &str) -> Settlement {
        // It is rare, and in place it would double the size of each message's task.
        let settlement = Box::pin(self.settler.park(incoming, reason, detail, self.now())).await;
        if settlement == Settlement::Done {
            self.reporter.parked(&incoming.message, reason, detail);
        }
        settlement
    }

    fn policy<'a>(&'a self, endpoint: &'a PreparedEndpoint) -> &'a RetryPolicy {
        endpoint.endpoint.retry.as_ref().unwrap_or(&self.default_policy)
    }

    fn now(&self) -> u64 {
        (self.deps.clock)()
    }
}

struct LaneHandler {
    deliverer: Arc<Deliverer>,
    lane: Lane,
}

impl Handler for LaneHandler {
    async fn handle(&self, incoming: &Incoming) -> Settlement {
        if self.deliverer.canaries.take(&incoming.message, self.deliverer.now()) {
            return Settlement::Done;
        }
        match self.deliverer.handle(incoming, self.lane).await {
            Ok(settlement) | Err(settlement) => settlement,
        }
    }

    async fn panicked(&self, incoming: &Incoming) -> Settlement {
        self.deliverer.park(incoming, ParkReason::Panic, "delivering it panicked twice").await
    }
}

#[cfg(test)]
mod tests;
