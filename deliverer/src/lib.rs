//! One delivery in, one POST out, and what follows: done, the next due time, or dead letter.
//!
//! Stateless: any number of deliverers may run on one broker. [`Deliverer::run`] consumes both lanes; `handle` is
//! decode, look up, attempt, decide, settle, report. The body is never parsed: it is what gets POSTed.

mod attempt;
mod client;
mod config;
mod destination;
mod gone;
mod metrics;
mod outcome;
mod repeat;
mod report;
mod settle;
mod sign;
mod target;
mod trial;
mod verdict;

use std::{sync::Arc, time::Duration};

use broker::{Broker, Clock, Handler, Incoming, Inlet, Lane, Settlement, work};
use bytes::Bytes;
use schemas::{Counts, DeadReason, Delivery, Endpoint, ParkReason, RetryPolicy};
use store::{Levels, Store, Tally};
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};

pub use attempt::Poster;
pub use config::DelivererConfig;
pub use metrics::DelivererMetrics;
pub use outcome::{Outcome, RetryAfter};
pub use verdict::{Spent, Verdict, decide};

use destination::{Absent, destination};
use gone::Gone;
use metrics::LaneMetrics;
use repeat::Delivered;
use settle::{Settler, attempt_of};
use target::Targets;

/// The commented defaults of the section `deliverer`.
pub const DEFAULT_TOML: &str = include_str!("../default.toml");

/// Rolls a die: uniform in `[0, 1)`. An argument, so that tests pass their own.
pub type Chance = Arc<dyn Fn() -> f64 + Send + Sync>;

/// How often a delivery to an unknown endpoint is put aside (5 s each) before it counts as gone, where revisions say
/// nothing: the snapshot that knows it may be on its way.
const MAX_PARKS: u32 = 12;
/// How long a store may take to bring a snapshot up to a delivery's revision, before the delivery is put aside.
const PULL: Duration = Duration::from_secs(2);

/// What a deliverer needs of the world.
pub struct World {
    /// Where deliveries are.
    pub broker: Arc<dyn Broker>,
    /// Where they go.
    pub store: Arc<dyn Store>,
    /// What was done, and found out, is told here.
    pub tally: Arc<Tally>,
    /// What is kept of dead letters.
    pub levels: Arc<Levels>,
    /// The time.
    pub clock: Clock,
    /// For the spread of retries.
    pub chance: Chance,
    /// It ends once this reads true.
    pub stop: watch::Receiver<bool>,
}

/// Delivers.
pub struct Deliverer {
    world: World,
    poster: Poster,
    targets: Targets,
    gone: Gone,
    delivered: Delivered,
    default_policy: RetryPolicy,
    bytes: Semaphore,
    max_bytes: u32,
    slots: u16,
    metrics: DelivererMetrics,
}

impl Deliverer {
    /// A deliverer that posts what the broker holds to what the store knows.
    ///
    /// # Errors
    /// When the HTTP client cannot be made of the configuration.
    pub fn new(config: &DelivererConfig, world: World, metrics: DelivererMetrics) -> anyhow::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            world,
            poster: Poster::new(config)?,
            targets: Targets::default(),
            gone: Gone::default(),
            delivered: Delivered::new(config.duplicates),
            default_policy: config.retry.clone(),
            bytes: Semaphore::new(config.max_in_flight_bytes as usize),
            max_bytes: config.max_in_flight_bytes,
            slots: config.slots,
            metrics,
        }))
    }

    /// Consumes both lanes until asked to stop; then finishes what is under way.
    pub async fn run(self: Arc<Self>) {
        let mut stop = self.world.stop.clone();
        let mut revision = self.world.store.revision();
        tokio::select! {
            // Without a snapshot every endpoint would look unknown.
            Ok(_) = revision.wait_for(|revision| *revision > 0) => {}
            Ok(_) = stop.wait_for(|stop| *stop) => return,
            else => return,
        }
        let slow = (self.slots / 4).max(1);
        let fast = (self.slots - slow).max(1);
        tokio::join!(self.clone().consume(Lane::Fast, fast), self.clone().consume(Lane::Slow, slow));
    }

    async fn consume(self: Arc<Self>, lane: Lane, credit: u16) {
        let consumer = self.world.broker.consume(Inlet::Lane(lane), credit);
        let stop = self.world.stop.clone();
        let metrics = LaneMetrics::of(&self.metrics, lane);
        work(consumer, Arc::new(OnLane { deliverer: self, lane, metrics }), stop).await;
    }

    async fn handle(&self, incoming: &Incoming, lane: Lane, counted: &LaneMetrics) -> Settlement {
        if incoming.redelivered {
            self.metrics.redeliveries.inc();
        }
        let delivery = match decode(incoming) {
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
        let body = &incoming.message.body;
        let (began, outcome) = self.post(&delivery, &endpoint, body, counted).await;
        let now = self.now();
        let policy = endpoint.retry.as_ref().unwrap_or(&self.default_policy);
        let spent = Spent { attempts: delivery.attempt, accepted_at: delivery.accepted_at };
        let verdict = decide(&outcome, spent, policy, now, (self.world.chance)());
        let attempt = attempt_of(&delivery, outcome, began, &verdict);
        report::count(counted, &delivery, &attempt, &verdict, now);
        if verdict == Verdict::Delivered {
            self.delivered.note(&delivery, now);
        }
        if verdict == Verdict::Dead(DeadReason::Permanent) {
            self.gone.note(&endpoint);
            if let Some(fact) = gone::fact(self.world.store.snapshot().as_deref(), &delivery, &endpoint) {
                self.world.tally.state_fact(fact);
            }
        }
        let settlement = self.settler(now).carry_out(&delivery, body, &attempt, &verdict).await;
        report::attempted(&self.metrics, &delivery, &attempt, &verdict, settlement);
        self.tally(&delivery, now, report::counts(body, &verdict, settlement));
        settlement
    }

    /// Posts it as soon as its weight is free; says when that was, and what came of it.
    async fn post(
        &self,
        delivery: &Delivery,
        endpoint: &Arc<Endpoint>,
        body: &Bytes,
        counted: &LaneMetrics,
    ) -> (u64, Outcome) {
        let target = self.targets.of(&delivery.tenant, endpoint);
        let weight = u32::try_from(body.len()).unwrap_or(u32::MAX).min(self.max_bytes);
        // Closed never, so acquired always.
        let _weight = self.bytes.acquire_many(weight).await;
        let _slot = counted.slot();
        let began = self.now();
        report::begins(&self.metrics, delivery, began);
        (began, self.poster.post(&target, delivery, body.clone(), began).await)
    }

    /// Where it goes; if the snapshot is older than the delivery, after a look for what is new.
    async fn find(&self, delivery: &Delivery) -> Result<Arc<Endpoint>, Absent> {
        match self.look_up(delivery) {
            // Once is enough: a store that is away must not hold up the slots of all the others.
            Err(Absent::Ahead) if delivery.parks == 0 => {
                // An error leaves the last good snapshot, and that does not have it.
                let _ = timeout(PULL, self.world.store.pull()).await;
                self.look_up(delivery)
            }
            found => found,
        }
    }

    fn look_up(&self, delivery: &Delivery) -> Result<Arc<Endpoint>, Absent> {
        let snapshot = self.world.store.snapshot().ok_or(Absent::Unknown)?;
        destination(&snapshot, &self.gone, delivery)
    }

    fn tally(&self, delivery: &Delivery, now: u64, counts: Counts) {
        self.world.tally.add(now, &delivery.tenant, Some(&delivery.endpoint_id), counts);
    }

    fn now(&self) -> u64 {
        (self.world.clock)()
    }

    async fn without_attempt(
        &self,
        delivery: &Delivery,
        incoming: &Incoming,
        lane: Lane,
        absent: Absent,
    ) -> Settlement {
        let now = self.now();
        let settler = self.settler(now);
        let body = &incoming.message.body;
        let age = now.saturating_sub(delivery.accepted_at);
        let reason = match absent {
            Absent::Unknown if delivery.parks < MAX_PARKS => {
                self.metrics.parks.with_label_values(&["endpoint_unknown"]).inc();
                return settler.put_aside(delivery, body, lane).await;
            }
            // It will be known: the revision that has it exists. Unless the store was put back to an older state.
            Absent::Ahead if age <= self.default_policy.max_age.millis() => {
                self.metrics.parks.with_label_values(&["snapshot_behind"]).inc();
                return settler.put_aside(delivery, body, lane).await;
            }
            Absent::Unknown | Absent::Ahead | Absent::Gone => DeadReason::EndpointGone,
            Absent::Cancelled => DeadReason::Cancelled,
            Absent::Disabled => DeadReason::EndpointDisabled,
        };
        let settlement = settler.give_up(delivery, body, reason).await;
        if settlement == Settlement::Done {
            report::ended(&self.metrics, delivery, reason);
            self.tally(delivery, now, Counts { dead: 1, ..Counts::default() });
        }
        settlement
    }

    async fn park(&self, incoming: &Incoming, reason: ParkReason, detail: String) -> Settlement {
        let message = &incoming.message;
        let settlement = self.settler(self.now()).park(message, &incoming.key, reason, detail.clone()).await;
        if settlement == Settlement::Done {
            self.metrics.parked.with_label_values(&[reason.as_str()]).inc();
            tracing::warn!(event_id = message.id, %reason, detail, "delivery.parked");
        }
        settlement
    }

    fn settler(&self, now: u64) -> Settler<'_> {
        let World { broker, levels, stop, .. } = &self.world;
        Settler { broker: &**broker, levels, metrics: &self.metrics, stop: stop.clone(), now }
    }
}

/// A deliverer on one of the lanes.
struct OnLane {
    deliverer: Arc<Deliverer>,
    lane: Lane,
    metrics: LaneMetrics,
}

impl Handler for OnLane {
    async fn handle(&self, incoming: &Incoming) -> Settlement {
        self.deliverer.handle(incoming, self.lane, &self.metrics).await
    }

    async fn panicked(&self, incoming: &Incoming) -> Settlement {
        self.deliverer.park(incoming, ParkReason::Panic, "delivering it panicked twice".to_owned()).await
    }
}

fn decode(incoming: &Incoming) -> Result<Delivery, schemas::BadHeader> {
    let message = &incoming.message;
    Delivery::read(&message.id, &message.kind, |name| message.headers.int(name), |name| message.headers.text(name))
}

#[cfg(test)]
mod tests;
