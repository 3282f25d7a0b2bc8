//! Settling: what follows from a delivery is published and confirmed, and only then may its message be settled. A crash
//! between the two repeats, never loses.

use std::sync::Arc;

use broker::{
    Broker, Deadline, Due, Incoming, Lane, PublishError, SessionEnd, Settlement, Target, publish_until_confirmed,
    records,
};
use bytes::Bytes;
use schemas::{
    Attempt, DeadLetter, DeadLetterRetention, DeadReason, Delivery, DeliveryEnd, Message, ParkReason, Parked,
    time::rfc3339, wire,
};
use store::RetentionTable;
use tokio_util::sync::CancellationToken;

use crate::{
    consume::ConsumedDelivery,
    defer::{DeferralReason, NotAttempted},
    limits::DeferReason,
    metrics::DelivererMetrics,
    outcome::Outcome,
    post::{PostDetails, Posted},
    verdict::Verdict,
};

/// An attempt that has ended, and its verdict.
#[derive(Debug)]
pub(crate) struct Concluded {
    pub(crate) attempt: Attempt,
    pub(crate) verdict: Verdict,
    /// Unix ms at which the attempt began.
    pub(crate) began: u64,
    /// Unix ms at which the attempt ended.
    pub(crate) at: u64,
    pub(crate) details: PostDetails,
}

impl Concluded {
    pub(crate) fn new(delivery: &Delivery, posted: Posted, verdict: Verdict) -> Self {
        let Posted { began, ended, outcome, details } = posted;
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
        Self { attempt, verdict, began, at: ended, details }
    }

    /// How the delivery has ended; none while it is retried.
    pub(crate) fn end_of_delivery(&self) -> Option<DeliveryEnd> {
        let reason = match self.verdict {
            Verdict::Delivered => None,
            Verdict::Retry(_) => return None,
            Verdict::Dead(reason) => Some(reason),
        };
        let Attempt { number, outcome, status, .. } = self.attempt;
        Some(DeliveryEnd { attempt_count: number, outcome: Some(outcome), status, reason })
    }

    /// Makes the attempt the last one.
    fn end(&mut self, reason: DeadReason) {
        (self.verdict, self.attempt.next_due) = (Verdict::Dead(reason), None);
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

    /// Settles an attempt. A retry that the broker does not take for its size ends, and `concluded` says so then.
    pub(crate) async fn settle(&self, consumed: &ConsumedDelivery, concluded: &mut Concluded) -> Settlement {
        let delivery = &consumed.delivery;
        if let Verdict::Retry(due) = concluded.verdict {
            let Concluded { attempt, at, .. } = &*concluded;
            let began = at.saturating_sub(attempt.duration_ms);
            let next = Delivery {
                attempt: delivery.attempt + 1,
                first_at: delivery.first_at.or(Some(began)),
                last: Some(attempt.clone()),
                requeued: 0,
                found_paused: 0,
                ..delivery.clone()
            };
            match self.publish_to_lane(consumed, &next, Lane::Slow, Some(due)).await {
                Ok(settlement) => return settlement,
                Err(TooLarge) => concluded.end(DeadReason::TooLarge),
            }
        }
        let Verdict::Dead(reason) = concluded.verdict else { return Settlement::Done };
        let Concluded { attempt, at, .. } = &*concluded;
        let record = DeadLetter::of(delivery, reason, delivery.attempt, Some(attempt.clone()), *at);
        self.publish_dead_letter(consumed, record, *at).await
    }

    /// Settles what was not attempted. A deferral that the broker does not take for its size ends, and `decision` says so
    /// then.
    pub(crate) async fn without_attempt(
        &self,
        consumed: &ConsumedDelivery,
        decision: &mut NotAttempted,
        now: u64,
    ) -> Settlement {
        let delivery = &consumed.delivery;
        let published = match *decision {
            NotAttempted::Deferred { lane, due, reason } => {
                let is_paused = reason == DeferralReason::Limit(DeferReason::Paused);
                let deferred = Delivery {
                    deferrals: delivery.deferrals.saturating_add(1),
                    found_paused: delivery.found_paused.saturating_add(is_paused.into()),
                    ..delivery.clone()
                };
                self.publish_to_lane(consumed, &deferred, lane, Some(due)).await
            }
            NotAttempted::MovedToSlowLane => self.publish_to_lane(consumed, delivery, Lane::Slow, None).await,
            NotAttempted::Erased => return Settlement::Done,
            NotAttempted::Dead(reason) => return self.end_without_attempt(consumed, reason, now).await,
        };
        match published {
            Ok(settlement) => settlement,
            Err(TooLarge) => {
                *decision = NotAttempted::Dead(DeadReason::TooLarge);
                self.end_without_attempt(consumed, DeadReason::TooLarge, now).await
            }
        }
    }

    async fn end_without_attempt(&self, consumed: &ConsumedDelivery, reason: DeadReason, now: u64) -> Settlement {
        let record = DeadLetter::without_attempt(&consumed.delivery, reason, now);
        self.publish_dead_letter(consumed, record, now).await
    }

    pub(crate) async fn park(&self, incoming: &Incoming, reason: ParkReason, detail: &str, now: u64) -> Settlement {
        let message = &incoming.message;
        let record = Parked {
            detail: Some(detail.to_owned()),
            routing_key: Some(incoming.key.clone()),
            parked_at: Some(rfc3339(now)),
            ..Parked::of(message, reason)
        };
        let parking = records::park(&*self.broker, record, message.clone(), self.deadline());
        let parked = self.confirmed(&incoming.session, message, async { parking.await.map(drop) }).await;
        parked.unwrap_or(Settlement::Again)
    }

    async fn publish_to_lane(
        &self,
        consumed: &ConsumedDelivery,
        delivery: &Delivery,
        lane: Lane,
        due: Option<Due>,
    ) -> Result<Settlement, TooLarge> {
        let message = delivery.to_message(consumed.body.clone());
        self.publish(&consumed.session, &Target::Lane(lane, due), &message).await
    }

    /// Publishes as much of a dead letter as the tenant's quota lets be kept. A replay keeps what its dead letter had:
    /// the replay has ended that one, so this is the only copy of the body.
    async fn publish_dead_letter(&self, consumed: &ConsumedDelivery, mut record: DeadLetter, now: u64) -> Settlement {
        let ConsumedDelivery { delivery, body, session, .. } = consumed;
        let retention = match &delivery.replay {
            Some(_) => DeadLetterRetention::Bodies,
            None => {
                let bytes = delivery.to_message(body.clone()).size() as u64;
                self.retention.take(&delivery.tenant, bytes, now)
            }
        };
        match retention {
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
        if let Ok(settlement) = self.publish(session, &to, &message).await {
            return settlement;
        }
        // The broker does not take so large a body even into the log.
        let (to, message) = records::dead_letter(&record.without_body(), delivery, Bytes::new());
        self.publish(session, &to, &message).await.unwrap_or(Settlement::Again)
    }

    async fn publish(&self, session: &SessionEnd, to: &Target, message: &Message) -> Result<Settlement, TooLarge> {
        let publishing = publish_until_confirmed(&*self.broker, to, message, self.deadline());
        self.confirmed(session, message, publishing).await
    }

    /// Awaits the confirm of what is published of `message`, and only then says that the original may be settled. While
    /// the broker takes no publishes the original is held, for however long: giving it back would count towards its
    /// delivery limit and repeat its attempt.
    async fn confirmed(
        &self,
        session: &SessionEnd,
        message: &Message,
        publishing: impl Future<Output = Result<(), PublishError>>,
    ) -> Result<Settlement, TooLarge> {
        let published = tokio::select! {
            biased;
            published = publishing => published,
            // The broker hands out the original again. Continuing would make a second chain of attempts.
            () = session.reached() => Err(PublishError::Lost("the session is over".to_owned())),
        };
        match published {
            Ok(()) => Ok(Settlement::Done),
            Err(PublishError::TooLarge) => Err(TooLarge),
            Err(error) => {
                // Debug, because lost connections and the shutdown are logged where they are noticed.
                let delivery_id = message.headers.text(wire::DELIVERY_ID);
                tracing::debug!(%error, event_id = message.id, delivery_id, "delivery.given_back");
                Ok(Settlement::Again)
            }
        }
    }

    fn deadline(&self) -> Deadline {
        Deadline { stop: self.stop.clone(), limit: None }
    }
}

/// The broker takes no message of this size.
struct TooLarge;
