//! Publishes how deliveries end, as events of their own, to the tenants that subscribe to it.

use std::sync::Arc;

use broker::{Broker, PublishError, SessionEnd, Settlement, Target, publish_unless_full};
use schemas::{Delivery, DeliveryEnd, OperationalEvent};
use store::Store;
use tokio_util::sync::CancellationToken;

use crate::metrics::DelivererMetrics;

pub(crate) struct DeliveryEvents {
    broker: Arc<dyn Broker>,
    store: Arc<dyn Store>,
    metrics: DelivererMetrics,
    stop: CancellationToken,
}

impl DeliveryEvents {
    pub(crate) fn new(
        broker: Arc<dyn Broker>,
        store: Arc<dyn Store>,
        metrics: DelivererMetrics,
        stop: CancellationToken,
    ) -> Self {
        Self { broker, store, metrics, stop }
    }

    /// Publishes that a delivery has ended at `at`, in unix ms, if its tenant subscribes to that, and only then says that its
    /// message may be settled. An event that the broker does not take is dropped and counted.
    pub(crate) async fn publish(
        &self,
        delivery: &Delivery,
        session: &SessionEnd,
        end: &DeliveryEnd,
        at: u64,
    ) -> Settlement {
        let Some(event) = self.event(delivery, end, at) else { return Settlement::Done };
        // In place it would enlarge the task of every message for the sake of a few tenants.
        Box::pin(self.confirmed(&delivery.tenant, session, event, at)).await
    }

    /// The event about an end; none where nobody subscribes to it.
    fn event(&self, delivery: &Delivery, end: &DeliveryEnd, at: u64) -> Option<OperationalEvent> {
        let snapshot = self.store.snapshot()?;
        let tenant = snapshot.tenant(&delivery.tenant)?;
        tenant.is_told(&delivery.event_type, &end.event_type()).then(|| OperationalEvent::delivery_ended(delivery, end, at))
    }

    async fn confirmed(&self, tenant: &str, session: &SessionEnd, event: OperationalEvent, at: u64) -> Settlement {
        let (to, message) = (Target::Ingest { key: event.key.clone() }, event.to_message(tenant, at));
        let event_type = event.event_type.as_str();
        let published = tokio::select! {
            biased;
            published = publish_unless_full(&*self.broker, &to, &message, &self.stop) => published,
            // The broker hands out the delivery again, and its end will be the same event.
            () = session.reached() => return Settlement::Again,
        };
        match published {
            Ok(()) => self.metrics.delivery_events.with_label_values(&[event_type]).inc(),
            Err(PublishError::Away(_) | PublishError::Lost(_)) => return Settlement::Again,
            Err(error) => {
                self.metrics.delivery_events_dropped.with_label_values(&[event_type]).inc();
                tracing::warn!(%error, event_id = %event.id, tenant, "event.not_told");
            }
        }
        Settlement::Done
    }
}
