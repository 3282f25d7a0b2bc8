//! One event in; for each interested endpoint one delivery out, rendered in that endpoint's format.
//!
//! [`Router::run`] consumes the intake; `handle` is decode, match, render, publish, settle. An event is settled only
//! once all its deliveries are confirmed: a crash before that repeats them under the same ids, and loses nothing.

mod config;
mod fan_out;
mod index;
mod intake;
mod matcher;
mod metrics;
mod park;

use std::{sync::Arc, time::Duration};

use broker::{
    Broker, Clock, Handler, Header, Incoming, Inlet, Log, Message, Patience, Progress, Settlement, Target, insist, work,
};
use futures_util::future::try_join_all;
use schemas::{Acceptance, Counts, DeadLetter, DeadLetterLevel, DeadReason, Envelope, ParkReason, wire};
use service::{Seen, seen};
use store::{Levels, Snapshot, Store, Tally, TenantSnapshot};
use tokio::{sync::watch, time::Instant};

pub use config::RouterConfig;
pub use index::{Index, Interest};
pub use matcher::Matcher;
pub use metrics::RouterMetrics;

use fan_out::{FanOut, Origin, Outgoing, fan_out};
use intake::acceptance;
use park::{Unroutable, parked};

/// The commented defaults of the section `router`.
pub const DEFAULT_TOML: &str = include_str!("../default.toml");

/// How long an event of an unknown tenant is held: the snapshot that knows it may be on its way.
const TENANT_PATIENCE: Duration = Duration::from_secs(10);

/// What a router needs of the world.
pub struct World {
    /// Where events are, and deliveries go.
    pub broker: Arc<dyn Broker>,
    /// Who wants what.
    pub store: Arc<dyn Store>,
    /// What was done is counted here.
    pub tally: Arc<Tally>,
    /// What is kept of dead letters.
    pub levels: Arc<Levels>,
    /// The time.
    pub clock: Clock,
    /// It ends once this reads true.
    pub stop: watch::Receiver<bool>,
}

/// Routes.
pub struct Router {
    world: World,
    matcher: Matcher,
    config: RouterConfig,
    max_published_bytes: usize,
    seen: Seen,
    progress: Arc<Progress>,
    metrics: RouterMetrics,
}

impl Router {
    /// A router that makes deliveries of what the broker holds, as the store says. Nothing larger than
    /// `max_published_bytes` is published.
    pub fn new(config: RouterConfig, max_published_bytes: usize, world: World, metrics: RouterMetrics) -> Arc<Self> {
        let seen = Seen::new(config.duplicates);
        let progress = Progress::new(world.broker.link(), Instant::now());
        Arc::new(Self { world, matcher: Matcher::default(), config, max_published_bytes, seen, progress, metrics })
    }

    /// Whether it gets anywhere.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Consumes until asked to stop; then finishes what is under way.
    pub async fn run(self: Arc<Self>) {
        let mut stop = self.world.stop.clone();
        let mut revision = self.world.store.revision();
        tokio::select! {
            // Without a snapshot no subscription would match, and the events would be settled: that is loss.
            Ok(_) = revision.wait_for(|revision| *revision > 0) => {}
            Ok(_) = stop.wait_for(|stop| *stop) => return,
            else => return,
        }
        let consumer = self.world.broker.consume(Inlet::Ingest, self.config.credit);
        let progress = self.progress.clone();
        work(consumer, self, stop, progress).await;
    }

    async fn route(&self, incoming: &Incoming) -> Result<Settlement, Unroutable> {
        // First of all, for what is parked for another reason is parked whole.
        if incoming.message.body.len() > self.max_published_bytes {
            return Err(Unroutable::too_large(&incoming.message.body));
        }
        let acceptance = acceptance(incoming, self.now())?;
        let id = seen::id_of(&acceptance.tenant, acceptance.id.as_str());
        if self.seen.contains(id, self.now()) {
            self.repeated(&acceptance);
            return Ok(Settlement::Done);
        }
        let envelope = Envelope::decode(&incoming.message.body, &acceptance)
            .map_err(|refusal| Unroutable::new(refusal.kind.park_reason(), refusal.to_string()))?;
        let (snapshot, tenant) = self.tenant(&acceptance.tenant).await?;
        let index = self.matcher.index(&snapshot, &tenant);
        let origin =
            Origin { tenant: &tenant, revision: snapshot.revision(), accepted_at: acceptance.accepted_at, incoming };
        let made = fan_out(&envelope, &index, &origin);
        let deliveries = &made.deliveries;
        if deliveries.len() > self.config.max_fan_out {
            return Err(Unroutable::new(ParkReason::FanoutLimit, format!("{} deliveries", deliveries.len())));
        }
        if try_join_all(deliveries.iter().map(|outgoing| self.publish(outgoing))).await.is_err() {
            // Stopping: the event comes again, and so do its deliveries, under the same ids.
            return Ok(Settlement::Again);
        }
        // An event that made no delivery can make no duplicate, and may find a subscription when it is sent again.
        if !deliveries.is_empty() {
            self.seen.note(id, self.now());
        }
        self.tally(&acceptance.tenant, deliveries);
        self.report(&envelope, &acceptance, &made);
        Ok(Settlement::Done)
    }

    /// The tenant, if need be after a look for what is new.
    async fn tenant(&self, id: &str) -> Result<(Arc<Snapshot>, Arc<TenantSnapshot>), Unroutable> {
        let find = || {
            let snapshot = self.world.store.snapshot()?;
            let tenant = snapshot.tenant(id)?.clone();
            Some((snapshot, tenant))
        };
        if let Some(found) = find() {
            return Ok(found);
        }
        // An error leaves the last good snapshot, and that does not have it.
        let _ = tokio::time::timeout(TENANT_PATIENCE, self.world.store.pull()).await;
        find().ok_or_else(|| Unroutable::new(ParkReason::Tenant, "no such tenant"))
    }

    async fn publish(&self, outgoing: &Outgoing) -> Result<(), broker::PublishError> {
        if outgoing.body.len() > self.max_published_bytes {
            return self.bury(outgoing).await;
        }
        insist(&*self.world.broker, &Outgoing::TARGET, &outgoing.message(), self.patience()).await
    }

    /// A body that grew beyond what the broker takes ends at once, and visibly. Its record goes without it, unless the
    /// tenant has too many of them already.
    async fn bury(&self, outgoing: &Outgoing) -> Result<(), broker::PublishError> {
        let (reason, now, tenant) = (DeadReason::TooLarge, self.now(), &outgoing.delivery.tenant);
        if self.world.levels.of(tenant, now) == DeadLetterLevel::Counts {
            self.metrics.dead_letters_reduced.with_label_values(&["nothing"]).inc();
        } else {
            let record = DeadLetter::of(&outgoing.delivery, reason, 0, None, now).without_body();
            let mut message = Message { body: bytes::Bytes::new(), ..outgoing.message() };
            message.headers.set(wire::RECORD, Header::Text(json(&record).into()));
            let to = Target::Log(Log::Dead, record.key());
            insist(&*self.world.broker, &to, &message, self.patience()).await?;
        }
        self.world.tally.add(
            now,
            tenant,
            Some(&outgoing.delivery.endpoint_id),
            Counts { dead: 1, ..Counts::default() },
        );
        self.metrics.dead_letters.with_label_values(&[reason.as_str()]).inc();
        tracing::info!(
            delivery_id = %outgoing.delivery.id, event_id = %outgoing.delivery.event_id, tenant,
            endpoint_id = outgoing.delivery.endpoint_id, attempts = 0, %reason,
            "delivery.dead"
        );
        Ok(())
    }

    /// Counts an event, and what was made of it.
    fn tally(&self, tenant: &str, deliveries: &[Outgoing]) {
        let (tally, now) = (&self.world.tally, self.now());
        tally.add(now, tenant, None, Counts { events: 1, ..Counts::default() });
        for outgoing in deliveries {
            let one = Counts { deliveries: 1, ..Counts::default() };
            tally.add(now, tenant, Some(&outgoing.delivery.endpoint_id), one);
        }
    }

    fn now(&self) -> u64 {
        (self.world.clock)()
    }

    async fn park(&self, incoming: &Incoming, why: Unroutable) -> Settlement {
        let reason = why.reason.as_str();
        let (record, message) = parked(incoming, why, self.now());
        let target = Target::Log(Log::Parked, record.key());
        if insist(&*self.world.broker, &target, &message, self.patience()).await.is_err() {
            return Settlement::Again;
        }
        self.metrics.parked.with_label_values(&[reason]).inc();
        tracing::warn!(
            event_id = record.event_id,
            tenant = record.tenant,
            reason,
            detail = record.detail,
            "event.parked"
        );
        Settlement::Done
    }

    fn patience(&self) -> Patience {
        Patience { stop: self.world.stop.clone(), limit: None }
    }

    fn repeated(&self, acceptance: &Acceptance) {
        self.metrics.deduplicated.with_label_values(&["router"]).inc();
        tracing::info!(event_id = %acceptance.id, tenant = acceptance.tenant, "event.repeated");
    }

    fn report(&self, envelope: &Envelope<'_>, acceptance: &Acceptance, made: &FanOut) {
        let (metrics, deliveries, unrendered) = (&self.metrics, made.deliveries.len(), made.unrendered);
        match (deliveries, unrendered) {
            (0, 0) => metrics.unmatched.inc(),
            (0, _) => {}
            _ => metrics.routed.inc(),
        }
        metrics.unrendered.inc_by(unrendered as u64);
        metrics.fan_out.observe(deliveries as f64);
        let age_ms = self.now().saturating_sub(acceptance.accepted_at);
        metrics.routing.observe(age_ms as f64 / 1_000.0);
        tracing::info!(
            event_id = %envelope.id, event_type = %envelope.event.event_type, tenant = acceptance.tenant, deliveries,
            unrendered, age_ms,
            "event.routed"
        );
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
            // It comes again: whoever went on insisting would add a copy of every delivery with each lost session.
            () = incoming.lost() => Settlement::Again,
        }
    }

    async fn panicked(&self, incoming: &Incoming) -> Settlement {
        self.park(incoming, Unroutable::new(ParkReason::Panic, "routing it panicked twice")).await
    }
}

fn json(record: &impl serde::Serialize) -> String {
    serde_json::to_string(record).unwrap_or_default()
}

#[cfg(test)]
mod tests;
