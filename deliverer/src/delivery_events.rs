//! Publishes how deliveries end to the tenants that subscribe to it, as events of their own. No delivery waits for that: what the
//! broker does not take within some seconds is counted, logged and dropped.

use std::{sync::Arc, time::Duration};

use broker::{Broker, Deadline, Target, publish_until_confirmed};
use schemas::{Delivery, DeliveryEnd, OperationalEvent};
use store::Store;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::metrics::DelivererMetrics;

/// Most events that wait for their confirm. Beyond, they are dropped.
const MAX_UNCONFIRMED: usize = 1_000;
/// Longest time until an event is confirmed.
const CONFIRM_LIMIT: Duration = Duration::from_secs(10);

pub(crate) struct DeliveryEvents {
    broker: Arc<dyn Broker>,
    store: Arc<dyn Store>,
    metrics: DelivererMetrics,
    stop: CancellationToken,
    unconfirmed: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl DeliveryEvents {
    pub(crate) fn new(
        broker: Arc<dyn Broker>,
        store: Arc<dyn Store>,
        metrics: DelivererMetrics,
        stop: CancellationToken,
    ) -> Self {
        let unconfirmed = Arc::new(Semaphore::new(MAX_UNCONFIRMED));
        Self { broker, store, metrics, stop, unconfirmed, tasks: TaskTracker::new() }
    }

    /// Publishes in the background that a delivery has ended at `at`, in unix ms, if its tenant subscribes to that.
    pub(crate) fn publish(&self, delivery: &Delivery, end: &DeliveryEnd, at: u64) {
        let event_type = end.event_type();
        // The delivery of an operational event makes none, or there would be no end of them.
        if delivery.event_type.is_operational() {
            return;
        }
        let snapshot = self.store.snapshot();
        let tenant = snapshot.as_ref().and_then(|snapshot| snapshot.tenant(&delivery.tenant));
        if !tenant.is_some_and(|tenant| tenant.wants(&event_type)) {
            return;
        }
        let event = OperationalEvent::delivery_ended(delivery, end, at);
        let (metrics, tenant) = (self.metrics.clone(), delivery.tenant.clone());
        let Ok(permit) = self.unconfirmed.clone().try_acquire_owned() else {
            dropped(&metrics, &tenant, &event, &"too many events wait for their confirm");
            return;
        };
        let (broker, message) = (self.broker.clone(), event.to_message(&delivery.tenant, at));
        let deadline = Deadline { stop: self.stop.clone(), limit: Some(CONFIRM_LIMIT) };
        self.tasks.spawn(async move {
            let to = Target::Ingest { key: event.key.clone() };
            match publish_until_confirmed(&*broker, &to, &message, deadline).await {
                Ok(()) => metrics.delivery_events.with_label_values(&[event.event_type.as_str()]).inc(),
                Err(error) => dropped(&metrics, &tenant, &event, &error),
            }
            drop(permit);
        });
    }

    /// Waits for what is being published. Nothing further is published by then.
    pub(crate) async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn dropped(metrics: &DelivererMetrics, tenant: &str, event: &OperationalEvent, error: &dyn std::fmt::Display) {
    metrics.delivery_events_dropped.with_label_values(&[event.event_type.as_str()]).inc();
    tracing::warn!(%error, event_id = %event.id, tenant, "event.not_told");
}
