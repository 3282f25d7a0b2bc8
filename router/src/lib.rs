//! Routes each event to deliveries: one for every interested endpoint, rendered in that endpoint's format.
//!
//! [`Router::run`] consumes the ingest queue; `Router::route` handles one event. An event is settled only after all its
//! deliveries are confirmed: after a crash before that, they are repeated under the same ids, and no delivery is lost.

mod config;
mod fan_out;
mod index;
mod metrics;
mod park;
mod publish;
mod report;
mod tenants;

use std::sync::Arc;

use broker::{Broker, ConsumerStatus, Handler, Incoming, Prefetch, Queue, Settlement, run_handler};
use schemas::{Acceptance, Envelope, ParkReason, tenant_of};
use service::{Claim, Clock, IdempotencyKeys, seen};
use store::{Outbox, RetentionTable, Store};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use config::RouterConfig;
pub use index::{Index, Interest};
pub use metrics::RouterMetrics;
pub use tenants::IndexCache;

use fan_out::FanOut;
use park::Unroutable;
use publish::ConfirmedPublisher;
use report::Reporter;
use tenants::Tenants;

/// The commented defaults of the section `router`.
pub const DEFAULT_TOML: &str = include_str!("../default.toml");

pub struct RouterDependencies {
    pub broker: Arc<dyn Broker>,
    pub store: Arc<dyn Store>,
    /// Receives counts of events and deliveries.
    pub outbox: Arc<Outbox>,
    /// How much of each tenant's dead letters is kept.
    pub retention: Arc<RetentionTable>,
    /// How much is kept of each tenant's messages that cannot be routed.
    pub parked_retention: Arc<RetentionTable>,
    pub clock: Clock,
    pub stop: CancellationToken,
}

pub struct Router {
    config: RouterConfig,
    broker: Arc<dyn Broker>,
    store: Arc<dyn Store>,
    clock: Clock,
    stop: CancellationToken,
    ids: IdempotencyKeys,
    tenants: Tenants,
    publisher: ConfirmedPublisher,
    reporter: Reporter,
    metrics: RouterMetrics,
    consumer_status: Arc<ConsumerStatus>,
}

impl Router {
    /// A router whose messages have at most `max_published_bytes`.
    pub fn new(
        config: RouterConfig,
        max_published_bytes: usize,
        deps: RouterDependencies,
        metrics: RouterMetrics,
    ) -> Arc<Self> {
        let RouterDependencies { broker, store, outbox, retention, parked_retention, clock, stop } = deps;
        let publisher = ConfirmedPublisher {
            broker: broker.clone(),
            max_bytes: max_published_bytes,
            retention,
            parked_retention,
            outbox: outbox.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
            stop: stop.clone(),
        };
        Arc::new(Self {
            ids: IdempotencyKeys::new(config.duplicates),
            tenants: Tenants::new(store.clone()),
            publisher,
            reporter: Reporter { outbox, metrics: metrics.clone(), clock: clock.clone() },
            consumer_status: ConsumerStatus::new(broker.connection_state(), Instant::now()),
            config,
            broker,
            store,
            clock,
            stop,
            metrics,
        })
    }

    /// Progress of the router's consumer.
    pub fn consumer_status(&self) -> &Arc<ConsumerStatus> {
        &self.consumer_status
    }

    /// Consumes until the router is stopped, and then finishes its current events.
    pub async fn run(self: Arc<Self>) {
        let stop = self.stop.clone();
        let mut revision = self.store.revision();
        tokio::select! {
            // Without a snapshot, no subscription would match, and the events would be settled and lost.
            Ok(_) = revision.wait_for(|revision| *revision > 0) => {}
            () = stop.cancelled() => return,
            else => return,
        }
        let RouterConfig { prefetch, max_in_flight_bytes, .. } = self.config;
        let prefetch = Prefetch { messages: prefetch, bytes: max_in_flight_bytes as usize };
        let consumer = self.broker.consume(Queue::Ingest, prefetch);
        let consumer_status = self.consumer_status.clone();
        run_handler(consumer, self, stop, consumer_status).await;
    }

    async fn route(&self, incoming: &Incoming) -> Result<Settlement, Unroutable> {
        let acceptance = self.accept(incoming)?;
        let envelope = Envelope::decode(&incoming.message.body, &acceptance)?;
        let key = seen::id_of(&acceptance.tenant, acceptance.id.as_str());
        let id = match self.ids.claim(key, &incoming.message.body, Instant::now()) {
            Claim::New(id) => id,
            Claim::Repeat => {
                self.reporter.repeated(&acceptance);
                return Ok(Settlement::Done);
            }
            Claim::Conflict => return Err(Unroutable::id_taken()),
        };
        let tenant = tokio::select! {
            biased;
            tenant = self.tenants.find(&acceptance.tenant, acceptance.revision) => tenant?,
            // The wait for a store that is away may be hours.
            () = self.stop.cancelled() => return Ok(Settlement::Again),
        };
        let fan_out = FanOut::of(&envelope, &acceptance, &tenant, self.config.max_fan_out)?;
        if self.publisher.deliveries(&fan_out.deliveries).await.is_err() {
            // The process stops. The broker hands out the event again, and its deliveries will have the same ids.
            return Ok(Settlement::Again);
        }
        // An event without deliveries is not noted: it cannot make duplicates, and a later repeat may match a new
        // subscription.
        if !fan_out.deliveries.is_empty() {
            id.note(Instant::now());
        }
        self.reporter.routed(&envelope, &acceptance, &fan_out);
        Ok(Settlement::Done)
    }

    /// Reads the event's id and tenant. The size is checked first, because messages are parked whole for all other
    /// reasons.
    fn accept(&self, incoming: &Incoming) -> Result<Acceptance, Unroutable> {
        let message = &incoming.message;
        if message.body.len() > self.publisher.max_bytes {
            return Err(Unroutable::too_large(&message.body));
        }
        Ok(Acceptance::from_message(&incoming.key, message, self.now())?)
    }

    async fn park(&self, incoming: &Incoming, why: Unroutable) -> Settlement {
        let snapshot = self.store.snapshot();
        let owner = tenant_of(&incoming.key).filter(|id| snapshot.is_some_and(|known| known.tenant(id).is_some()));
        match self.publisher.parked(incoming, why, &owner.unwrap_or_default()).await {
            Ok(()) => Settlement::Done,
            Err(_) => Settlement::Again,
        }
    }

    fn now(&self) -> u64 {
        (self.clock)()
    }
}

impl Handler for Router {
    async fn handle(&self, incoming: &Incoming) -> Settlement {
        if incoming.redelivered {
            self.metrics.redeliveries.inc();
        }
        let routed = async {
            match self.route(incoming).await {
                Ok(settlement) => settlement,
                Err(why) => self.park(incoming, why).await,
            }
        };
        tokio::select! {
            biased;
            settlement = routed => settlement,
            // The broker hands out the event again. Continuing would add a copy of each delivery with every lost
            // session.
            () = incoming.lost() => Settlement::Again,
        }
    }

    async fn panicked(&self, incoming: &Incoming) -> Settlement {
        self.park(incoming, Unroutable::new(ParkReason::Panic, "routing it panicked twice")).await
    }
}

#[cfg(test)]
mod tests;
