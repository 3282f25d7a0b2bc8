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
    Broker, ConsumerStatus, Deadline, Handler, Incoming, Queue, Settlement, publish_until_confirmed, records,
    run_handler,
};
use futures_util::future::try_join_all;
use schemas::{Acceptance, Counts, DeadLetter, DeadLetterRetention, DeadReason, Envelope, ParkReason};
use service::{Clock, Seen, seen};
use store::{Outbox, RetentionTable, Snapshot, Store, TenantSnapshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

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

/// What a router needs from its process.
pub struct RouterDependencies {
    /// Where events are, and deliveries go.
    pub broker: Arc<dyn Broker>,
    /// Who wants what.
    pub store: Arc<dyn Store>,
    /// What was done is counted here.
    pub outbox: Arc<Outbox>,
    /// What is kept of dead letters.
    pub retention: Arc<RetentionTable>,
    /// The time.
    pub clock: Clock,
    /// It ends once this reads true.
    pub stop: CancellationToken,
}

/// Routes.
pub struct Router {
    deps: RouterDependencies,
    matcher: Matcher,
    config: RouterConfig,
    max_published_bytes: usize,
    seen: Seen,
    consumer_status: Arc<ConsumerStatus>,
    metrics: RouterMetrics,
}

impl Router {
    /// A router that makes deliveries of what the broker holds, as the store says. Nothing larger than
    /// `max_published_bytes` is published.
    pub fn new(
        config: RouterConfig,
        max_published_bytes: usize,
        deps: RouterDependencies,
        metrics: RouterMetrics,
    ) -> Arc<Self> {
        let seen = Seen::new(config.duplicates);
        let consumer_status = ConsumerStatus::new(deps.broker.connection_state(), Instant::now());
        Arc::new(Self {
            deps,
            matcher: Matcher::default(),
            config,
            max_published_bytes,
            seen,
            consumer_status,
            metrics,
        })
    }

    /// Whether it gets anywhere.
    pub fn consumer_status(&self) -> &Arc<ConsumerStatus> {
        &self.consumer_status
    }

    /// Consumes until asked to stop; then finishes what is under way.
    pub async fn run(self: Arc<Self>) {
        let stop = self.deps.stop.clone();
        let mut revision = self.deps.store.revision();
        tokio::select! {
            // Without a snapshot no subscription would match, and the events would be settled: that is loss.
            Ok(_) = revision.wait_for(|revision| *revision > 0) => {}
            () = stop.cancelled() => return,
            else => return,
        }
        let consumer = self.deps.broker.consume(Queue::Ingest, self.config.prefetch);
        let consumer_status = self.consumer_status.clone();
        run_handler(consumer, self, stop, consumer_status).await;
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
        self.outbox(&acceptance.tenant, deliveries);
        self.report(&envelope, &acceptance, &made);
        Ok(Settlement::Done)
    }

    /// The tenant, if need be after a look for what is new.
    async fn tenant(&self, id: &str) -> Result<(Arc<Snapshot>, Arc<TenantSnapshot>), Unroutable> {
        let find = || {
            let snapshot = self.deps.store.snapshot()?;
            let tenant = snapshot.tenant(id)?.clone();
            Some((snapshot, tenant))
        };
        if let Some(found) = find() {
            return Ok(found);
        }
        // An error leaves the last good snapshot, and that does not have it.
        let _ = tokio::time::timeout(TENANT_PATIENCE, self.deps.store.pull()).await;
        find().ok_or_else(|| Unroutable::new(ParkReason::Tenant, "no such tenant"))
    }

    async fn publish(&self, outgoing: &Outgoing) -> Result<(), broker::PublishError> {
        if outgoing.body.len() > self.max_published_bytes {
            return self.bury(outgoing).await;
        }
        publish_until_confirmed(&*self.deps.broker, &Outgoing::TARGET, &outgoing.message(), self.deadline()).await
    }

    /// A body that grew beyond what the broker takes ends at once, and visibly. Its record goes without it, unless the
    /// tenant has too many of them already.
    async fn bury(&self, outgoing: &Outgoing) -> Result<(), broker::PublishError> {
        let (reason, now, tenant) = (DeadReason::TooLarge, self.now(), &outgoing.delivery.tenant);
        if self.deps.retention.of(tenant, now) == DeadLetterRetention::Counts {
            self.metrics.dead_letters_reduced.with_label_values(&["nothing"]).inc();
        } else {
            let letter = DeadLetter::of(&outgoing.delivery, reason, 0, None, now).without_body();
            let (to, message) = records::dead_letter(&letter, &outgoing.delivery, outgoing.body.clone());
            publish_until_confirmed(&*self.deps.broker, &to, &message, self.deadline()).await?;
        }
        self.deps.outbox.add(
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
    fn outbox(&self, tenant: &str, deliveries: &[Outgoing]) {
        let (outbox, now) = (&self.deps.outbox, self.now());
        outbox.add(now, tenant, None, Counts { events: 1, ..Counts::default() });
        for outgoing in deliveries {
            let one = Counts { deliveries: 1, ..Counts::default() };
            outbox.add(now, tenant, Some(&outgoing.delivery.endpoint_id), one);
        }
    }

    fn now(&self) -> u64 {
        (self.deps.clock)()
    }

    async fn park(&self, incoming: &Incoming, why: Unroutable) -> Settlement {
        let reason = why.reason.as_str();
        let (record, kept) = parked(incoming, why, self.now());
        let (to, message) = records::parked(&record, kept);
        if publish_until_confirmed(&*self.deps.broker, &to, &message, self.deadline()).await.is_err() {
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

    fn deadline(&self) -> Deadline {
        Deadline { stop: self.deps.stop.clone(), limit: None }
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

#[cfg(test)]
mod tests;
