//! Erasing: bodies, answers, headers and the contact's token go, and that something was sent stays. Also what removes a tenant,
//! and what is older than a tenant wants.
//!
//! It is paced: each piece is a short transaction, and between two of them records are written.

use std::time::Duration;

use service::postgres::{DatabaseError, LONG, PostgresSession, QUICK};
use tokio_postgres::types::{ToSql, Type};

use super::{
    days::{self, begin_to_write, partition},
    rows,
};
use crate::{
    ContactToken, Erased, HistoryError,
    day::Day,
    row::{blank, pack_post, signed, unpack_post},
    stats::HOUR_MS,
};

/// Events of one transaction.
const AT_ONCE: usize = 200;
/// Bodies of one transaction.
const BODIES_AT_ONCE: u64 = 500;

/// Longest time of the vacuum of one day.
pub(super) const VACUUM_LIMIT: Duration = Duration::from_secs(10 * 60);

/// Whose events are erased.
pub(super) enum ErasedEvents {
    Contact(ContactToken),
    Events(Vec<String>),
}

/// Erases up to [`AT_ONCE`] events of a day. Returns what was erased, and whether there may be more.
pub(super) async fn erase_some(
    session: &PostgresSession,
    day: Day,
    tenant: i64,
    whose: &ErasedEvents,
) -> Result<(Erased, bool), HistoryError> {
    begin_to_write(session).await?;
    let erased = erase_within(session, day, tenant, whose).await;
    session.end(erased).await
}

async fn erase_within(
    session: &PostgresSession,
    day: Day,
    tenant: i64,
    whose: &ErasedEvents,
) -> Result<(Erased, bool), HistoryError> {
    let token;
    let (condition, value, kind): (_, &(dyn ToSql + Sync), _) = match whose {
        ErasedEvents::Contact(contact) => {
            token = &contact[..];
            ("contact = $2", &token, Type::BYTEA)
        }
        ErasedEvents::Events(ids) => ("id = ANY ($2) AND NOT is_erased", ids, Type::TEXT_ARRAY),
    };
    let events_of_day = partition("events", day);
    let sql = format!(
        "UPDATE {events_of_day} SET is_erased = true, contact = NULL
         WHERE no = ANY (ARRAY(SELECT no FROM {events_of_day} WHERE tenant = $1 AND {condition} LIMIT {AT_ONCE}))
         RETURNING no"
    );
    let found = session.query(LONG, &sql, &[(&tenant, Type::INT8), (value, kind)]).await?;
    let events: Vec<i64> = found.iter().map(|row| row.get(0)).collect();
    if events.is_empty() {
        return Ok((Erased::default(), false));
    }
    blank_posts(session, day, &events).await?;
    delete(session, "bodies", day, &events).await?;
    let sql = format!("SELECT count(*) FROM {} WHERE event = ANY ($1)", partition("deliveries", day));
    let rows = session.query(QUICK, &sql, &[(&events, Type::INT8_ARRAY)]).await?;
    let deliveries = rows.first().map_or(0, |row| rows::unsigned(row.get(0)));
    Ok((Erased { events: events.len() as u64, deliveries }, events.len() == AT_ONCE))
}

async fn blank_posts(session: &PostgresSession, day: Day, events: &[i64]) -> Result<(), HistoryError> {
    let table = partition("attempts", day);
    let sql = format!(
        "SELECT event, endpoint, part, run_began, number, post FROM {table} WHERE event = ANY ($1) AND post IS NOT NULL"
    );
    let found = session.query(LONG, &sql, &[(&events, Type::INT8_ARRAY)]).await?;
    let sql = format!(
        "UPDATE {table} SET post = $6 WHERE event = $1 AND endpoint = $2 AND part = $3 AND run_began = $4 AND number = $5"
    );
    for row in found {
        // What cannot be read is removed.
        let packed = unpack_post(row.get(5)).map(|mut post| {
            blank(&mut post);
            pack_post(&post)
        });
        let (event, endpoint, run_began): (i64, i64, i64) = (row.get(0), row.get(1), row.get(3));
        let (part, number): (&str, i32) = (row.get(2), row.get(4));
        let given = &[
            (&event as _, Type::INT8),
            (&endpoint as _, Type::INT8),
            (&part as _, Type::TEXT),
            (&run_began as _, Type::INT8),
            (&number as _, Type::INT4),
            (&packed as _, Type::BYTEA),
        ];
        session.execute(QUICK, &sql, given).await?;
    }
    Ok(())
}

/// Removes up to [`AT_ONCE`] events of a tenant that were accepted before a time, with everything of theirs, and the counts once
/// there is none. True when there may be more.
pub(super) async fn remove_some(
    session: &PostgresSession,
    day: Day,
    tenant: i64,
    before: u64,
) -> Result<bool, HistoryError> {
    let before = signed(before);
    let events_of_day = partition("events", day);
    let sql = format!("SELECT no FROM {events_of_day} WHERE tenant = $1 AND accepted_at < $2 LIMIT {AT_ONCE}");
    let found = session.query(QUICK, &sql, &[(&tenant, Type::INT8), (&before, Type::INT8)]).await?;
    let events: Vec<i64> = found.iter().map(|row| row.get(0)).collect();
    if events.is_empty() {
        let sql = format!("DELETE FROM {} WHERE tenant = $1 AND hour < $2", partition("counts", day));
        let hour = before / HOUR_MS as i64;
        session.execute(LONG, &sql, &[(&tenant, Type::INT8), (&hour, Type::INT8)]).await?;
        return Ok(false);
    }
    begin_to_write(session).await?;
    let removed = async {
        for table in ["bodies", "attempts", "deliveries"] {
            delete(session, table, day, &events).await?;
        }
        let sql = format!("DELETE FROM {events_of_day} WHERE no = ANY ($1)");
        session.execute(LONG, &sql, &[(&events, Type::INT8_ARRAY)]).await
    };
    let removed = removed.await;
    session.end(removed).await?;
    Ok(true)
}

/// Removes up to [`BODIES_AT_ONCE`] bodies of a tenant's events that were accepted before a time. Returns how many, and whether
/// there may be more.
pub(super) async fn remove_bodies(
    session: &PostgresSession,
    day: Day,
    tenant: i64,
    before: u64,
) -> Result<(u64, bool), HistoryError> {
    let table = partition("bodies", day);
    let sql = format!(
        "DELETE FROM {table} WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM {table} WHERE tenant = $1 AND accepted_at < $2 LIMIT {BODIES_AT_ONCE}))"
    );
    let given = &[(&tenant as _, Type::INT8), (&signed(before) as _, Type::INT8)];
    let removed = session.execute(LONG, &sql, given).await?;
    Ok((removed, removed == BODIES_AT_ONCE))
}

/// Deletes what a table has of events. Of a day without such a partition there is nothing.
async fn delete(session: &PostgresSession, table: &str, day: Day, events: &[i64]) -> Result<(), DatabaseError> {
    let sql = format!("DELETE FROM {table} WHERE day = $1 AND event = ANY ($2)");
    session.execute(LONG, &sql, &[(&day, Type::DATE), (&events, Type::INT8_ARRAY)]).await.map(drop)
}

/// Removes dead rows of a day from its tables and from their indexes, which by default keep entries of a few dead rows. Rows that
/// an older transaction may still read stay, until autovacuum. It stops nobody who reads or writes.
pub(super) async fn vacuum(session: &PostgresSession, day: Day) -> Result<(), DatabaseError> {
    let partitions = days::partitions(session, day).await?;
    if partitions.is_empty() {
        return Ok(());
    }
    let sql = format!("VACUUM (INDEX_CLEANUP ON) {}", partitions.join(", "));
    session.execute(VACUUM_LIMIT, &sql, &[]).await.map(drop)
}
