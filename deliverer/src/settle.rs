//! Settling: what follows from a delivery is published and confirmed, and only then may its message be settled. A crash
//! between the two repeats, never loses.

use std::{sync::Arc, time::Duration};

use broker::{Broker, Deadline, Due, Incoming, Lane, Settlement, Target, publish_until_confirmed, records};
use bytes::Bytes;
use schemas::{Attempt, DeadLetter, DeadLetterRetention, Delivery, Message, ParkReason, Parked, time::rfc3339, wire};
use store::RetentionTable;
use tokio_util::sync::CancellationToken;

use crate::{
    consume::ConsumedDelivery, defer::NotAttempted, metrics::DelivererMetrics, outcome::Outcome, post::Posted,
    verdict::Verdict,
};

/// Longest time that a delivery is held while the broker takes no publishes. Then it is handed out again, which may
/// repeat its attempt. Longer would keep the broker's log from shrinking, and RabbitMQ cancels consumers that settle
/// nothing for 30 minutes.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(60);

/// An attempt that has ended, and its verdict.
#[derive(Debug)]
pub(crate) struct Concluded {
    pub(crate) attempt: Attempt,
    pub(crate) verdict: Verdict,
    /// Unix ms at which the attempt ended.
    pub(crate) at: u64,
}

impl Concluded {
    pub(crate) fn new(delivery: &Delivery, posted: Posted, verdict: Verdict) -> Self {
        let Posted { began, ended, outcome } = posted;
        let Outcome { class, status, excerpt, duration_ms, .. } = outcome;
        let attempt = Attempt {
            number: delivery.attempt,
            at: rfc3339(began),
            outcome: class,
            status,
            duration_ms,
            response_excerpt: Some(excerpt).filter(|excerpt| !excerpt.is_empty()),
            next_due: match verdict {
                Verdict::Retry(due) => Some(rfc3339(due.at)),
                Verdict::Delivered | Verdict::Dead(_) => None,
            },
        };
        Self { attempt, verdict, at: ended }
    }
}

pub(crate) struct Settler {
    broker: Arc<dyn Broker>,
    retention: Arc<RetentionTable>,
    metrics: DelivererMetrics,
    stop: CancellationToken,
}

impl Settler {
    pub(crate) fn new(
        broker: Arc<dyn Broker>,
        retention: Arc<RetentionTable>,
        metrics: DelivererMetrics,
        stop: CancellationToken,
    ) -> Self {
        Self { broker, retention, metrics, stop }
    }

    pub(crate) async fn settle(&self, consumed: &ConsumedDelivery<'_>, concluded: &Concluded) -> Settlement {
        let ConsumedDelivery { delivery, body, .. } = consumed;
        let Concluded { attempt, verdict, at } = concluded;
        match verdict {
            Verdict::Delivered => Settlement::Done,
            Verdict::Retry(due) => {
                let began = at.saturating_sub(attempt.duration_ms);
                let next = Delivery {
                    attempt: delivery.attempt + 1,
                    first_at: delivery.first_at.or(Some(began)),
                    last: Some(attempt.clone()),
                    ..delivery.clone()
                };
                self.publish_to_lane(&next, body, Lane::Slow, Some(*due)).await
            }
            Verdict::Dead(reason) => {
                let record = DeadLetter::of(delivery, *reason, delivery.attempt, Some(attempt.clone()), *at);
                self.publish_dead_letter(record, delivery, body, *at).await
            }
        }
    }

    pub(crate) async fn without_attempt(
        &self,
        consumed: &ConsumedDelivery<'_>,
        decision: NotAttempted,
        now: u64,
    ) -> Settlement {
        let ConsumedDelivery { delivery, body, .. } = consumed;
        match decision {
            NotAttempted::Deferred { lane, due, .. } => {
                let deferred = Delivery { deferrals: delivery.deferrals.saturating_add(1), ..delivery.clone() };
                self.publish_to_lane(&deferred, body, lane, Some(due)).await
            }
            NotAttempted::MovedToSlowLane => self.publish_to_lane(delivery, body, Lane::Slow, None).await,
            NotAttempted::Dead(reason) => {
                let record = DeadLetter::of(delivery, reason, delivery.attempt - 1, delivery.last.clone(), now);
                self.publish_dead_letter(record, delivery, body, now).await
            }
        }
    }

    pub(crate) async fn park(&self, incoming: &Incoming, reason: ParkReason, detail: &str, now: u64) -> Settlement {
        let message = &incoming.message;
        let record = Parked {
            id: String::new(),
            reason,
            detail: Some(detail.to_owned()),
            tenant: message.headers.text(wire::TENANT).map(str::to_owned),
            event_id: Some(message.id.clone()).filter(|id| !id.is_empty()),
            routing_key: Some(incoming.key.clone()),
            parked_at: Some(rfc3339(now)),
            body: None,
        };
        let (to, message) = records::parked(&record, message.clone());
        self.publish(&to, &message).await
    }

    async fn publish_to_lane(&self, delivery: &Delivery, body: &Bytes, lane: Lane, due: Option<Due>) -> Settlement {
        self.publish(&Target::Lane(lane, due), &delivery.to_message(body.clone())).await
    }

    /// Publishes as much of a dead letter as the tenant's quota lets be kept. A replayed delivery keeps its body: its
    /// earlier dead letter had it, and that one has ended.
    async fn publish_dead_letter(
        &self,
        mut record: DeadLetter,
        delivery: &Delivery,
        body: &Bytes,
        now: u64,
    ) -> Settlement {
        match self.retention.of(&delivery.tenant, now) {
            _ if delivery.replay.is_some() => {}
            DeadLetterRetention::Bodies => {}
            DeadLetterRetention::Records => {
                self.metrics.dead_letters_reduced.with_label_values(&["record"]).inc();
                record = record.without_body();
            }
            // The tenant has been notified when its quota was reached.
            DeadLetterRetention::Counts => {
                self.metrics.dead_letters_reduced.with_label_values(&["nothing"]).inc();
                return Settlement::Done;
            }
        }
        let (to, message) = records::dead_letter(&record, delivery, body.clone());
        self.publish(&to, &message).await
    }

    /// Publishes a message, awaits the confirm, and only then says that the original may be settled.
    async fn publish(&self, to: &Target, message: &Message) -> Settlement {
        let deadline = Deadline { stop: self.stop.clone(), limit: Some(PUBLISH_TIMEOUT) };
        match publish_until_confirmed(&*self.broker, to, message, deadline).await {
            Ok(()) => Settlement::Done,
            Err(error) => {
                // Debug, because lost connections and the shutdown are logged where they are noticed.
                let delivery_id = message.headers.text(wire::DELIVERY_ID);
                tracing::debug!(%error, event_id = message.id, delivery_id, "delivery.given_back");
                Settlement::Again
            }
        }
    }
}
