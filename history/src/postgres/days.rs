//! The partitions of a day: made ahead of time, and dropped whole.

use std::time::Duration;

use service::postgres::{DatabaseError, LONG, PostgresSession, QUICK};
use tokio_postgres::types::{IsNull, ToSql, Type, accepts, private::BytesMut, to_sql_checked};

use crate::day::Day;

/// Days that have partitions before they begin, today included.
const AHEAD: i64 = 3;
/// Time for which a drop waits for those who use its tables. Whoever comes meanwhile waits behind it.
const DROP_WAITS: Duration = Duration::from_millis(500);
/// Days from 1970 to 2000, from which PostgreSQL counts.
const EPOCH: i64 = 10_957;

/// The tables with a partition for each day, those of the bodies last.
const TABLES: [&str; 5] = ["events", "deliveries", "attempts", "counts", "bodies"];
const BODIES: &str = "bodies";

/// The lock of whoever changes records: one at a time, whatever process it is in. Its number is arbitrary.
const WRITE_LOCK: &str = "SELECT pg_advisory_xact_lock(7165134021845)";

/// The days that have partitions, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Days {
    pub(super) records: Vec<Day>,
    pub(super) bodies: Vec<Day>,
}

/// The name of a day's partition.
pub(super) fn partition(table: &str, day: Day) -> String {
    format!("{table}_{}", day.name().replace('-', "_"))
}

pub(super) async fn list(session: &PostgresSession) -> Result<Days, DatabaseError> {
    let sql = "SELECT relname::text FROM pg_catalog.pg_inherits JOIN pg_catalog.pg_class ON oid = inhrelid
        WHERE inhparent IN ('carteiro_history.events'::regclass, 'carteiro_history.bodies'::regclass)";
    let mut days = Days::default();
    for row in session.query(QUICK, sql, &[]).await? {
        let name: String = row.get(0);
        let Some((table, day)) = name.split_once('_') else { continue };
        let Some(day) = Day::parse(&day.replace('_', "-")) else { continue };
        if table == BODIES { days.bodies.push(day) } else { days.records.push(day) }
    }
    days.records.sort_unstable();
    days.bodies.sort_unstable();
    Ok(days)
}

/// The names of the partitions that a day has.
pub(super) async fn partitions(session: &PostgresSession, day: Day) -> Result<Vec<String>, DatabaseError> {
    let days = list(session).await?;
    let exists = |table: &&str| if *table == BODIES { &days.bodies } else { &days.records }.contains(&day);
    Ok(TABLES.into_iter().filter(exists).map(|table| partition(table, day)).collect())
}

/// Begins a transaction in which nobody else changes records.
pub(super) async fn begin_to_write(session: &PostgresSession) -> Result<(), DatabaseError> {
    session.begin().await?;
    session.query(QUICK, WRITE_LOCK, &[]).await.map(drop)
}

/// Makes the partitions of days that have none.
pub(super) async fn make(
    session: &PostgresSession,
    wanted: impl IntoIterator<Item = Day>,
) -> Result<(), DatabaseError> {
    let days = list(session).await?;
    for day in wanted {
        let tables: Vec<_> = TABLES
            .into_iter()
            .filter(|table| match *table {
                BODIES => !days.bodies.contains(&day),
                _ => !days.records.contains(&day),
            })
            .collect();
        if !tables.is_empty() {
            begin_to_write(session).await?;
            let made = session.batch(&creation(day, &tables)).await;
            session.end(made).await?;
        }
    }
    Ok(())
}

pub(super) fn ahead_of(now: u64) -> impl Iterator<Item = Day> {
    let today = Day::of(now).0;
    (today..today + AHEAD).map(Day)
}

/// The statements that make a day's partitions. To attach a table takes a weaker lock than to make it as a partition: it waits
/// for nobody who reads.
fn creation(day: Day, tables: &[&str]) -> String {
    let (from, to) = (day.name(), Day(day.0 + 1).name());
    let statements = tables.iter().map(|table| {
        let name = partition(table, day);
        // Another process may have made it meanwhile.
        format!(
            "DO $do$ BEGIN
                IF NOT EXISTS (SELECT FROM pg_catalog.pg_tables
                    WHERE schemaname = 'carteiro_history' AND tablename = '{name}') THEN
                    CREATE TABLE {name} (LIKE {table} INCLUDING ALL){options};
                    ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{from}') TO ('{to}');
                END IF;
            END $do$;",
            // A count is updated in its place.
            options = if *table == "counts" { " WITH (fillfactor = 50)" } else { "" },
        )
    });
    statements.collect()
}

/// Drops a day, or its bodies alone. It fails when somebody uses the tables for long.
pub(super) async fn drop_day(session: &PostgresSession, day: Day, only_bodies: bool) -> Result<(), DatabaseError> {
    session.begin().await?;
    let tables = TABLES.into_iter().filter(|table| *table == BODIES || !only_bodies);
    let names: Vec<_> = tables.map(|table| partition(table, day)).collect();
    let wait = DROP_WAITS.as_millis();
    let dropped = async {
        session.query(QUICK, WRITE_LOCK, &[]).await?;
        session.batch(&format!("SET LOCAL lock_timeout TO '{wait}ms'")).await?;
        session.batch(&format!("DROP TABLE IF EXISTS {}", names.join(", "))).await?;
        if !only_bodies {
            session.execute(LONG, "DELETE FROM kept WHERE day = $1", &[(&day, Type::DATE)]).await?;
        }
        Ok(())
    };
    let dropped = dropped.await;
    session.end(dropped).await
}

/// The first day with records.
pub(super) async fn oldest(session: &PostgresSession) -> Result<Option<Day>, DatabaseError> {
    let rows = session.query(QUICK, "SELECT min(day) - DATE '1970-01-01' FROM kept", &[]).await?;
    Ok(rows.first().and_then(|row| row.get::<_, Option<i32>>(0)).map(|day| Day(day.into())))
}

/// What was read of a day; nothing where the day was dropped meanwhile.
pub(super) async fn unless_dropped<T: Default>(
    session: &PostgresSession,
    day: Day,
    read: Result<T, DatabaseError>,
) -> Result<T, DatabaseError> {
    match read {
        Err(_) if !session.is_broken() && !list(session).await?.records.contains(&day) => Ok(T::default()),
        read => read,
    }
}

/// Bytes of all tables, indexes included.
pub(super) async fn bytes(session: &PostgresSession) -> Result<u64, DatabaseError> {
    let sql = "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::int8 FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'carteiro_history' AND c.relkind = 'r'";
    let rows = session.query(LONG, sql, &[]).await?;
    Ok(rows.first().map_or(0, |row| row.get::<_, i64>(0).unsigned_abs()))
}

impl ToSql for Day {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        let days = i32::try_from(self.0 - EPOCH)?;
        out.extend_from_slice(&days.to_be_bytes());
        Ok(IsNull::No)
    }

    accepts!(DATE);
    to_sql_checked!();
}
