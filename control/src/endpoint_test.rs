//! Tests of endpoints: one delivery down the path that all deliveries take, and the attempt that a deliverer reports.

use std::time::Duration;

use broker::{Lane, Notices, PublishError, Target};
use bytes::Bytes;
use schemas::{
    Acceptance, Attempt, Delivery, Endpoint, Envelope, EventId, Notice, OperationalEvent, Part, render_test,
};
use service::chance;
use uuid::Uuid;

use crate::Control;

/// Longest wait of a caller for the attempt. An attempt that takes longer is still made.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Most tests that wait at once in this process, for each tenant and for all. No later stage limits tests, and one
/// tenant's hanging receivers must not block the tests of others.
pub(crate) const TESTS: (usize, usize) = (4, 64);

#[derive(Clone, Debug, PartialEq)]
pub enum TestResult {
    Attempted(Attempt),
    /// The attempt was not made in time. The delivery of this id still waits in its lane.
    Waiting(Uuid),
}

#[derive(Debug, thiserror::Error)]
pub enum TestError {
    #[error("too many tests are under way")]
    TooMany,
    #[error(transparent)]
    NotPublished(#[from] PublishError),
}

impl Control {
    /// Publishes a test for an endpoint of the snapshot with this revision, and waits for the attempt.
    ///
    /// # Errors
    /// Nothing was sent.
    pub async fn test_endpoint(
        &self,
        tenant: &str,
        endpoint: &Endpoint,
        revision: u64,
    ) -> Result<TestResult, TestError> {
        let Some(_permit) = self.endpoint_tests.try_acquire(tenant) else { return Err(TestError::TooMany) };
        // Notices are subscribed to before the publish, because the attempt may be reported before the publish is
        // confirmed.
        let notices = self.deps.broker.notices();
        let (delivery, body) = self.test_delivery(tenant, endpoint, revision);
        let message = delivery.to_message(body);
        self.deps.broker.publish(&Target::Lane(Lane::Fast, None), &message).await?;
        tokio::select! {
            Some(attempt) = reported_attempt(notices, delivery.id) => Ok(TestResult::Attempted(attempt)),
            () = tokio::time::sleep(TIMEOUT) => Ok(TestResult::Waiting(delivery.id)),
            () = self.deps.stop.cancelled() => Ok(TestResult::Waiting(delivery.id)),
        }
    }

    /// Makes the delivery of a test and its body. Every test is an event of its own.
    fn test_delivery(&self, tenant: &str, endpoint: &Endpoint, revision: u64) -> (Delivery, Bytes) {
        let now = (self.deps.clock)();
        let event_id = EventId::fresh(now, chance::bytes(&self.deps.chance));
        let event = OperationalEvent::webhook_test(tenant, event_id.clone(), now);
        let acceptance = Acceptance::new(event_id.clone(), now, tenant);
        let body = Envelope::decode(event.body.as_bytes(), &acceptance)
            .map(|envelope| render_test(&envelope, endpoint.format))
            .unwrap_or_else(|_| event.body.clone().into_bytes());
        let owed = Delivery::owed(tenant, &event_id, event.event_type, &endpoint.id, Part::First, now);
        let delivery = Delivery { revision, is_test: true, ..owed };
        (delivery, body.into())
    }
}

/// Waits until a deliverer reports the attempt of this delivery.
async fn reported_attempt(mut notices: Notices, id: Uuid) -> Option<Attempt> {
    loop {
        match Notice::read(&notices.next().await?) {
            Some(Notice::Tested { delivery_id, attempt }) if delivery_id == id => return Some(attempt),
            _ => {}
        }
    }
}
