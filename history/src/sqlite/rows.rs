//! The rows of events and deliveries in a file.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use schemas::{DeadReason, OutcomeClass};
use uuid::Uuid;

use crate::{
    HistoryError,
    row::{DeliveryKey, DeliveryRow, EventRow, State, outcome, signed},
};

/// The columns of a row, in the order in which they are read.
pub(super) const COLUMNS: &str = "d.id, d.tenant, d.accepted_at, d.subscriptions, d.shape, d.state, d.reason, d.run, \
    d.run_began, d.attempts, d.next_due, d.outcome, d.last_run, d.last_number";

pub(super) fn find_delivery(file: &Connection, key: &DeliveryKey) -> Result<Option<DeliveryRow>, HistoryError> {
    let select = format!("SELECT {COLUMNS} FROM deliveries d WHERE event = ?1 AND endpoint = ?2 AND part = ?3");
    let found = file
        .prepare_cached(&select)?
        .query_row(params![key.event, key.endpoint, key.part], |row| read_delivery(row, 0));
    Ok(found.optional()?)
}

/// Reads the columns from the one at `first` on.
pub(super) fn read_delivery(row: &Row<'_>, first: usize) -> rusqlite::Result<DeliveryRow> {
    let at = |column: usize| first + column;
    let time = |column| row.get::<_, i64>(at(column)).map(i64::unsigned_abs);
    let optional = |column| row.get::<_, Option<i64>>(at(column)).map(|time| time.map(i64::unsigned_abs));
    let last = optional(12)?.zip(row.get::<_, Option<u32>>(at(13))?);
    Ok(DeliveryRow {
        id: Uuid::from_slice(row.get_ref(at(0))?.as_blob()?).unwrap_or_default(),
        tenant: row.get(at(1))?,
        accepted_at: time(2)?,
        subscriptions: row.get(at(3))?,
        shape: row.get(at(4))?,
        state: State::read(row.get(at(5))?),
        reason: row.get_ref(at(6))?.as_str_or_null()?.and_then(DeadReason::parse),
        run: row.get(at(7))?,
        run_began: time(8)?,
        attempts: row.get(at(9))?,
        next_due: optional(10)?,
        outcome: row.get_ref(at(11))?.as_str_or_null()?.and_then(outcome),
        last,
    })
}

pub(super) fn put_delivery(file: &Connection, key: &DeliveryKey, delivery: &DeliveryRow) -> Result<(), HistoryError> {
    let put = "INSERT INTO deliveries (event, endpoint, part, id, tenant, accepted_at, subscriptions, shape, state, reason,
        run, run_began, attempts, next_due, outcome, last_run, last_number)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
        ON CONFLICT (event, endpoint, part) DO UPDATE SET subscriptions = excluded.subscriptions, shape = excluded.shape,
        state = excluded.state, reason = excluded.reason, run = excluded.run, run_began = excluded.run_began,
        attempts = excluded.attempts, next_due = excluded.next_due, outcome = excluded.outcome,
        last_run = excluded.last_run, last_number = excluded.last_number";
    file.prepare_cached(put)?.execute(params![
        key.event,
        key.endpoint,
        key.part,
        delivery.id.as_bytes(),
        delivery.tenant,
        signed(delivery.accepted_at),
        delivery.subscriptions,
        delivery.shape,
        delivery.state as i64,
        delivery.reason.map(DeadReason::as_str),
        delivery.run,
        signed(delivery.run_began),
        delivery.attempts,
        delivery.next_due.map(signed),
        delivery.outcome.map(OutcomeClass::as_str),
        delivery.last.map(|(run, _)| signed(run)),
        delivery.last.map(|(_, number)| number),
    ])?;
    Ok(())
}

/// The columns of an event, in the order in which they are read.
pub(super) const EVENT_COLUMNS: &str = "no, tenant, id, type, source, accepted_at, occurred_at, channel, queue, ticket, protocol, contact, \
    matched, is_erased";

pub(super) fn read_event(row: &Row<'_>) -> rusqlite::Result<EventRow> {
    Ok(EventRow {
        no: row.get(0)?,
        tenant: row.get(1)?,
        id: row.get(2)?,
        event_type: row.get(3)?,
        source: row.get(4)?,
        accepted_at: row.get::<_, i64>(5)?.unsigned_abs(),
        occurred_at: row.get::<_, i64>(6)?.unsigned_abs(),
        channel: row.get(7)?,
        queue: row.get(8)?,
        ticket: row.get(9)?,
        protocol: row.get(10)?,
        contact: row.get(11)?,
        matched: row.get(12)?,
        is_erased: row.get(13)?,
    })
}

pub(super) fn find_event(file: &Connection, no: i64) -> Result<Option<EventRow>, HistoryError> {
    let select = format!("SELECT {EVENT_COLUMNS} FROM events WHERE no = ?1");
    Ok(file.prepare_cached(&select)?.query_row([no], read_event).optional()?)
}
