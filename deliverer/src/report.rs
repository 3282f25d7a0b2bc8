//! Reporting: one log line per attempt, its metrics, and the usage of its tenant. No body, URL or secret is logged.

use std::sync::Arc;

use broker::{Lane, Settlement};
use history::{AttemptRecord, Post, Record, RecordedDelivery, RecordedVerdict, Recorder};
use schemas::{Counts, DeadReason, Delivery, Finding, Message, OutcomeClass, ParkReason, time::rfc3339, wire};
use store::Outbox;

use crate::{
    consume::{ConsumedDelivery, Path},
    defer::NotAttempted,
    metrics::{DelivererMetrics, PathMetrics},
    post::Posted,
    settle::Concluded,
    verdict::Verdict,
};

pub(crate) struct Reporter {
    pub(crate) metrics: DelivererMetrics,
    direct: PathMetrics,
    fast: PathMetrics,
    slow: PathMetrics,
    outbox: Arc<Outbox>,
    recorder: Recorder,
}

impl Reporter {
    pub(crate) fn new(metrics: DelivererMetrics, outbox: Arc<Outbox>, recorder: Recorder) -> Self {
        let [direct, fast, slow] = Path::ALL.map(|path| PathMetrics::of(&metrics, path));
        Self { metrics, direct, fast, slow, outbox, recorder }
    }

    pub(crate) fn attempt_begins(&self, consumed: &ConsumedDelivery, now: u64) {
        let (delivery, path) = (&consumed.delivery, self.path(consumed.path));
        if delivery.attempt == 1 {
            path.latency.observe(seconds(delivery.accepted_at, now));
        }
        match delivery.due {
            None if delivery.deferrals == 0 => path.late_first.observe(seconds(delivery.accepted_at, now)),
            // Its event was put aside, and it was due at no time.
            None => {}
            Some(due) if was_deferred_until(delivery, due) => path.late_deferred.observe(seconds(due, now)),
            Some(due) => path.late_retry.observe(seconds(due, now)),
        }
    }

    /// Counts an attempt, even if its message is given back afterwards.
    pub(crate) fn attempt_ended(&self, consumed: &ConsumedDelivery, posted: &Posted) {
        let path = self.path(consumed.path);
        path.attempted(&posted.outcome);
        if posted.outcome.class == OutcomeClass::Success {
            path.success.observe(seconds(consumed.delivery.accepted_at, posted.ended));
        }
    }

    /// Reports a settled attempt. A delivery that was given back has not ended, and is reported again.
    pub(crate) fn settled(&self, consumed: &ConsumedDelivery, concluded: &Concluded, settlement: Settlement) {
        let ConsumedDelivery { delivery, body, .. } = consumed;
        let Concluded { attempt, verdict, at, .. } = concluded;
        let (label, delivered, dead) = match (settlement, verdict) {
            (Settlement::Again, _) => ("given_back", 0, 0),
            (Settlement::Done, Verdict::Delivered) => ("delivered", 1, 0),
            (Settlement::Done, Verdict::Retry(_)) => ("retry", 0, 0),
            (Settlement::Done, Verdict::Dead(_)) => ("dead", 0, 1),
        };
        tracing::info!(
            delivery_id = %delivery.id, event_id = %delivery.event_id, tenant = delivery.tenant,
            endpoint_id = delivery.endpoint_id, attempt = delivery.attempt, outcome = attempt.outcome.as_str(),
            status = attempt.status, duration_ms = attempt.duration_ms, verdict = label, next_due = attempt.next_due,
            lane = consumed.path.name(), replay_id = delivery.replay,
            "delivery.attempted"
        );
        if let (Settlement::Done, Verdict::Dead(reason)) = (settlement, verdict) {
            self.dead(delivery, delivery.attempt, *reason);
        }
        if settlement == Settlement::Done {
            self.recorder.record(|| attempt_record(consumed, concluded));
        }
        let bytes = body.len() as u64;
        self.usage(delivery, *at, Counts { attempts: 1, bytes, delivered, dead, ..Counts::default() });
    }

    pub(crate) fn tested(&self, consumed: &ConsumedDelivery, concluded: &Concluded) {
        let ConsumedDelivery { delivery, body, .. } = consumed;
        let Concluded { attempt, at, .. } = concluded;
        self.usage(delivery, *at, Counts { attempts: 1, bytes: body.len() as u64, ..Counts::default() });
        tracing::info!(
            delivery_id = %delivery.id, event_id = %delivery.event_id, tenant = delivery.tenant,
            endpoint_id = delivery.endpoint_id, outcome = attempt.outcome.as_str(), status = attempt.status,
            duration_ms = attempt.duration_ms,
            "endpoint.tested"
        );
    }

    pub(crate) fn not_attempted(
        &self,
        consumed: &ConsumedDelivery,
        decision: NotAttempted,
        settlement: Settlement,
        now: u64,
    ) {
        let ConsumedDelivery { delivery, tenant_created, .. } = consumed;
        match decision {
            NotAttempted::Deferred { due, reason, .. } => {
                self.metrics.deferrals.with_label_values(&[reason.as_str()]).inc();
                deferred(delivery, reason.as_str(), due.exact.then_some(due.at));
            }
            NotAttempted::MovedToSlowLane => {
                self.metrics.moved_to_slow.inc();
                deferred(delivery, "slow_lane", None);
            }
            NotAttempted::Dead(_) if settlement != Settlement::Done => {}
            NotAttempted::Dead(_) | NotAttempted::Erased => {
                let reason = match decision {
                    NotAttempted::Dead(reason) => reason,
                    _ => DeadReason::Cancelled,
                };
                self.dead(delivery, delivery.attempt.saturating_sub(1), reason);
                self.recorder.record(|| {
                    Record::Attempt(Box::new(AttemptRecord::without_attempt(delivery, *tenant_created, reason, now)))
                });
                self.usage(delivery, now, Counts { dead: 1, ..Counts::default() });
            }
        }
    }

    pub(crate) fn parked(&self, message: &Message, reason: ParkReason, detail: &str) {
        self.metrics.parked.with_label_values(&[reason.as_str()]).inc();
        let tenant = message.headers.text(wire::TENANT);
        tracing::warn!(event_id = message.id, tenant, %reason, detail, "delivery.parked");
    }

    pub(crate) fn repeated(&self, delivery: &Delivery) {
        self.metrics.deduplicated.inc();
        tracing::info!(
            delivery_id = %delivery.id, event_id = %delivery.event_id, tenant = delivery.tenant,
            endpoint_id = delivery.endpoint_id, attempt = delivery.attempt,
            "delivery.repeated"
        );
    }

    pub(crate) fn forked(&self, delivery: &Delivery) {
        self.metrics.retry_forks.inc();
        tracing::info!(
            delivery_id = %delivery.id, event_id = %delivery.event_id, tenant = delivery.tenant,
            endpoint_id = delivery.endpoint_id, attempt = delivery.attempt,
            "delivery.forked"
        );
    }

    pub(crate) fn found(&self, finding: Finding) {
        self.outbox.record_finding(finding);
    }

    fn dead(&self, delivery: &Delivery, attempts: u32, reason: DeadReason) {
        self.metrics.dead_letters.with_label_values(&[reason.as_str()]).inc();
        tracing::info!(
            delivery_id = %delivery.id, event_id = %delivery.event_id, tenant = delivery.tenant,
            endpoint_id = delivery.endpoint_id, attempts, %reason,
            "delivery.dead"
        );
    }

    fn usage(&self, delivery: &Delivery, now: u64, counts: Counts) {
        self.outbox.add(now, &delivery.tenant, Some(&delivery.endpoint_id), counts);
    }

    fn path(&self, path: Path) -> &PathMetrics {
        match path {
            Path::Direct => &self.direct,
            Path::Lane(Lane::Fast) => &self.fast,
            Path::Lane(Lane::Slow) => &self.slow,
        }
    }
}

/// What history keeps of an attempt.
fn attempt_record(consumed: &ConsumedDelivery, concluded: &Concluded) -> Record {
    let delivery = &consumed.delivery;
    let Concluded { attempt, verdict, began, details, .. } = concluded;
    let post = Post {
        outcome: attempt.outcome,
        status: attempt.status,
        duration_ms: attempt.duration_ms,
        timing: details.timing,
        remote_address: details.remote_address.map(|address| address.to_string()),
        reused: details.reused,
        request_headers: details.request_headers(),
        response_headers: details.response_headers.clone(),
        response_excerpt: attempt.response_excerpt.clone().unwrap_or_default(),
    };
    Record::Attempt(Box::new(AttemptRecord {
        delivery: RecordedDelivery::of(delivery, consumed.tenant_created),
        number: delivery.attempt,
        at: *began,
        post: Some(post),
        verdict: match verdict {
            Verdict::Delivered => RecordedVerdict::Delivered,
            Verdict::Retry(due) => RecordedVerdict::Retry(due.at),
            Verdict::Dead(reason) => RecordedVerdict::Dead(*reason),
        },
        deferrals: delivery.deferrals,
    }))
}

/// False when `due` comes from the schedule of retries.
fn was_deferred_until(delivery: &Delivery, due: u64) -> bool {
    delivery.deferrals > 0
        && delivery.last.as_ref().is_none_or(|last| last.next_due.as_deref() != Some(rfc3339(due).as_str()))
}

fn deferred(delivery: &Delivery, reason: &str, until: Option<u64>) {
    tracing::debug!(
        delivery_id = %delivery.id, event_id = %delivery.event_id, tenant = delivery.tenant,
        endpoint_id = delivery.endpoint_id, attempt = delivery.attempt, reason, next_due = until.map(rfc3339),
        "delivery.deferred"
    );
}

/// Seconds between two times in unix ms; 0 when the clocks of two machines disagree.
fn seconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1_000.0
}
