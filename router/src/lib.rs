//! Routes each event to deliveries: one for every interested endpoint, rendered in that endpoint's format.
//!
//! [`Router::run`] consumes the ingest queue, and the queue of events that were put aside; `Router::route` handles one
//! event. An event is settled only after all its deliveries are confirmed: after a crash before that, they are repeated
//! under the same ids, and no delivery is lost. Tenants share the window of publishes; what one has beyond its share
//! waits behind the others'.

mod aside;
mod config;
mod direct;
mod fan_out;
mod index;
mod metrics;
mod park;
mod publish;
mod quota;
mod record;
mod report;
mod shares;
mod tenants;
mod window;

use std::{sync::Arc, time::Duration};

use broker::{Broker, ConsumerStatus, DirectDelivery, Handler, Incoming, Prefetch, Queue, Settlement, run_handler};
use history::Recorder;
use schemas::{Acceptance, Envelope, EventFacts, Notice, ParkReason, tenant_of};
use service::{Claim, Clock, IdempotencyKeys, seen};
use store::{Outbox, RetentionTable, Store};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

pub use config::RouterConfig;
pub use index::{Index, Interest};
pub use metrics::RouterMetrics;
pub use tenants::IndexCache;

use aside::AsideEvents;
use direct::DirectOffers;
use fan_out::{FanOut, Lanes};
use park::Unroutable;
use publish::ConfirmedPublisher;
use quota::EventQuotas;
use record::event_record;
use report::Reporter;
use shares::TakenEvents;
use tenants::Tenants;
use window::Window;

/// The commented defaults of the section `router`.
pub const DEFAULT_TOML: &str = include_str!("../default.toml");

/// Events that were put aside have this part of the prefetch's bytes for themselves, in addition.
const ASIDE_BYTES: usize = 16;
/// Interval between two announcements of the tenants' shares.
const SHARES_INTERVAL: Duration = Duration::from_secs(1);

pub struct RouterDependencies {
    pub broker: Arc<dyn Broker>,
    pub store: Arc<dyn Store>,
    /// Receives counts of events and deliveries.
    pub outbox: Arc<Outbox>,
    /// How much of each tenant's dead letters is kept.
    pub retention: Arc<RetentionTable>,
    /// How much is kept of each tenant's messages that cannot be routed.
    pub parked_retention: Arc<RetentionTable>,
    /// The deliverer of the same process, if there is one.
    pub direct: Option<Arc<dyn DirectDelivery>>,
    /// Takes what history keeps of events.
    pub recorder: Recorder,
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
    quotas: EventQuotas,
    taken: TakenEvents,
    aside: AsideEvents,
    publisher: ConfirmedPublisher,
    reporter: Reporter,
    metrics: RouterMetrics,
    outbox: Arc<Outbox>,
    recorder: Recorder,
    ingest: Arc<ConsumerStatus>,
    ingest_slow: Arc<ConsumerStatus>,
}

/// Routes the events of one queue.
struct QueueHandler {
    router: Arc<Router>,
    queue: Queue,
}

impl Router {
    /// A router whose messages have at most `max_published_bytes`.
    pub fn new(
        config: RouterConfig,
        max_published_bytes: usize,
        deps: RouterDependencies,
        metrics: RouterMetrics,
    ) -> Arc<Self> {
        let RouterDependencies { broker, store, outbox, retention, parked_retention, direct, recorder, clock, stop } =
            deps;
        let publisher = ConfirmedPublisher {
            broker: broker.clone(),
            max_bytes: max_published_bytes,
            window: Window::new(),
            direct: DirectOffers::new(direct.filter(|_| config.direct), config.prefetch),
            retention,
            parked_retention,
            outbox: outbox.clone(),
            recorder: recorder.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
            stop: stop.clone(),
        };
        let status = || ConsumerStatus::new(broker.connection_state(), Instant::now());
        Arc::new(Self {
            ids: IdempotencyKeys::new(config.duplicates),
            tenants: Tenants::new(store.clone()),
            quotas: EventQuotas::new(outbox.clone()),
            taken: TakenEvents::default(),
            aside: AsideEvents::default(),
            publisher,
            reporter: Reporter { outbox: outbox.clone(), metrics: metrics.clone(), clock: clock.clone() },
            outbox,
            recorder,
            ingest: status(),
            ingest_slow: status(),
            config,
            broker,
            store,
            clock,
            stop,
            metrics,
        })
    }

    /// Progress of the router's consumer of new events.
    pub fn consumer_status(&self) -> &Arc<ConsumerStatus> {
        &self.ingest
    }

    /// Progress of its consumer of events that were put aside.
    pub fn slow_consumer_status(&self) -> &Arc<ConsumerStatus> {
        &self.ingest_slow
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
        // What was put aside never takes the places of new events.
        let aside = Prefetch { messages: window::ASIDE_EVENTS, bytes: prefetch.bytes / ASIDE_BYTES };
        let consume = |queue, prefetch, status: &Arc<ConsumerStatus>| {
            let handler = Arc::new(QueueHandler { router: self.clone(), queue });
            run_handler(queue, self.broker.consume(queue, prefetch), handler, stop.clone(), status.clone())
        };
        let new = consume(Queue::Ingest, prefetch, &self.ingest);
        let put_aside = consume(Queue::IngestSlow, aside, &self.ingest_slow);
        tokio::select! {
            ((), ()) = async { tokio::join!(new, put_aside) } => {}
            () = self.announce_shares() => {}
        }
    }

    /// Announces, while the router is behind or what was put aside waits for long, how many events a second it leaves to
    /// whom.
    async fn announce_shares(&self) {
        let mut ticks = interval(SHARES_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked_at = Instant::now();
        loop {
            ticks.tick().await;
            let now = Instant::now();
            let mut by_tenant = self.taken.shares(now - looked_at);
            for (tenant, aside) in self.aside.shares(now - looked_at) {
                let share = by_tenant.entry(tenant).or_insert(aside);
                *share = share.min(aside);
            }
            looked_at = now;
            if !by_tenant.is_empty() {
                let process = self.outbox.process().to_owned();
                self.broker.announce(Notice::EventShares { process, by_tenant }.write().into());
            }
        }
    }

    async fn route(&self, incoming: &Incoming, queue: Queue) -> Result<Settlement, Unroutable> {
        let acceptance = self.accept(incoming)?;
        let envelope = Envelope::decode(&incoming.message.body, &acceptance)?;
        let tenant = tokio::select! {
            biased;
            tenant = self.tenants.find(&acceptance.tenant, acceptance.revision) => tenant?,
            // The wait for a store that is away may be hours.
            () = self.stop.cancelled() => return Ok(Settlement::Again),
        };
        let key = seen::id_of(&acceptance.tenant, tenant.tenant.created(), acceptance.id.as_str());
        let id = match self.ids.claim(key, &incoming.message.body, Instant::now()) {
            Claim::New(id) => id,
            Claim::Repeat => {
                self.reporter.repeated(&acceptance);
                return Ok(Settlement::Done);
            }
            Claim::Conflict => return Err(Unroutable::id_taken()),
        };
        let facts = EventFacts::of(&envelope.event);
        let (mut due, age_ms) = (None, self.now().saturating_sub(acceptance.accepted_at));
        if queue == Queue::Ingest {
            self.taken.note(&acceptance.tenant, age_ms);
            // What is put aside is counted here, and not when it comes back behind newer events.
            due = self.quotas.count(&tenant.tenant, acceptance.accepted_at, self.now());
            if due.is_none()
                && self.publisher.window.is_event_to_wait(&acceptance.tenant, || tenant.index.most_interests(&facts))
                && self.publisher.put_aside(incoming, &acceptance).await
            {
                self.reporter.put_aside(&envelope, &acceptance);
                return Ok(Settlement::Done);
            }
            self.aside.routed_at_once(&acceptance.tenant);
        } else {
            self.aside.came_back(&acceptance.tenant, age_ms);
        }
        let (window, interests) = (&self.publisher.window, tenant.index.interests(&tenant.tenant, &facts));
        let (turn, fast) = match queue {
            Queue::IngestSlow => tokio::select! {
                biased;
                turn = window.turn(&acceptance.tenant) => (Some(turn), 0),
                () = self.stop.cancelled() => return Ok(Settlement::Again),
            },
            _ => (None, window.fast_deliveries(&acceptance.tenant)),
        };
        let _under_way = window.begin(&acceptance.tenant, interests.len());
        let lanes = Lanes { fast, due, deferred: due.is_some() || queue == Queue::IngestSlow };
        let fan_out = FanOut::of(&envelope, &acceptance, &tenant, interests, lanes, self.config.max_fan_out)?;
        let offer = self.publisher.direct.of(incoming, &fan_out, lanes.deferred).await;
        if self.publisher.deliveries(&fan_out.deliveries, turn, offer.as_ref()).await.is_err() {
            // The process stops, or the session of the event is over. The broker hands out the event again, and its deliveries will have the same ids.
            return Ok(Settlement::Again);
        }
        // An event without deliveries is not noted: it cannot make duplicates, and a later repeat may match a new
        // subscription.
        if !fan_out.deliveries.is_empty() {
            id.note(Instant::now());
        }
        self.recorder.record(|| event_record(&envelope, &acceptance, &tenant.tenant, &fan_out));
        self.reporter.routed(&envelope, &acceptance, &fan_out, queue);
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

impl Handler for QueueHandler {
    async fn handle(&self, incoming: &Incoming) -> Settlement {
        let Self { router, queue } = self;
        if incoming.redelivered {
            router.metrics.redeliveries.inc();
        }
        let routed = async {
            match router.route(incoming, *queue).await {
                Ok(settlement) => settlement,
                Err(why) => router.park(incoming, why).await,
            }
        };
        tokio::select! {
            biased;
            settlement = routed => settlement,
            // The broker hands out the event again. Continuing would add a copy of each delivery with every lost
            // session.
            () = incoming.session.reached() => Settlement::Again,
        }
    }

    async fn panicked(&self, incoming: &Incoming) -> Settlement {
        self.router.park(incoming, Unroutable::new(ParkReason::Panic, "routing it panicked twice")).await
    }
}

#[cfg(test)]
mod tests;
