//! What is answered, made from rows.

use crate::{
    AttemptItem, DeliveryItem, DeliveryStory, EventItem,
    names::Names,
    row::{AttemptRow, DeliveryKey, DeliveryRow, EventRow, unpack_post},
};

pub(crate) fn event_item(names: &Names, event: EventRow) -> EventItem {
    EventItem {
        tenant: names.tenant_name(event.tenant).unwrap_or_default(),
        id: event.id,
        event_type: event.event_type,
        source: event.source,
        accepted_at: event.accepted_at,
        occurred_at: event.occurred_at,
        channel_id: event.channel,
        queue_id: event.queue,
        ticket_id: event.ticket,
        protocol: event.protocol,
        matched: event.matched,
    }
}

pub(crate) fn delivery_item(
    names: &Names,
    event: EventRow,
    key: &DeliveryKey,
    row: &DeliveryRow,
    last: Option<AttemptRow>,
) -> DeliveryItem {
    DeliveryItem {
        tenant: names.tenant_name(event.tenant).unwrap_or_default(),
        id: row.id,
        event_id: event.id,
        event_type: event.event_type,
        endpoint_id: names.endpoint_id(key.endpoint),
        part: key.part.clone(),
        state: row.state.shown(),
        reason: row.reason,
        accepted_at: event.accepted_at,
        attempt_count: row.attempts,
        run: row.run,
        last: last.and_then(|last| last_attempt(row, last)),
        next_due: row.next_due,
        channel_id: event.channel,
        queue_id: event.queue,
        ticket_id: event.ticket,
        protocol: event.protocol,
    }
}

/// What a delivery's story tells beside its body.
pub(crate) fn story(
    delivery: DeliveryItem,
    row: &DeliveryRow,
    attempts: Vec<AttemptRow>,
    is_erased: bool,
) -> DeliveryStory {
    let attempts = attempt_items(row, attempts);
    let request_headers = attempts.last().map(|last| last.post.request_headers.clone()).unwrap_or_default();
    let matched_by = row.subscriptions.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect();
    DeliveryStory { delivery, attempts, body: None, request_headers, matched_by, erased: is_erased }
}

/// The attempts of a delivery, which are given in the order of their lives and numbers. Ends without a POST are left out.
fn attempt_items(row: &DeliveryRow, attempts: Vec<AttemptRow>) -> Vec<AttemptItem> {
    let (mut items, mut runs) = (Vec::new(), Vec::new());
    for attempt in attempts {
        if runs.last() != Some(&attempt.run_began) {
            runs.push(attempt.run_began);
        }
        items.extend(attempt_item(attempt, runs.len() as u32));
    }
    // Lives of which no attempt is known are the first ones.
    let last_run = runs.last().map_or(0, |began| began.unsigned_abs());
    let waits = u32::from(last_run < row.run_began);
    let unknown = row.run.saturating_sub(waits).saturating_sub(runs.len() as u32);
    items.into_iter().map(|item| AttemptItem { run: unknown + item.run, ..item }).collect()
}

fn last_attempt(row: &DeliveryRow, attempt: AttemptRow) -> Option<AttemptItem> {
    // The last attempt is of the present life, or of the one before it.
    let is_of_this_run = attempt.run_began.unsigned_abs() == row.run_began;
    attempt_item(attempt, if is_of_this_run { row.run } else { row.run.saturating_sub(1) })
}

fn attempt_item(attempt: AttemptRow, run: u32) -> Option<AttemptItem> {
    let AttemptRow { number, at, next_due, deferrals, post, .. } = attempt;
    let post = unpack_post(&post?)?;
    Some(AttemptItem { run, number, at: at.unsigned_abs(), post, next_due: next_due.map(i64::unsigned_abs), deferrals })
}
