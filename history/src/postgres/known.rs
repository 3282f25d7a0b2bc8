//! What the database has of a batch's events on one day, and what the batch adds to it.

use std::collections::{HashMap, HashSet};

use service::postgres::{DatabaseError, LONG, PostgresSession, QUICK};
use tokio_postgres::types::Type;

use super::{
    days::partition,
    names::BatchNames,
    rows::{self, DELIVERY_COLUMNS},
};
use crate::{
    HistoryError, Record,
    day::Day,
    draft::{DayRows, KnownEvent, NewEvent, NumberedRecord},
    row::{AttemptRow, DeliveryKey, DeliveryRow},
};

/// An attempt: its delivery, its life and its number.
type AttemptKey = (DeliveryKey, i64, i32);
/// Events with their numbers, and attempts with their deliveries.
pub(super) type Inserted = (Vec<(i64, NewEvent)>, Vec<(DeliveryKey, AttemptRow)>);

pub(super) struct KnownRows<'a> {
    names: &'a BatchNames,
    events: HashMap<(i64, String), KnownEvent>,
    deliveries: HashMap<DeliveryKey, DeliveryRow>,
    attempts: HashSet<AttemptKey>,
    /// Numbers for events that are new.
    numbers: Vec<i64>,
    new_events: Vec<(i64, NewEvent)>,
    new_attempts: Vec<(DeliveryKey, AttemptRow)>,
}

impl<'a> KnownRows<'a> {
    pub(super) async fn read(
        session: &PostgresSession,
        day: Day,
        names: &'a BatchNames,
        records: &[NumberedRecord],
    ) -> Result<Self, HistoryError> {
        let asked: HashSet<(i64, &str)> = records.iter().map(|one| (one.tenant, event_id(&one.record))).collect();
        let events = events(session, day, &asked).await?;
        let numbers = numbers(session, asked.len() - events.len()).await?;
        let known: Vec<i64> = events.values().map(|event| event.no).collect();
        let mut known_rows = Self {
            names,
            events,
            deliveries: HashMap::new(),
            attempts: HashSet::new(),
            numbers,
            new_events: Vec::new(),
            new_attempts: Vec::new(),
        };
        if !known.is_empty() {
            known_rows.deliveries = deliveries(session, day, &known).await?;
            known_rows.attempts = attempts(session, day, &known).await?;
        }
        Ok(known_rows)
    }

    pub(super) fn inserted(self) -> Inserted {
        (self.new_events, self.new_attempts)
    }
}

impl DayRows for KnownRows<'_> {
    fn endpoint(&self, tenant: i64, id: &str) -> Result<i64, HistoryError> {
        self.names.endpoint(tenant, id).ok_or_else(|| HistoryError("an endpoint has no number".to_owned()))
    }

    fn find_event(&mut self, tenant: i64, id: &str) -> Result<Option<KnownEvent>, HistoryError> {
        Ok(self.events.get(&(tenant, id.to_owned())).copied())
    }

    fn find_delivery(&mut self, key: &DeliveryKey) -> Result<Option<DeliveryRow>, HistoryError> {
        Ok(self.deliveries.remove(key))
    }

    fn insert_event(&mut self, event: NewEvent) -> Result<i64, HistoryError> {
        let no = self.numbers.pop().ok_or_else(|| HistoryError("an event has no number".to_owned()))?;
        self.new_events.push((no, event));
        Ok(no)
    }

    fn fill_event(&mut self, no: i64, event: NewEvent) -> Result<(), HistoryError> {
        self.new_events.push((no, event));
        Ok(())
    }

    fn insert_attempt(&mut self, key: &DeliveryKey, attempt: AttemptRow) -> Result<bool, HistoryError> {
        let is_new = self.attempts.insert((key.clone(), attempt.run_began, rows::small(attempt.number)));
        if is_new {
            self.new_attempts.push((key.clone(), attempt));
        }
        Ok(is_new)
    }
}

fn event_id(record: &Record) -> &str {
    match record {
        Record::Event(event) => event.id.as_str(),
        Record::Attempt(attempt) => attempt.delivery.event_id.as_str(),
        Record::Run(run) => run.delivery.event_id.as_str(),
    }
}

async fn events(
    session: &PostgresSession,
    day: Day,
    asked: &HashSet<(i64, &str)>,
) -> Result<HashMap<(i64, String), KnownEvent>, DatabaseError> {
    let (tenants, ids): (Vec<i64>, Vec<&str>) = asked.iter().copied().unzip();
    let sql = format!(
        "SELECT e.tenant, e.id, e.no, e.is_whole, e.is_erased
         FROM unnest($1::int8[], $2::text[]) AS asked (tenant, id)
         JOIN {} e ON e.id = asked.id AND e.tenant = asked.tenant",
        partition("events", day)
    );
    let given = &[(&tenants as _, Type::INT8_ARRAY), (&ids as _, Type::TEXT_ARRAY)];
    let rows = session.query(LONG, &sql, given).await?;
    let known = rows.iter().map(|row| {
        let event = KnownEvent { no: row.get(2), is_whole: row.get(3), is_erased: row.get(4) };
        ((row.get(0), row.get(1)), event)
    });
    Ok(known.collect())
}

async fn numbers(session: &PostgresSession, count: usize) -> Result<Vec<i64>, DatabaseError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let sql = "SELECT nextval('event_numbers') FROM generate_series(1, $1)";
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    let rows = session.query(QUICK, sql, &[(&count, Type::INT4)]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn deliveries(
    session: &PostgresSession,
    day: Day,
    events: &[i64],
) -> Result<HashMap<DeliveryKey, DeliveryRow>, DatabaseError> {
    let table = partition("deliveries", day);
    let sql = format!("SELECT {DELIVERY_COLUMNS} FROM {table} d WHERE d.event = ANY ($1)");
    let rows = session.query(LONG, &sql, &[(&events, Type::INT8_ARRAY)]).await?;
    Ok(rows.iter().filter_map(|row| rows::delivery(row, 0)).collect())
}

async fn attempts(session: &PostgresSession, day: Day, events: &[i64]) -> Result<HashSet<AttemptKey>, DatabaseError> {
    let table = partition("attempts", day);
    let sql = format!("SELECT event, endpoint, part, run_began, number FROM {table} WHERE event = ANY ($1)");
    let rows = session.query(LONG, &sql, &[(&events, Type::INT8_ARRAY)]).await?;
    let key = |row: &tokio_postgres::Row| {
        (DeliveryKey { event: row.get(0), endpoint: row.get(1), part: row.get(2) }, row.get(3), row.get(4))
    };
    Ok(rows.iter().map(key).collect())
}
