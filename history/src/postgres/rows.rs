//! The rows of events, deliveries and attempts in the database.

use schemas::DeadReason;
use tokio_postgres::Row;

use crate::row::{AttemptRow, DeliveryKey, DeliveryRow, EventRow, State, outcome};

/// The columns of an event, in the order in which they are read.
pub(super) const EVENT_COLUMNS: &str = "e.no, e.tenant, e.id, e.type, e.source, e.accepted_at, e.occurred_at, e.channel, \
    e.queue, e.ticket, e.protocol, e.contact, e.matched, e.is_erased";
pub(super) const EVENT_WIDTH: usize = 14;

/// The columns of a delivery, its key first, in the order in which they are read.
pub(super) const DELIVERY_COLUMNS: &str = "d.event, d.endpoint, d.part, d.id, d.tenant, d.accepted_at, d.subscriptions, \
    d.shape, d.state, d.reason, d.run, d.run_began, d.attempts, d.next_due, d.outcome, d.last_run, d.last_number";

/// The columns of an attempt, in the order in which they are read.
pub(super) const ATTEMPT_COLUMNS: &str = "a.run_began, a.number, a.at, a.next_due, a.deferrals, a.post";

/// Reads the columns from the one at `first` on, as do the others.
pub(super) fn event(row: &Row, first: usize) -> EventRow {
    let contact: Option<&[u8]> = row.get(first + 11);
    EventRow {
        no: row.get(first),
        tenant: row.get(first + 1),
        id: row.get(first + 2),
        event_type: row.get(first + 3),
        source: row.get(first + 4),
        accepted_at: unsigned(row.get(first + 5)),
        occurred_at: unsigned(row.get(first + 6)),
        channel: row.get(first + 7),
        queue: row.get(first + 8),
        ticket: row.get(first + 9),
        protocol: row.get(first + 10),
        contact: contact.and_then(|token| token.try_into().ok()),
        matched: row.get(first + 12),
        is_erased: row.get(first + 13),
    }
}

/// None where an outer join found no delivery.
pub(super) fn delivery(row: &Row, first: usize) -> Option<(DeliveryKey, DeliveryRow)> {
    let event: Option<i64> = row.get(first);
    let key = DeliveryKey { event: event?, endpoint: row.get(first + 1), part: row.get(first + 2) };
    let last_run: Option<i64> = row.get(first + 15);
    let last_number: Option<i32> = row.get(first + 16);
    let delivery = DeliveryRow {
        id: row.get(first + 3),
        tenant: row.get(first + 4),
        accepted_at: unsigned(row.get(first + 5)),
        subscriptions: row.get(first + 6),
        shape: row.get(first + 7),
        state: State::read(row.get::<_, i16>(first + 8).into()),
        reason: row.get::<_, Option<&str>>(first + 9).and_then(DeadReason::parse),
        run: row.get::<_, i32>(first + 10).unsigned_abs(),
        run_began: unsigned(row.get(first + 11)),
        attempts: row.get::<_, i32>(first + 12).unsigned_abs(),
        next_due: row.get::<_, Option<i64>>(first + 13).map(unsigned),
        outcome: row.get::<_, Option<&str>>(first + 14).and_then(outcome),
        last: last_run.map(unsigned).zip(last_number.map(i32::unsigned_abs)),
    };
    Some((key, delivery))
}

pub(super) fn attempt(row: &Row, first: usize) -> AttemptRow {
    AttemptRow {
        run_began: row.get(first),
        number: row.get::<_, i32>(first + 1).unsigned_abs(),
        at: row.get(first + 2),
        next_due: row.get(first + 3),
        deferrals: row.get::<_, i32>(first + 4).unsigned_abs(),
        post: row.get(first + 5),
    }
}

/// A number of the database as it was before `signed`.
pub(super) fn unsigned(value: i64) -> u64 {
    value.unsigned_abs()
}

/// Longest text that is kept, in bytes: an index takes 2,704.
const LONGEST_TEXT: usize = 1_000;

/// A text as PostgreSQL takes it, also in an index: without the character 0, and not longer than that. Whoever sends events
/// chooses what is in them, and one that cannot be written would stop all that come after it.
pub(super) fn text(text: &str) -> String {
    let mut text = text.replace('\0', "");
    let end = (0..=LONGEST_TEXT.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.truncate(end.unwrap_or(0));
    text
}

/// A small number as databases take it.
pub(super) fn small(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}
