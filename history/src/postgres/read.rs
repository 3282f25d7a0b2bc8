//! Answers, from the partitions of the days that are meant, newest first.
//!
//! A few days are asked at once, over one connection: most pages end on the first of them, and a search for something rare asks
//! all of them without waiting for each.

use std::{ops::ControlFlow, pin::Pin};

use bytes::Bytes;
use futures_util::future::try_join_all;
use service::postgres::{DatabaseError, PostgresSession, QUICK};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{
    days::{self, partition},
    names::NameCache,
    rows::{self, ATTEMPT_COLUMNS, DELIVERY_COLUMNS, EVENT_COLUMNS, EVENT_WIDTH},
    scan::{FoundDelivery, Scan},
};
use crate::{
    Cursor, DeliveryItem, DeliveryStory, EventItem, EventStory, HistoryError, MAX_PAGE, Page, PageRequest, body,
    day::Day,
    item::{delivery_item, event_item, story},
    names::Names,
    row::{AttemptRow, DeliveryKey, DeliveryRow, EventRow, signed},
    search::{Found, PageDraft, Place, Search},
    stats::DAY_MS,
};

/// Rows that the first days of a page look at, at most: some 50 ms. Each further group of days has half of it.
const BUDGET: usize = 10_000;
/// Rows that a day looks at, however many days there are.
const LEAST_SHARE: usize = 200;
/// Days that are asked at once: first one, and then four times as many each time.
const MORE_DAYS: usize = 4;

type Scanned<'a, T> = Pin<Box<dyn Future<Output = Result<Found<T>, DatabaseError>> + Send + 'a>>;

pub(super) async fn deliveries(
    session: &PostgresSession,
    cache: &NameCache,
    asked: &PageRequest,
) -> Result<Page<DeliveryItem>, HistoryError> {
    let names = cache.current(session).await?;
    let (found, next) = list(session, names, asked, |scan| Box::pin(async move { scan.deliveries().await })).await?;
    let items = with_last_attempts(session, names, found).await?;
    Ok(Page { items, next })
}

pub(super) async fn events(
    session: &PostgresSession,
    cache: &NameCache,
    asked: &PageRequest,
) -> Result<Page<EventItem>, HistoryError> {
    let names = cache.current(session).await?;
    let (found, next) = list(session, names, asked, |scan| Box::pin(async move { scan.events().await })).await?;
    let visible = found.into_iter().filter(|(_, event)| names.tenant_name(event.tenant).is_some());
    Ok(Page { items: visible.map(|(_, event)| event_item(names, event)).collect(), next })
}

/// Collects a page over all ways and days, newest first.
async fn list<T: Send>(
    session: &PostgresSession,
    names: &Names,
    asked: &PageRequest,
    scan: impl for<'a> Fn(Scan<'a>) -> Scanned<'a, T>,
) -> Result<(Vec<(Day, T)>, Option<Cursor>), HistoryError> {
    let mut ways = Search::of(&asked.filter, names);
    for Search { event_id, ticket, protocol, channel, queue, event_type, .. } in &mut ways {
        for asked in [event_id, ticket, protocol, channel, queue, event_type].into_iter().flatten() {
            *asked = rows::text(asked);
        }
    }
    let after = asked.after.as_ref().and_then(Place::read);
    let touches = |day: &Day, way: &Search| way.touches(day.began(), day.began() + DAY_MS);
    let mut days: Vec<_> = days::list(session)
        .await?
        .records
        .into_iter()
        .filter(|day| after.as_ref().is_none_or(|after| day.began() <= after.accepted_at))
        .filter(|day| ways.iter().any(|way| touches(day, way)))
        .collect();
    let mut page = PageDraft::new(asked.limit.clamp(1, MAX_PAGE));
    let (mut budget, mut at_once) = (BUDGET, 1);
    while !days.is_empty() {
        let some = days.split_off(days.len().saturating_sub(at_once));
        let scans =
            some.iter().rev().flat_map(|day| ways.iter().filter(|way| touches(day, way)).map(|way| (*day, way)));
        let scans: Vec<_> = scans.collect();
        let limit = page.missing();
        let share = (budget / scans.len().max(1)).max(limit.min(LEAST_SHARE));
        let found = scans.iter().map(|(day, search)| {
            let (day, search, after) = (*day, *search, after.as_ref());
            let found = scan(Scan { session, search, day, after, limit, budget: share });
            async move { days::unless_dropped(session, day, found.await).await.map(|found| (day, found)) }
        });
        let mut found = try_join_all(found).await?;
        for day in some.into_iter().rev() {
            let of_day = found.extract_if(.., |(of, _)| *of == day).map(|(_, found)| with_day(day, found)).collect();
            if let ControlFlow::Break(next) = page.add(of_day) {
                return Ok((page.into_items(), next));
            }
        }
        at_once *= MORE_DAYS;
        budget /= 2;
    }
    Ok((page.into_items(), None))
}

fn with_day<T>(day: Day, found: Found<T>) -> Found<(Day, T)> {
    let items = found.items.into_iter().map(|(place, item)| (place, (day, item))).collect();
    Found { items, stopped: found.stopped }
}

/// Makes items of what was found. Tenants that are forgotten have none.
async fn with_last_attempts(
    session: &PostgresSession,
    names: &Names,
    found: Vec<(Day, FoundDelivery)>,
) -> Result<Vec<DeliveryItem>, DatabaseError> {
    let mut days: Vec<_> = found.iter().map(|(day, _)| *day).collect();
    days.dedup();
    let attempts = days.into_iter().map(|day| {
        let keys =
            found.iter().filter(move |(of, _)| *of == day).filter_map(|(_, (_, key, row))| Some((key, row.last?)));
        last_attempts(session, day, keys.collect())
    });
    let mut attempts: Vec<_> = try_join_all(attempts).await?.into_iter().flatten().collect();
    let items = found.into_iter().filter(|(_, (event, ..))| names.tenant_name(event.tenant).is_some());
    let items = items.map(|(_, (event, key, row))| {
        let last = attempts.iter().position(|(of, _)| *of == key).map(|at| attempts.swap_remove(at).1);
        delivery_item(names, event, &key, &row, last)
    });
    Ok(items.collect())
}

async fn last_attempts(
    session: &PostgresSession,
    day: Day,
    asked: Vec<(&DeliveryKey, (u64, u32))>,
) -> Result<Vec<(DeliveryKey, AttemptRow)>, DatabaseError> {
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let events: Vec<_> = asked.iter().map(|(key, _)| key.event).collect();
    let endpoints: Vec<_> = asked.iter().map(|(key, _)| key.endpoint).collect();
    let parts: Vec<_> = asked.iter().map(|(key, _)| &*key.part).collect();
    let runs: Vec<_> = asked.iter().map(|(_, (run, _))| signed(*run)).collect();
    let numbers: Vec<_> = asked.iter().map(|(_, (_, number))| rows::small(*number)).collect();
    let sql = format!(
        "SELECT a.event, a.endpoint, a.part, {ATTEMPT_COLUMNS}
         FROM unnest($1::int8[], $2::int8[], $3::text[], $4::int8[], $5::int4[])
             AS asked (event, endpoint, part, run_began, number)
         JOIN {} a USING (event, endpoint, part, run_began, number)",
        partition("attempts", day)
    );
    let given = &[
        (&events as _, Type::INT8_ARRAY),
        (&endpoints as _, Type::INT8_ARRAY),
        (&parts as _, Type::TEXT_ARRAY),
        (&runs as _, Type::INT8_ARRAY),
        (&numbers as _, Type::INT4_ARRAY),
    ];
    let rows = session.query(QUICK, &sql, given).await;
    let rows = days::unless_dropped(session, day, rows).await?;
    let read = |row: &tokio_postgres::Row| {
        (DeliveryKey { event: row.get(0), endpoint: row.get(1), part: row.get(2) }, rows::attempt(row, 3))
    };
    Ok(rows.iter().map(read).collect())
}

pub(super) async fn delivery(
    session: &PostgresSession,
    cache: &NameCache,
    tenant: &str,
    id: Uuid,
) -> Result<Option<DeliveryStory>, HistoryError> {
    let names = cache.current(session).await?;
    let Some((tenant, _)) = names.tenant(tenant) else { return Ok(None) };
    let days = days::list(session).await?;
    let found = days.records.iter().map(|day| async move {
        let sql = format!(
            "SELECT {EVENT_COLUMNS}, {DELIVERY_COLUMNS} FROM {} d JOIN {} e ON e.no = d.event
             WHERE d.id = $1 AND d.tenant = $2",
            partition("deliveries", *day),
            partition("events", *day)
        );
        let rows = session.query(QUICK, &sql, &[(&id, Type::UUID), (&tenant, Type::INT8)]).await;
        days::unless_dropped(session, *day, rows).await.map(|rows| (*day, rows))
    });
    let found = try_join_all(found).await?.into_iter().rev().find(|(_, rows)| !rows.is_empty());
    let Some((day, rows)) = found else { return Ok(None) };
    let read = |row: &tokio_postgres::Row| Some((rows::event(row, 0), rows::delivery(row, EVENT_WIDTH)?));
    let Some((event, (key, row))) = rows.first().and_then(read) else { return Ok(None) };
    let attempts = attempts(session, day, &key).await?;
    let body = match row.shape.filter(|_| days.bodies.contains(&day)) {
        Some(shape) => read_body(session, day, event.no, shape).await?,
        None => None,
    };
    let last = row.last.and_then(|(run, number)| {
        attempts.iter().find(|one| (one.run_began, one.number) == (signed(run), number)).cloned()
    });
    let is_erased = event.is_erased;
    let item = delivery_item(names, event, &key, &row, last);
    Ok(Some(DeliveryStory { body, ..story(item, &row, attempts, is_erased) }))
}

pub(super) async fn event(
    session: &PostgresSession,
    cache: &NameCache,
    tenant: &str,
    id: &str,
) -> Result<Option<EventStory>, HistoryError> {
    let names = cache.current(session).await?;
    let Some((tenant, _)) = names.tenant(tenant) else { return Ok(None) };
    let (days, id) = (days::list(session).await?, &rows::text(id));
    let found = days.records.iter().map(|day| async move {
        let events = partition("events", *day);
        let sql =
            format!("SELECT {EVENT_COLUMNS}, e.unmatched, e.shape FROM {events} e WHERE e.id = $1 AND e.tenant = $2");
        let rows = session.query(QUICK, &sql, &[(&id, Type::TEXT), (&tenant, Type::INT8)]).await;
        days::unless_dropped(session, *day, rows).await.map(|rows| (*day, rows))
    });
    let found = try_join_all(found).await?.into_iter().rev().find(|(_, rows)| !rows.is_empty());
    let Some((day, rows)) = found else { return Ok(None) };
    let Some(row) = rows.first() else { return Ok(None) };
    let event = rows::event(row, 0);
    let unmatched: Option<&str> = row.get(EVENT_WIDTH);
    let shape: Option<body::Shape> = row.get(EVENT_WIDTH + 1);
    let body = match shape.filter(|_| days.bodies.contains(&day)) {
        Some(shape) => read_body(session, day, event.no, shape).await?,
        None => None,
    };
    let found = deliveries_of(session, day, &event).await?;
    Ok(Some(EventStory {
        body,
        unmatched: unmatched.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default(),
        deliveries: with_last_attempts(session, names, found).await?,
        event: event_item(names, event),
    }))
}

/// The deliveries of an event, in the order of lists.
async fn deliveries_of(
    session: &PostgresSession,
    day: Day,
    event: &EventRow,
) -> Result<Vec<(Day, FoundDelivery)>, DatabaseError> {
    let sql = format!(
        "SELECT {DELIVERY_COLUMNS} FROM {} d WHERE d.event = $1 ORDER BY d.endpoint DESC, d.part DESC",
        partition("deliveries", day)
    );
    let rows = session.query(QUICK, &sql, &[(&event.no, Type::INT8)]).await?;
    let read = rows.iter().filter_map(|row| rows::delivery(row, 0));
    Ok(read.map(|(key, row): (DeliveryKey, DeliveryRow)| (day, (event.clone(), key, row))).collect())
}

/// The attempts of a delivery, in the order in which they were made.
async fn attempts(session: &PostgresSession, day: Day, key: &DeliveryKey) -> Result<Vec<AttemptRow>, DatabaseError> {
    let sql = format!(
        "SELECT {ATTEMPT_COLUMNS} FROM {} a WHERE a.event = $1 AND a.endpoint = $2 AND a.part = $3
         ORDER BY a.run_began, a.number",
        partition("attempts", day)
    );
    let given = &[(&key.event as _, Type::INT8), (&key.endpoint as _, Type::INT8), (&key.part as _, Type::TEXT)];
    let rows = session.query(QUICK, &sql, given).await?;
    Ok(rows.iter().map(|row| rows::attempt(row, 0)).collect())
}

async fn read_body(
    session: &PostgresSession,
    day: Day,
    event: i64,
    shape: body::Shape,
) -> Result<Option<Bytes>, DatabaseError> {
    let sql = format!("SELECT body FROM {} WHERE event = $1 AND shape = $2", partition("bodies", day));
    let rows = session.query(QUICK, &sql, &[(&event, Type::INT8), (&shape, Type::INT8)]).await?;
    Ok(rows.first().and_then(|row| body::unpack(row.get(0))))
}
