//! Carries a verdict out: whatever follows is confirmed first, and only then may the message be settled. A crash
//! between the two repeats, never loses.

use std::time::Duration;

use broker::{Broker, Deadline, Lane, Settlement, Target, publish_until_confirmed, records};
use bytes::Bytes;
use schemas::{
    Attempt, DeadLetter, DeadLetterRetention, DeadReason, Delivery, Message, ParkReason, Parked, time::rfc3339, wire,
};
use store::RetentionTable;
use tokio_util::sync::CancellationToken;

use crate::{metrics::DelivererMetrics, outcome::Outcome, verdict::Verdict};

/// How long a failed delivery is held while the broker takes no publishes. Then it goes back unsettled and is handed
/// out again, which may repeat its attempt: holding it for longer would pin the broker's log (RabbitMQ cancels
/// consumers after 30 minutes).
const PATIENCE: Duration = Duration::from_secs(60);
/// A put-aside delivery looks again after this long, in ms,
const PARK: u64 = 5_000;
/// and after a minute of that after this long: what it waits for is away, and many may be waiting.
const LONG_PARK: u64 = 60_000;

/// Publishes what follows from a verdict.
pub(crate) struct Settler<'a> {
    pub(crate) broker: &'a dyn Broker,
    pub(crate) retention: &'a RetentionTable,
    pub(crate) metrics: &'a DelivererMetrics,
    pub(crate) stop: CancellationToken,
    /// Unix ms.
    pub(crate) now: u64,
}

impl Settler<'_> {
    /// After an attempt.
    pub(crate) async fn carry_out(
        &self,
        delivery: &Delivery,
        body: &Bytes,
        attempt: &Attempt,
        verdict: &Verdict,
    ) -> Settlement {
        match verdict {
            Verdict::Delivered => Settlement::Done,
            Verdict::Retry(due) => {
                let began = self.now.saturating_sub(attempt.duration_ms);
                let next = Delivery {
                    attempt: delivery.attempt + 1,
                    first_at: delivery.first_at.or(Some(began)),
                    last: Some(attempt.clone()),
                    ..delivery.clone()
                };
                self.publish(&Target::Lane(Lane::Slow, Some(*due)), &next.to_message(body.clone())).await
            }
            Verdict::Dead(reason) => self.bury(delivery, body, delivery.attempt, Some(attempt.clone()), *reason).await,
        }
    }

    /// Ends a delivery without a further attempt.
    pub(crate) async fn give_up(&self, delivery: &Delivery, body: &Bytes, reason: DeadReason) -> Settlement {
        self.bury(delivery, body, delivery.attempt - 1, delivery.last.clone(), reason).await
    }

    /// Puts a delivery aside for a while; no attempt was made.
    pub(crate) async fn defer(&self, delivery: &Delivery, body: &Bytes, lane: Lane) -> Settlement {
        let later = Delivery { deferrals: delivery.deferrals + 1, ..delivery.clone() };
        let wait = if later.deferrals <= 12 { PARK } else { LONG_PARK };
        let due = broker::Due { at: self.now + wait, exact: false };
        self.publish(&Target::Lane(lane, Some(due)), &later.to_message(body.clone())).await
    }

    /// Parks what is no delivery.
    pub(crate) async fn park(&self, original: &Message, key: &str, reason: ParkReason, detail: String) -> Settlement {
        let tenant = original.headers.text(wire::TENANT).map(str::to_owned);
        let record = Parked {
            id: String::new(),
            reason,
            detail: Some(detail),
            tenant,
            event_id: Some(original.id.clone()).filter(|id| !id.is_empty()),
            routing_key: Some(key.to_owned()),
            parked_at: Some(rfc3339(self.now)),
            body: None,
        };
        let (to, message) = records::parked(&record, original.clone());
        self.publish(&to, &message).await
    }

    async fn bury(
        &self,
        delivery: &Delivery,
        body: &Bytes,
        attempts: u32,
        last: Option<Attempt>,
        reason: DeadReason,
    ) -> Settlement {
        let mut record = DeadLetter::of(delivery, reason, attempts, last, self.now);
        match self.retention.of(&delivery.tenant, self.now) {
            DeadLetterRetention::Bodies => {}
            DeadLetterRetention::Records => {
                self.metrics.dead_letters_reduced.with_label_values(&["record"]).inc();
                record = record.without_body();
            }
            // Design §9.11: what the tenant piles up is bounded, and it was told.
            DeadLetterRetention::Counts => {
                self.metrics.dead_letters_reduced.with_label_values(&["nothing"]).inc();
                return Settlement::Done;
            }
        }
        let (to, message) = records::dead_letter(&record, delivery, body.clone());
        self.publish(&to, &message).await
    }

    pub(crate) async fn publish(&self, to: &Target, message: &Message) -> Settlement {
        let deadline = Deadline { stop: self.stop.clone(), limit: Some(PATIENCE) };
        match publish_until_confirmed(self.broker, to, message, deadline).await {
            Ok(()) => Settlement::Done,
            Err(error) => {
                // That the broker is away, or the process ends, is said where that is noticed; here it is one of many.
                let delivery_id = message.headers.text(wire::DELIVERY_ID);
                tracing::debug!(%error, event_id = message.id, delivery_id, "delivery.given_back");
                Settlement::Again
            }
        }
    }
}

/// The attempt as records show it.
pub(crate) fn attempt_of(delivery: &Delivery, outcome: Outcome, began: u64, verdict: &Verdict) -> Attempt {
    Attempt {
        number: delivery.attempt,
        at: rfc3339(began),
        outcome: outcome.class,
        status: outcome.status,
        duration_ms: outcome.duration_ms,
        response_excerpt: Some(outcome.excerpt).filter(|excerpt| !excerpt.is_empty()),
        next_due: match verdict {
            Verdict::Retry(due) => Some(rfc3339(due.at)),
            Verdict::Delivered | Verdict::Dead(_) => None,
        },
    }
}
