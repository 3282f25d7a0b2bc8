//! Sends a delivery again, from what history keeps of it: to its own endpoint with the same body, or to another one with the
//! event rendered anew. The delivery is published, and confirmed; then its dead letter, if it has one, is ended.

use std::{sync::Arc, time::Duration};

use broker::{Deadline, Lane, Log, PublishError, ReadError, Target, publish_until_confirmed, records::ReplayMarker};
use bytes::Bytes;
use history::{DeliveryStory, History, HistoryError, Record, RecordedDelivery, RunRecord};
use schemas::{
    Acceptance, Counts, Delivery, Endpoint, EndpointState, Envelope, EventId, EventType, Match, Part, render,
};
use service::chance;
use store::TenantSnapshot;
use uuid::Uuid;

use super::scope_of;
use crate::Control;

/// Longest wait for the broker's confirms.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) struct Resend<'a> {
    pub(crate) control: &'a Control,
    pub(crate) tenant: &'a Arc<TenantSnapshot>,
    pub(crate) history: &'a dyn History,
    /// Id of the replay. A deliverer posts what it has delivered before only where this differs.
    pub(crate) replay: String,
    /// The end of the log of dead letters: what is dead before is ended; what dies afterwards is of this run.
    pub(crate) dead_until: u64,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ResendError {
    #[error("there is no endpoint `{0}`")]
    NoEndpoint(String),
    #[error("endpoint `{0}` is disabled: enable it first")]
    NotActive(String),
    #[error("its body is not kept any more")]
    NoBody,
    #[error("the format of endpoint `{0}` has no such event, or needs what is not kept")]
    NoSuchFormat(String),
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error(transparent)]
    NotPublished(#[from] PublishError),
}

impl<'a> Resend<'a> {
    /// Of one delivery.
    pub(crate) async fn of_one(
        control: &'a Control,
        tenant: &'a Arc<TenantSnapshot>,
        history: &'a dyn History,
    ) -> Result<Self, ResendError> {
        let deps = &control.deps;
        let replay = EventId::fresh((deps.clock)(), chance::bytes(&deps.chance)).to_string();
        let dead_until = deps.broker.end(Log::Dead).await?;
        Ok(Self { control, tenant, history, replay, dead_until })
    }

    /// Returns the id of the delivery that is sent, which is another one for another endpoint.
    pub(crate) async fn send(&self, story: &DeliveryStory, endpoint_id: Option<&str>) -> Result<Uuid, ResendError> {
        let own = story.delivery.endpoint_id.clone();
        let endpoint_id = endpoint_id.unwrap_or(&own);
        let endpoint = self.endpoint(endpoint_id)?;
        let (delivery, body) = match endpoint_id == own {
            true => (self.delivery(story, endpoint_id, part(story))?, story.body.clone().ok_or(ResendError::NoBody)?),
            false => self.rendered(story, endpoint).await?,
        };
        self.publish(&delivery, body).await?;
        Ok(delivery.id)
    }

    fn endpoint(&self, id: &str) -> Result<&Endpoint, ResendError> {
        let endpoint = self.tenant.endpoints.get(id).ok_or_else(|| ResendError::NoEndpoint(id.to_owned()))?;
        match endpoint.state {
            EndpointState::Disabled => Err(ResendError::NotActive(id.to_owned())),
            _ => Ok(endpoint),
        }
    }

    /// The event's bodies for another endpoint: that of the same part, or the first one that there is.
    async fn rendered(&self, story: &DeliveryStory, endpoint: &Endpoint) -> Result<(Delivery, Bytes), ResendError> {
        let item = &story.delivery;
        let event = self.history.event(&scope_of(self.tenant), &item.event_id).await?;
        let text = event.and_then(|event| event.body).ok_or(ResendError::NoBody)?;
        let no_such = || ResendError::NoSuchFormat(endpoint.id.clone());
        let id = EventId::try_from(item.event_id.clone()).map_err(|_| no_such())?;
        let acceptance = Acceptance::new(id, item.accepted_at, &self.tenant.id);
        let envelope = Envelope::decode(&text, &acceptance).map_err(|_| no_such())?;
        let part = part(story);
        let is_shot = matches!(part, Part::Shot | Part::SecondShot);
        let wanted = Match { event: !is_shot, shot: is_shot };
        let mut bodies = render(&envelope, endpoint.format, &endpoint.format_options, wanted);
        let at = bodies.iter().position(|body| body.part == part).unwrap_or(0);
        let body = if at < bodies.len() { bodies.swap_remove(at) } else { return Err(no_such()) };
        let delivery = self.delivery(story, &endpoint.id, body.part)?;
        Ok((Delivery { event_time: envelope.occurred_at_ms, ..delivery }, body.bytes.into()))
    }

    fn delivery(&self, story: &DeliveryStory, endpoint_id: &str, part: Part) -> Result<Delivery, ResendError> {
        let (item, deps) = (&story.delivery, &self.control.deps);
        let now = (deps.clock)();
        let event_id = EventId::try_from(item.event_id.clone()).map_err(|_| ResendError::NoBody)?;
        let event_type = EventType::try_from(item.event_type.clone()).map_err(|_| ResendError::NoBody)?;
        let snapshot = deps.store.snapshot();
        Ok(Delivery {
            accepted_at: now,
            first_accepted_at: Some(item.accepted_at),
            subscriptions: story.matched_by.clone(),
            revision: snapshot.map_or(0, |snapshot| snapshot.shared_revision()),
            replay: Some(self.replay.clone()),
            ..Delivery::owed(&self.tenant.id, &event_id, event_type, endpoint_id, part, item.accepted_at)
        })
    }

    async fn publish(&self, delivery: &Delivery, body: Bytes) -> Result<(), ResendError> {
        let deps = &self.control.deps;
        let deadline = Deadline { stop: deps.stop.clone(), limit: Some(CONFIRM_TIMEOUT) };
        let to = Target::Lane(Lane::Slow, None);
        publish_until_confirmed(&*deps.broker, &to, &delivery.to_message(body.clone()), deadline.clone()).await?;
        let now = delivery.accepted_at;
        let counts = Counts { deliveries: 1, ..Counts::default() };
        deps.outbox.add(now, &delivery.tenant, Some(&delivery.endpoint_id), counts);
        let recorded =
            || RunRecord { delivery: RecordedDelivery::of(delivery, self.tenant.created()), body: Some(body.clone()) };
        deps.recorder.record(|| Record::Run(Box::new(recorded())));
        let job = delivery.replay.as_deref().unwrap_or_default();
        let (to, marker) = ReplayMarker::of(delivery, self.dead_until.saturating_sub(1), job, now);
        Ok(publish_until_confirmed(&*deps.broker, &to, &marker, deadline).await?)
    }
}

/// The part of a delivery; the first one where history has another word.
fn part(story: &DeliveryStory) -> Part {
    Part::parse(&story.delivery.part).unwrap_or(Part::First)
}
