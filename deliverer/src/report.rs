//! What is said and counted of a delivery: one line where an attempt ends, and no body, url or secret in it.

use broker::Settlement;
use bytes::Bytes;
use schemas::{Attempt, Counts, DeadReason, Delivery, time::rfc3339};

use crate::{
    metrics::{DelivererMetrics, LaneMetrics},
    verdict::Verdict,
};

/// An attempt begins at `now` (unix ms): how late is it?
pub(crate) fn begins(counted: &LaneMetrics, delivery: &Delivery, now: u64) {
    if delivery.attempt == 1 {
        counted.latency.observe(seconds(delivery.accepted_at, now));
    }
    match delivery.due {
        None => counted.late_first.observe(seconds(delivery.accepted_at, now)),
        Some(due) if was_put_aside(delivery, due) => counted.late_deferred.observe(seconds(due, now)),
        Some(due) => counted.late_retry.observe(seconds(due, now)),
    }
}

/// Whether it was due then since it was put aside, and not by its schedule.
fn was_put_aside(delivery: &Delivery, due: u64) -> bool {
    delivery.deferrals > 0
        && delivery.last.as_ref().is_none_or(|last| last.next_due.as_deref() != Some(rfc3339(due).as_str()))
}

/// Counts an attempt, whatever becomes of what follows from it.
pub(crate) fn count(counted: &LaneMetrics, delivery: &Delivery, attempt: &Attempt, verdict: &Verdict, now: u64) {
    counted.attempted(attempt.outcome, attempt.duration_ms as f64 / 1_000.0);
    if *verdict == Verdict::Delivered {
        counted.success.observe(seconds(delivery.accepted_at, now));
    }
}

/// Says what came of an attempt. A delivery that was given back has not ended, and will be heard of again.
pub(crate) fn attempted(
    metrics: &DelivererMetrics,
    delivery: &Delivery,
    attempt: &Attempt,
    verdict: &Verdict,
    settlement: Settlement,
) {
    let said = match (settlement, verdict) {
        (Settlement::Again, _) => "given_back",
        (Settlement::Done, Verdict::Delivered) => "delivered",
        (Settlement::Done, Verdict::Retry(_)) => "retry",
        (Settlement::Done, Verdict::Dead(_)) => "dead",
    };
    tracing::info!(
        delivery_id = %delivery.id, event_id = %delivery.event_id, tenant = delivery.tenant,
        endpoint_id = delivery.endpoint_id, attempt = delivery.attempt, outcome = attempt.outcome.as_str(),
        status = attempt.status, duration_ms = attempt.duration_ms, verdict = said, next_due = attempt.next_due,
        replay_id = delivery.replay,
        "delivery.attempted"
    );
    if let (Settlement::Done, Verdict::Dead(reason)) = (settlement, verdict) {
        died(metrics, delivery, delivery.attempt, *reason);
    }
}

/// What an attempt adds to the tenant's usage.
pub(crate) fn counts(body: &Bytes, verdict: &Verdict, settlement: Settlement) -> Counts {
    let ended = |as_what: bool| u64::from(as_what && settlement == Settlement::Done);
    Counts {
        attempts: 1,
        bytes: body.len() as u64,
        delivered: ended(*verdict == Verdict::Delivered),
        dead: ended(matches!(verdict, Verdict::Dead(_))),
        ..Counts::default()
    }
}

/// Says that a delivery was handed out again although it has succeeded.
pub(crate) fn repeated(metrics: &DelivererMetrics, delivery: &Delivery) {
    metrics.deduplicated.inc();
    tracing::info!(
        delivery_id = %delivery.id, event_id = %delivery.event_id, tenant = delivery.tenant,
        endpoint_id = delivery.endpoint_id, attempt = delivery.attempt,
        "delivery.repeated"
    );
}

/// Says that a retry seems to go on twice.
pub(crate) fn forked(metrics: &DelivererMetrics, delivery: &Delivery) {
    metrics.retry_forks.inc();
    tracing::info!(
        delivery_id = %delivery.id, event_id = %delivery.event_id, tenant = delivery.tenant,
        endpoint_id = delivery.endpoint_id, attempt = delivery.attempt, "delivery.forked"
    );
}

/// Says that a delivery ended without a further attempt.
pub(crate) fn ended(metrics: &DelivererMetrics, delivery: &Delivery, reason: DeadReason) {
    died(metrics, delivery, delivery.attempt.saturating_sub(1), reason);
}

/// After so many attempts.
fn died(metrics: &DelivererMetrics, delivery: &Delivery, attempts: u32, reason: DeadReason) {
    metrics.dead_letters.with_label_values(&[reason.as_str()]).inc();
    tracing::info!(
        delivery_id = %delivery.id, event_id = %delivery.event_id, tenant = delivery.tenant,
        endpoint_id = delivery.endpoint_id, attempts, %reason,
        "delivery.dead"
    );
}

/// Says that a delivery waits without having been attempted, and until when (unix ms), if that is known here.
pub(crate) fn defer(delivery: &Delivery, reason: &str, until: Option<u64>) {
    tracing::debug!(
        delivery_id = %delivery.id, event_id = %delivery.event_id, tenant = delivery.tenant,
        endpoint_id = delivery.endpoint_id, attempt = delivery.attempt, reason, next_due = until.map(rfc3339),
        "delivery.deferred"
    );
}

/// Seconds between two unix ms; none when the clocks disagree.
fn seconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1_000.0
}
