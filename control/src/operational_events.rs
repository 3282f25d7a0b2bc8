//! Operational events report what carteiro itself did. They are published to the tenant's own stream, where any
//! endpoint can subscribe to them.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use broker::{Deadline, PublishError, Target, publish_until_confirmed};
use schemas::{EventId, OperationalEvent, QuotaName};

use crate::{Control, endpoint_health::HealthChange};

/// Most ids of published events that are remembered. An event that is published again later still has the same id.
const REMEMBERED: usize = 10_000;
/// Longest time until an opt-in event is confirmed. Later it would be no news.
const OPT_IN_LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(crate) struct PublishedEvents(Mutex<HashSet<EventId>>);

impl PublishedEvents {
    fn contains(&self, id: &EventId) -> bool {
        self.lock().contains(id)
    }

    fn insert(&self, id: &EventId) {
        let mut published = self.lock();
        if published.len() >= REMEMBERED {
            published.clear();
        }
        published.insert(id.clone());
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<EventId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Control {
    /// Publishes in the background that an endpoint was disabled at a revision of the store.
    pub fn endpoint_disabled(self: &Arc<Self>, tenant: &str, endpoint_id: &str, revision: u64, reason: Option<&str>) {
        self.publish_soon(tenant, OperationalEvent::endpoint_disabled(tenant, endpoint_id, revision, reason));
    }

    /// Publishes in the background, at most once an hour, that a quota is reached.
    pub fn quota_reached(self: &Arc<Self>, tenant: &str, quota: QuotaName, limit: f64) {
        self.publish_soon(tenant, OperationalEvent::quota_reached(tenant, quota, limit, (self.deps.clock)()));
    }

    /// Publishes in the background that an endpoint began to fail or works again, if its tenant subscribes to that.
    pub(crate) fn health_changed(self: &Arc<Self>, change: HealthChange) {
        let HealthChange { tenant, endpoint_id, since, failure } = change;
        let event = match failure {
            Some(last) => OperationalEvent::endpoint_failing(&tenant, &endpoint_id, since, &last),
            None => OperationalEvent::endpoint_recovered(&tenant, &endpoint_id, since),
        };
        let snapshot = self.deps.store.snapshot();
        let of = snapshot.as_ref().and_then(|snapshot| snapshot.tenant(&tenant));
        if of.is_some_and(|of| of.wants(&event.event_type)) {
            self.publish_soon(&tenant, event);
        }
    }

    fn publish_soon(self: &Arc<Self>, tenant: &str, event: OperationalEvent) {
        if self.published_events.contains(&event.id) {
            return;
        }
        let (control, message) = (self.clone(), event.to_message(tenant, (self.deps.clock)()));
        let tenant = tenant.to_owned();
        let deadline =
            Deadline { stop: self.deps.stop.clone(), limit: event.event_type.is_opt_in().then_some(OPT_IN_LIMIT) };
        self.tasks.spawn(async move {
            let to = Target::Ingest { key: event.key };
            match publish_until_confirmed(&*control.deps.broker, &to, &message, deadline).await {
                Ok(()) => control.note_published(&tenant, &event.id, event.event_type.as_str()),
                Err(error) => {
                    if event.event_type.is_opt_in() {
                        let dropped = &control.metrics.operational_events_dropped;
                        dropped.with_label_values(&[event.event_type.as_str()]).inc();
                    }
                    tracing::warn!(%error, event_id = %event.id, tenant, "event.not_told");
                }
            }
        });
    }

    /// Publishes an event to a tenant, unless this process has published it before.
    ///
    /// # Errors
    /// The broker did not confirm the event. The caller has to try again.
    pub(crate) async fn publish_event(&self, tenant: &str, event: &OperationalEvent) -> Result<(), PublishError> {
        if !self.published_events.contains(&event.id) {
            let message = event.to_message(tenant, (self.deps.clock)());
            self.deps.broker.publish(&Target::Ingest { key: event.key.clone() }, &message).await?;
            self.note_published(tenant, &event.id, event.event_type.as_str());
        }
        Ok(())
    }

    fn note_published(&self, tenant: &str, id: &EventId, event_type: &str) {
        self.published_events.insert(id);
        self.metrics.operational_events.with_label_values(&[event_type]).inc();
        tracing::info!(event_id = %id, event_type, tenant, "event.told");
    }
}
