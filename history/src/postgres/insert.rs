//! Copies what a batch changes into temporary tables, and inserts it from there.

use std::collections::HashMap;

use schemas::{DeadReason, OutcomeClass};
use service::postgres::{DatabaseError, LONG, PostgresSession};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{
    counts,
    rows::{self, small},
};
use crate::{
    day::Day,
    draft::{Counts, NewBody, NewEvent},
    row::{AttemptRow, DeliveryKey, DeliveryRow, signed},
};

/// What a batch changes on one day.
pub(super) struct DayRecords {
    pub(super) day: Day,
    /// Events with their numbers.
    pub(super) events: Vec<(i64, NewEvent)>,
    pub(super) attempts: Vec<(DeliveryKey, AttemptRow)>,
    pub(super) deliveries: HashMap<DeliveryKey, DeliveryRow>,
    pub(super) bodies: Vec<NewBody>,
    pub(super) counts: Counts,
}

pub(super) async fn records(session: &PostgresSession, days: Vec<DayRecords>) -> Result<(), DatabaseError> {
    let (mut events, mut deliveries, mut attempts, mut bodies) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for changed in days {
        let day = changed.day;
        events.extend(changed.events.into_iter().map(|(no, event)| EventValues::of(day, no, event)));
        deliveries.extend(changed.deliveries.into_iter().map(|(key, row)| DeliveryValues::of(day, key, row)));
        attempts.extend(changed.attempts.into_iter().map(|(key, row)| AttemptValues::of(day, key, row)));
        bodies.extend(changed.bodies.into_iter().map(|body| BodyValues { day, body }));
        counts::add(session, day, changed.counts).await?;
    }
    let updated = "ON CONFLICT (id, tenant, day) DO UPDATE SET source = excluded.source,
        occurred_at = excluded.occurred_at, channel = excluded.channel, queue = excluded.queue, ticket = excluded.ticket,
        protocol = excluded.protocol, contact = excluded.contact, unmatched = excluded.unmatched, shape = excluded.shape,
        is_whole = true WHERE excluded.is_whole AND NOT events.is_whole";
    insert(session, "events", &events, EventValues::values, updated).await?;
    let updated = "ON CONFLICT (event, endpoint, part, day) DO UPDATE SET subscriptions = excluded.subscriptions,
        shape = excluded.shape, state = excluded.state, reason = excluded.reason, run = excluded.run,
        run_began = excluded.run_began, attempts = excluded.attempts, next_due = excluded.next_due,
        outcome = excluded.outcome, last_run = excluded.last_run, last_number = excluded.last_number";
    insert(session, "deliveries", &deliveries, DeliveryValues::values, updated).await?;
    let once = "ON CONFLICT DO NOTHING";
    insert(session, "attempts", &attempts, AttemptValues::values, once).await?;
    insert(session, "bodies", &bodies, BodyValues::values, once).await
}

/// Inserts rows into a table by way of its temporary twin, which has the same columns in the same order.
async fn insert<R, const N: usize>(
    session: &PostgresSession,
    table: &str,
    rows: &[R],
    values: impl for<'r> Fn(&'r R) -> [&'r (dyn ToSql + Sync); N],
    on_conflict: &str,
) -> Result<(), DatabaseError> {
    if rows.is_empty() {
        return Ok(());
    }
    session.copy_in(LONG, &format!("new_{table}"), rows, values).await?;
    let insert = format!("INSERT INTO {table} SELECT * FROM new_{table} {on_conflict}");
    session.execute(LONG, &insert, &[]).await?;
    Ok(())
}

struct EventValues {
    day: Day,
    no: i64,
    event: NewEvent,
    contact: Option<Vec<u8>>,
}

impl EventValues {
    fn of(day: Day, no: i64, event: NewEvent) -> Self {
        let text = |text: Option<String>| text.map(|text| rows::text(&text));
        let NewEvent { source, channel, queue, ticket, protocol, .. } = event;
        let [channel, queue, ticket, protocol] = [channel, queue, ticket, protocol].map(text);
        let contact = event.contact.map(Vec::from);
        let event = NewEvent { source: rows::text(&source), channel, queue, ticket, protocol, ..event };
        Self { day, no, event, contact }
    }

    fn values(&self) -> [&(dyn ToSql + Sync); 18] {
        let Self { day, no, event, contact } = self;
        let NewEvent { tenant, accepted_at, occurred_at, shape, matched, is_whole, id, event_type, source, .. } = event;
        let NewEvent { channel, queue, ticket, protocol, unmatched, .. } = event;
        [
            day,
            no,
            tenant,
            accepted_at,
            occurred_at,
            shape,
            matched,
            is_whole,
            &false,
            id,
            event_type,
            source,
            channel,
            queue,
            ticket,
            protocol,
            contact,
            unmatched,
        ]
    }
}

struct DeliveryValues {
    day: Day,
    key: DeliveryKey,
    tenant: i64,
    accepted_at: i64,
    run_began: i64,
    last_run: Option<i64>,
    next_due: Option<i64>,
    shape: Option<i64>,
    run: i32,
    attempts: i32,
    last_number: Option<i32>,
    state: i16,
    id: Uuid,
    reason: Option<&'static str>,
    outcome: Option<&'static str>,
    subscriptions: String,
}

impl DeliveryValues {
    fn of(day: Day, key: DeliveryKey, row: DeliveryRow) -> Self {
        Self {
            day,
            key,
            tenant: row.tenant,
            accepted_at: signed(row.accepted_at),
            run_began: signed(row.run_began),
            last_run: row.last.map(|(run, _)| signed(run)),
            next_due: row.next_due.map(signed),
            shape: row.shape,
            run: small(row.run),
            attempts: small(row.attempts),
            last_number: row.last.map(|(_, number)| small(number)),
            state: row.state as i16,
            id: row.id,
            reason: row.reason.map(DeadReason::as_str),
            outcome: row.outcome.map(OutcomeClass::as_str),
            subscriptions: row.subscriptions,
        }
    }

    fn values(&self) -> [&(dyn ToSql + Sync); 18] {
        let Self { day, key, tenant, accepted_at, run_began, last_run, next_due, shape, run, .. } = self;
        let Self { attempts, last_number, state, id, reason, outcome, subscriptions, .. } = self;
        let DeliveryKey { event, endpoint, part } = key;
        [
            day,
            event,
            endpoint,
            tenant,
            accepted_at,
            run_began,
            last_run,
            next_due,
            shape,
            run,
            attempts,
            last_number,
            state,
            id,
            part,
            reason,
            outcome,
            subscriptions,
        ]
    }
}

struct AttemptValues {
    day: Day,
    key: DeliveryKey,
    row: AttemptRow,
    number: i32,
    deferrals: i32,
}

impl AttemptValues {
    fn of(day: Day, key: DeliveryKey, row: AttemptRow) -> Self {
        let (number, deferrals) = (small(row.number), small(row.deferrals));
        Self { day, key, row, number, deferrals }
    }

    fn values(&self) -> [&(dyn ToSql + Sync); 10] {
        let Self { day, key, row, number, deferrals } = self;
        let DeliveryKey { event, endpoint, part } = key;
        let AttemptRow { run_began, at, next_due, post, .. } = row;
        [day, event, endpoint, run_began, at, next_due, number, deferrals, part, post]
    }
}

struct BodyValues {
    day: Day,
    body: NewBody,
}

impl BodyValues {
    fn values(&self) -> [&(dyn ToSql + Sync); 6] {
        let NewBody { event, tenant, accepted_at, shape, packed, .. } = &self.body;
        [&self.day, event, tenant, accepted_at, shape, packed]
    }
}
