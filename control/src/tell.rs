//! Telling a tenant what carteiro itself did: an event in the tenant's own stream, to which any endpoint can subscribe.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use broker::{Deadline, PublishError, Target, publish_until_confirmed};
use schemas::{EventId, HeaderValue, Headers, Message, OperationalEvent, QuotaName, wire};

use crate::Control;

/// Events that are remembered as told. What is told again after so many others is the same event all the same.
const REMEMBERED: usize = 10_000;

/// What was told already.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<HashSet<EventId>>);

impl Told {
    fn contains(&self, id: &EventId) -> bool {
        self.lock().contains(id)
    }

    fn note(&self, id: &EventId) {
        let mut told = self.lock();
        if told.len() >= REMEMBERED {
            told.clear();
        }
        told.insert(id.clone());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<EventId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Control {
    /// Tells a tenant, in the background, that one of its endpoints was disabled at a revision of the store.
    pub fn endpoint_disabled(self: &Arc<Self>, tenant: &str, endpoint_id: &str, revision: u64, reason: Option<&str>) {
        let now = (self.deps.clock)();
        self.tell_soon(tenant, OperationalEvent::endpoint_disabled(tenant, endpoint_id, revision, reason, now));
    }

    /// Tells a tenant, in the background, that one of its quotas bit: at most once an hour.
    pub fn quota_reached(self: &Arc<Self>, tenant: &str, quota: QuotaName, limit: f64) {
        self.tell_soon(tenant, OperationalEvent::quota_reached(tenant, quota, limit, (self.deps.clock)()));
    }

    fn tell_soon(self: &Arc<Self>, tenant: &str, event: OperationalEvent) {
        if self.told.contains(&event.id) {
            return;
        }
        let (control, message) = (self.clone(), message(tenant, &event, (self.deps.clock)()));
        let tenant = tenant.to_owned();
        let deadline = Deadline { stop: self.deps.stop.clone(), limit: None };
        self.tasks.spawn(async move {
            let to = Target::Ingest { key: event.key };
            match publish_until_confirmed(&*control.deps.broker, &to, &message, deadline).await {
                Ok(()) => control.note_told(&tenant, &event.id, event.event_type.as_str()),
                Err(error) => tracing::warn!(%error, event_id = %event.id, tenant, "event.not_told"),
            }
        });
    }

    /// Tells a tenant, if it was not told before.
    ///
    /// # Errors
    /// When that could not be published: it is to be told again.
    pub(crate) async fn tell(&self, tenant: &str, event: &OperationalEvent) -> Result<(), PublishError> {
        if !self.told.contains(&event.id) {
            let message = message(tenant, event, (self.deps.clock)());
            self.deps.broker.publish(&Target::Ingest { key: event.key.clone() }, &message).await?;
            self.note_told(tenant, &event.id, event.event_type.as_str());
        }
        Ok(())
    }

    fn note_told(&self, tenant: &str, id: &EventId, event_type: &str) {
        self.told.note(id);
        self.metrics.told.with_label_values(&[event_type]).inc();
        tracing::info!(event_id = %id, event_type, tenant, "event.told");
    }
}

/// As a producer would publish it.
fn message(tenant: &str, event: &OperationalEvent, now: u64) -> Message {
    let mut headers = Headers::default();
    headers.set(wire::SCHEMA, HeaderValue::Int(wire::SCHEMA_VERSION));
    headers.set(wire::TENANT, HeaderValue::Text(tenant.into()));
    headers.set(wire::ACCEPTED_AT, HeaderValue::Int(i64::try_from(now).unwrap_or(i64::MAX)));
    Message { id: event.id.to_string(), kind: event.event_type.to_string(), headers, body: event.body.clone().into() }
}
