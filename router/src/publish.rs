//! Publishes with confirms: deliveries, dead letters of oversized deliveries, and parked messages.

use std::sync::Arc;

use broker::{Broker, Deadline, Incoming, PublishError, Target, publish_until_confirmed, records};
use futures_util::future::try_join_all;
use history::{AttemptRecord, Record, Recorder};
use schemas::{Acceptance, Counts, DeadLetter, DeadLetterRetention, DeadReason, HeaderValue, Message, wire};
use service::{Clock, FairPermit};
use store::{Outbox, RetentionTable};
use tokio::task::coop::consume_budget;
use tokio_util::sync::CancellationToken;

use crate::{
    RouterMetrics,
    direct::{self, DirectOffer, DirectOffers},
    fan_out::Outgoing,
    park::{Unroutable, is_kept_whole, parked},
    window::Window,
};

/// Publishes until the broker confirms. The only error is the end of the process.
pub(crate) struct ConfirmedPublisher {
    pub(crate) broker: Arc<dyn Broker>,
    /// Largest body that is published, in bytes.
    pub(crate) max_bytes: usize,
    pub(crate) window: Window,
    pub(crate) direct: DirectOffers,
    pub(crate) retention: Arc<RetentionTable>,
    pub(crate) parked_retention: Arc<RetentionTable>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) recorder: Recorder,
    pub(crate) metrics: RouterMetrics,
    pub(crate) clock: Clock,
    pub(crate) stop: CancellationToken,
}

impl ConfirmedPublisher {
    /// Publishes all deliveries of an event concurrently, apart from those that the deliverer of this process takes over.
    /// The event's turn, if it has one, ends when all of them have room.
    pub(crate) async fn deliveries(
        &self,
        deliveries: &[Outgoing],
        turn: Option<FairPermit>,
        offer: Option<&DirectOffer<'_>>,
    ) -> Result<(), PublishError> {
        let turn = turn.map(Arc::new);
        let publishes: Vec<_> =
            deliveries.iter().map(|outgoing| self.delivery(outgoing, turn.clone(), offer)).collect();
        drop(turn);
        try_join_all(publishes).await.map(drop)
    }

    async fn delivery(
        &self,
        outgoing: &Outgoing,
        turn: Option<Arc<FairPermit>>,
        offer: Option<&DirectOffer<'_>>,
    ) -> Result<(), PublishError> {
        if let Some(attempt) = offer.and_then(|offer| offer.take_over(outgoing)) {
            return direct::ended(attempt).await;
        }
        if outgoing.body.len() > self.max_bytes {
            return self.too_large(outgoing).await;
        }
        // A fan-out to many endpoints does not keep the runtime from other events meanwhile.
        consume_budget().await;
        let published = {
            let room = self.window.enter(&outgoing.delivery.tenant, outgoing.lane, outgoing.body.len()).await;
            drop(turn);
            let published = self.confirmed(&outgoing.to(), &outgoing.message()).await;
            if published.is_ok() {
                room.confirmed();
            }
            published
        };
        match published {
            // This broker takes less than carteiro would publish.
            Err(PublishError::TooLarge) => self.too_large(outgoing).await,
            published => published,
        }
    }

    /// Ends a delivery whose body is too large for the broker as a dead letter without a body. The record is dropped if
    /// the tenant's retention is counts only.
    async fn too_large(&self, outgoing: &Outgoing) -> Result<(), PublishError> {
        let (delivery, reason, now) = (&outgoing.delivery, DeadReason::TooLarge, (self.clock)());
        let tenant = &delivery.tenant;
        if self.retention.of(tenant, now) == DeadLetterRetention::Counts {
            self.metrics.dead_letters_reduced.with_label_values(&["nothing"]).inc();
        } else {
            let letter = DeadLetter::without_attempt(delivery, reason, now).without_body();
            let (to, message) = records::dead_letter(&letter, delivery, outgoing.body.clone());
            self.confirmed(&to, &message).await?;
        }
        let counts = Counts { dead: 1, ..Counts::default() };
        self.outbox.add(now, tenant, Some(&delivery.endpoint_id), counts);
        self.metrics.dead_letters.with_label_values(&[reason.as_str()]).inc();
        let end = || AttemptRecord::without_attempt(delivery, outgoing.tenant_created, reason, now);
        self.recorder.record(|| Record::Attempt(Box::new(end())));
        tracing::info!(
            delivery_id = %delivery.id, event_id = %delivery.event_id, tenant, endpoint_id = delivery.endpoint_id,
            attempts = 0, %reason,
            "delivery.dead"
        );
        Ok(())
    }

    /// Publishes an event to the queue of those that are put aside, as it came, with the time of its acceptance. False
    /// if the broker does not take it there: the caller then goes on with it, so that a full queue holds up nothing.
    pub(crate) async fn put_aside(&self, incoming: &Incoming, acceptance: &Acceptance) -> bool {
        let to = Target::IngestSlow { key: incoming.key.clone() };
        let mut message = incoming.message.clone();
        let accepted_at = i64::try_from(acceptance.accepted_at).unwrap_or(i64::MAX);
        message.headers.set(wire::ACCEPTED_AT, HeaderValue::Int(accepted_at));
        self.broker.publish(&to, &message).await.is_ok()
    }

    /// Publishes a message that cannot be routed to the parked log: as much of it as the share of its `owner` lets be
    /// kept. That is a tenant, or empty where there is no such tenant.
    pub(crate) async fn parked(&self, incoming: &Incoming, why: Unroutable, owner: &str) -> Result<(), PublishError> {
        let (reason, now) = (why.reason.as_str(), (self.clock)());
        let (record, kept) = parked(incoming, why, now);
        let retention = match is_kept_whole(record.reason, owner) {
            true => DeadLetterRetention::Bodies,
            false => self.parked_retention.take(owner, kept.size() as u64, now),
        };
        let (record, kept) = match retention {
            DeadLetterRetention::Bodies => (record, kept),
            DeadLetterRetention::Records => {
                self.metrics.parked_reduced.with_label_values(&["excerpt"]).inc();
                records::cut(record, kept)
            }
            DeadLetterRetention::Counts => {
                self.metrics.parked_reduced.with_label_values(&["nothing"]).inc();
                let detail = record.detail;
                tracing::warn!(event_id = record.event_id, tenant = record.tenant, reason, detail, "event.not_parked");
                return Ok(());
            }
        };
        let record = records::park(&*self.broker, record, kept, self.deadline()).await?;
        self.metrics.parked.with_label_values(&[reason]).inc();
        tracing::warn!(
            event_id = record.event_id,
            tenant = record.tenant,
            reason,
            detail = record.detail,
            "event.parked"
        );
        Ok(())
    }

    async fn confirmed(&self, to: &Target, message: &Message) -> Result<(), PublishError> {
        publish_until_confirmed(&*self.broker, to, message, self.deadline()).await
    }

    fn deadline(&self) -> Deadline {
        Deadline { stop: self.stop.clone(), limit: None }
    }
}
