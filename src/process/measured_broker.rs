//! A broker layer that times publishes by target, for all roles and every backend, and refuses events while the intake is
//! closed. Notices are not counted, because they are dropped when they cannot be sent.

use std::sync::Arc;

use broker::{Broker, BrokerLayer, Log, PublishError, Target};
use futures_util::{FutureExt as _, future::BoxFuture};
use schemas::Message;
use service::metrics::{Histogram, IntCounter, IntGauge, InvalidMetric, Registry};
use tokio::time::Instant;

use super::intake::Intake;

const INGEST: &str = "ingest";
const DELIVER: &str = "deliver";
const DELAY: &str = "delay";
const INGEST_SLOW: &str = "ingest_slow";
const DEAD: &str = "dead";
const PARK: &str = "park";
const TARGETS: [&str; 6] = [INGEST, INGEST_SLOW, DELIVER, DELAY, DEAD, PARK];

service::metrics! {
    /// Metrics of every process about its publishes.
    pub(crate) struct PublishMetrics {
        /// From a publish to its confirm, by target: a lane is deliver, and delay where there is a due time.
        confirm: HistogramVec("publish_confirm_seconds", [target in TARGETS],
            buckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0]),
        /// Publishes that the broker refused, returned, or did not confirm before the connection was lost; by target.
        nacks: IntCounterVec("publish_nacks_total", [target in TARGETS]),
        /// Publishes that wait for their confirm, by target.
        unconfirmed: IntGaugeVec("publish_unconfirmed", [target in TARGETS]),
    }
}

pub(super) struct MeasuredBroker {
    broker: Arc<dyn Broker>,
    intake: Arc<Intake>,
    ingest: TargetMetrics,
    ingest_slow: TargetMetrics,
    deliver: TargetMetrics,
    delay: TargetMetrics,
    dead: TargetMetrics,
    park: TargetMetrics,
}

impl MeasuredBroker {
    pub(super) fn new(
        broker: Arc<dyn Broker>,
        intake: Arc<Intake>,
        registry: &Registry,
    ) -> Result<Self, InvalidMetric> {
        let metrics = PublishMetrics::register(registry)?;
        let of = |target| TargetMetrics::of(&metrics, target);
        let [ingest, ingest_slow, deliver, delay, dead, park] = TARGETS.map(of);
        Ok(Self { broker, intake, ingest, ingest_slow, deliver, delay, dead, park })
    }

    fn publishes(&self, to: &Target) -> &TargetMetrics {
        match to {
            Target::Ingest { .. } => &self.ingest,
            // The queue may be full: the router goes on without it, so its refusals are no trouble.
            Target::IngestSlow { .. } => &self.ingest_slow,
            Target::Lane(_, None) => &self.deliver,
            Target::Lane(_, Some(_)) => &self.delay,
            Target::Log(Log::Dead, _) => &self.dead,
            Target::Log(Log::Parked, _) => &self.park,
        }
    }
}

impl BrokerLayer for MeasuredBroker {
    fn inner(&self) -> &dyn Broker {
        &*self.broker
    }

    fn publish<'a>(&'a self, to: &'a Target, message: &'a Message) -> BoxFuture<'a, Result<(), PublishError>> {
        let publishes = self.publishes(to);
        async move {
            if matches!(to, Target::Ingest { .. }) && self.intake.is_closed() {
                // The broker would park it, and confirm it all the same.
                return Err(PublishError::Unroutable);
            }
            let unconfirmed = publishes.begin();
            let end = self.broker.publish(to, message).await;
            unconfirmed.end(&end);
            end
        }
        .boxed()
    }
}

/// The metrics of the publishes to one target, with its label resolved.
struct TargetMetrics {
    confirm: Histogram,
    nacks: IntCounter,
    unconfirmed: IntGauge,
}

impl TargetMetrics {
    fn of(metrics: &PublishMetrics, target: &str) -> Self {
        Self {
            confirm: metrics.confirm.with_label_values(&[target]),
            nacks: metrics.nacks.with_label_values(&[target]),
            unconfirmed: metrics.unconfirmed.with_label_values(&[target]),
        }
    }

    fn begin(&self) -> Unconfirmed<'_> {
        self.unconfirmed.inc();
        Unconfirmed { of: self, since: Instant::now() }
    }
}

/// A pending publish. Its drop takes it out of the gauge, however the publish ends.
struct Unconfirmed<'a> {
    of: &'a TargetMetrics,
    since: Instant,
}

impl Unconfirmed<'_> {
    fn end(self, end: &Result<(), PublishError>) {
        match end {
            Ok(()) => self.of.confirm.observe(self.since.elapsed().as_secs_f64()),
            Err(PublishError::Nacked | PublishError::Lost(_) | PublishError::Unroutable) => self.of.nacks.inc(),
            // Nothing was sent, or the storage's own metrics tell.
            Err(PublishError::Away(_) | PublishError::Blocked(_) | PublishError::Full(_) | PublishError::TooLarge) => {}
        }
    }
}

impl Drop for Unconfirmed<'_> {
    fn drop(&mut self) {
        self.of.unconfirmed.dec();
    }
}

#[cfg(test)]
mod tests;
