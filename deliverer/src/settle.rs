//! Carries a verdict out: whatever follows is confirmed first, and only then may the message be settled. A crash
//! between the two repeats, never loses.

use std::time::Duration;

use broker::{Broker, Header, Headers, Lane, Log, Message, Patience, Settlement, Target, insist};
use bytes::Bytes;
use schemas::{Attempt, DeadLetter, DeadLetterLevel, DeadReason, Delivery, ParkReason, Parked, time::rfc3339, wire};
use store::Levels;
use tokio::sync::watch;

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
    pub(crate) levels: &'a Levels,
    pub(crate) metrics: &'a DelivererMetrics,
    pub(crate) stop: watch::Receiver<bool>,
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
                self.publish(&Target::Lane(Lane::Slow, Some(*due)), &message(&next, body.clone())).await
            }
            Verdict::Dead(reason) => self.bury(delivery, body, delivery.attempt, Some(attempt.clone()), *reason).await,
        }
    }

    /// Ends a delivery without a further attempt.
    pub(crate) async fn give_up(&self, delivery: &Delivery, body: &Bytes, reason: DeadReason) -> Settlement {
        self.bury(delivery, body, delivery.attempt - 1, delivery.last.clone(), reason).await
    }

    /// Puts a delivery aside for a while; no attempt was made.
    pub(crate) async fn put_aside(&self, delivery: &Delivery, body: &Bytes, lane: Lane) -> Settlement {
        let later = Delivery { parks: delivery.parks + 1, ..delivery.clone() };
        let wait = if later.parks <= 12 { PARK } else { LONG_PARK };
        let due = broker::Due { at: self.now + wait, exact: false };
        self.publish(&Target::Lane(lane, Some(due)), &message(&later, body.clone())).await
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
        let mut message = original.clone();
        message.headers.set(wire::RECORD, Header::Text(json(&record).into()));
        self.publish(&Target::Log(Log::Parked, record.key()), &message).await
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
        let mut message = message(delivery, body.clone());
        match self.levels.of(&delivery.tenant, self.now) {
            DeadLetterLevel::Bodies => {}
            DeadLetterLevel::Records => {
                self.metrics.dead_letters_reduced.with_label_values(&["record"]).inc();
                message.body = Bytes::new();
                record = record.without_body();
            }
            // Design §9.11: what the tenant piles up is bounded, and it was told.
            DeadLetterLevel::Counts => {
                self.metrics.dead_letters_reduced.with_label_values(&["nothing"]).inc();
                return Settlement::Done;
            }
        }
        message.headers.set(wire::RECORD, Header::Text(json(&record).into()));
        self.publish(&Target::Log(Log::Dead, record.key()), &message).await
    }

    pub(crate) async fn publish(&self, to: &Target, message: &Message) -> Settlement {
        let patience = Patience { stop: self.stop.clone(), limit: Some(PATIENCE) };
        match insist(self.broker, to, message, patience).await {
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

/// A delivery as the broker carries it.
pub(crate) fn message(delivery: &Delivery, body: Bytes) -> Message {
    Message {
        id: delivery.event_id.to_string(),
        kind: delivery.event_type.to_string(),
        headers: Headers::new(delivery.ints(), delivery.texts()),
        body,
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

fn json(record: &impl serde::Serialize) -> String {
    serde_json::to_string(record).unwrap_or_default()
}
