//! The test button: a delivery down the path that all take, and the attempt that a deliverer tells of.

use std::time::Duration;

use broker::{Lane, Notices, PublishError, Target};
use bytes::Bytes;
use schemas::{
    Acceptance, Attempt, Delivery, Endpoint, Envelope, EventId, Notice, OperationalEvent, Part, render_test,
};
use service::chance;
use uuid::Uuid;

use crate::Control;

/// How long somebody waits for an attempt. What takes longer goes on without them.
const PATIENCE: Duration = Duration::from_secs(20);
/// Tests of one tenant under way in this process, and of all tenants: they have no limits of their own further on, and
/// one tenant's hanging receivers must not keep the others' from being tried.
pub(crate) const MOST: (usize, usize) = (4, 64);

/// What came of a test.
#[derive(Clone, Debug, PartialEq)]
pub enum Tested {
    /// How the attempt went.
    Attempted(Attempt),
    /// It was not attempted in time, and is still to be.
    Waiting(Uuid),
}

/// Why an endpoint was not tested.
#[derive(Debug, thiserror::Error)]
pub enum NotTested {
    /// As many tests are under way as may.
    #[error("too many tests are under way")]
    TooMany,
    /// The broker did not take it.
    #[error(transparent)]
    NotPublished(#[from] PublishError),
}

impl Control {
    /// Tests an endpoint that is in a snapshot of this revision, and waits until that was attempted.
    ///
    /// # Errors
    /// When it cannot be tried now; nothing was sent then.
    pub async fn test(&self, tenant: &str, endpoint: &Endpoint, revision: u64) -> Result<Tested, NotTested> {
        let Some(_seat) = self.trials.take(tenant) else { return Err(NotTested::TooMany) };
        // Before it is published: the attempt may be told of before the confirm is here.
        let notices = self.deps.broker.notices();
        let (delivery, body) = self.trial(tenant, endpoint, revision);
        let message = delivery.to_message(body);
        self.deps.broker.publish(&Target::Lane(Lane::Fast, None), &message).await?;
        tokio::select! {
            Some(attempt) = attempt(notices, delivery.id) => Ok(Tested::Attempted(attempt)),
            () = tokio::time::sleep(PATIENCE) => Ok(Tested::Waiting(delivery.id)),
            () = self.deps.stop.cancelled() => Ok(Tested::Waiting(delivery.id)),
        }
    }

    /// The delivery and its body: every test is an event of its own.
    fn trial(&self, tenant: &str, endpoint: &Endpoint, revision: u64) -> (Delivery, Bytes) {
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

/// The attempt of this delivery, once it is told.
async fn attempt(mut notices: Notices, id: Uuid) -> Option<Attempt> {
    loop {
        match Notice::read(&notices.next().await?) {
            Some(Notice::Tested { delivery_id, attempt }) if delivery_id == id => return Some(attempt),
            _ => {}
        }
    }
}
