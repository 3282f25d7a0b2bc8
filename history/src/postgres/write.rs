//! Writing batches: one transaction for a batch, its counts and the position.
//!
//! What is there of a batch's events is read first, then all is decided in memory, and what changes is copied into temporary
//! tables and from there into the partitions. A lock in the database keeps other writers out meanwhile.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use service::postgres::{DatabaseError, LONG, PostgresSession, QUICK};
use tokio::time::Instant;
use tokio_postgres::types::Type;

use super::{
    coverage,
    days::{self, begin_to_write},
    insert::{self, DayRecords},
    known::KnownRows,
    names::{BatchNames, NameCache},
    rows::unsigned,
};
use crate::{
    Batch, HistoryError, Record, Written,
    day::Day,
    draft::{NumberedRecord, draft},
    kept::KeptBytes,
    row::signed,
    share::{Keeps, keeps},
};

/// Time after which the tenants' bytes are read again: another process may have written or dropped some.
const KEPT_AGE: Duration = Duration::from_secs(60);

/// Temporary tables of the session that writes, of the form of the tables that they are inserted into.
pub(super) const TEMPORARY_TABLES: &str = "
    CREATE TEMPORARY TABLE new_events (LIKE events INCLUDING STORAGE) ON COMMIT DELETE ROWS;
    CREATE TEMPORARY TABLE new_deliveries (LIKE deliveries INCLUDING STORAGE) ON COMMIT DELETE ROWS;
    CREATE TEMPORARY TABLE new_attempts (LIKE attempts INCLUDING STORAGE) ON COMMIT DELETE ROWS;
    CREATE TEMPORARY TABLE new_bodies (LIKE bodies INCLUDING STORAGE) ON COMMIT DELETE ROWS;
";

/// How much each tenant has, and when that was read.
#[derive(Default)]
pub(super) struct KeptCache(Mutex<Option<(Instant, KeptBytes)>>);

impl KeptCache {
    /// Reads it again before the next batch.
    pub(super) fn expire(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn refresh(&self, session: &PostgresSession) -> Result<(), DatabaseError> {
        let is_fresh = {
            let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.as_ref().is_some_and(|(read, _)| read.elapsed() < KEPT_AGE)
        };
        if is_fresh {
            return Ok(());
        }
        let mut kept = KeptBytes::default();
        let sql = "SELECT day - DATE '1970-01-01', tenant, bytes FROM kept";
        for row in session.query(LONG, sql, &[]).await? {
            kept.add(i64::from(row.get::<_, i32>(0)), row.get(1), unsigned(row.get(2)));
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), kept));
        Ok(())
    }

    fn keeps(&self, tenant: i64, max_bytes: u64) -> Keeps {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().map_or(Keeps::Everything, |(_, kept)| keeps(kept.of(tenant), kept.of_others(tenant), max_bytes))
    }

    fn add(&self, day: Day, bytes: &HashMap<i64, u64>) {
        if let Some((_, kept)) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            bytes.iter().for_each(|(tenant, bytes)| kept.add(day.0, *tenant, *bytes));
        }
    }
}

/// What writing needs to know beside the database.
pub(super) struct Writer<'a> {
    pub(super) names: &'a NameCache,
    pub(super) kept: &'a KeptCache,
    pub(super) max_bytes: u64,
}

impl Writer<'_> {
    pub(super) async fn write(
        &self,
        session: &PostgresSession,
        mut batch: Batch,
        position: Option<u64>,
        oldest: Day,
    ) -> Result<Written, HistoryError> {
        let all = batch.records.len();
        batch.records.retain(|record| (oldest..Day::LAST).contains(&Day::of(record.accepted_at())));
        let mut written = Written { too_old: (all - batch.records.len()) as u64, ..Written::default() };
        if !batch.records.is_empty() {
            let days: HashSet<_> = batch.records.iter().map(|record| Day::of(record.accepted_at())).collect();
            days::make(session, days).await?;
        }
        begin_to_write(session).await?;
        let done = self.write_within(session, batch, position, &mut written).await;
        let days = session.end(done).await?;
        for (day, bytes) in &days {
            self.kept.add(*day, bytes);
        }
        Ok(written)
    }

    /// Returns the bytes that each tenant has more, by day.
    async fn write_within(
        &self,
        session: &PostgresSession,
        batch: Batch,
        position: Option<u64>,
        written: &mut Written,
    ) -> Result<Vec<(Day, HashMap<i64, u64>)>, HistoryError> {
        let Batch { process, covers_until, ends, gaps, records } = batch;
        let mut bytes = Vec::new();
        if !records.is_empty() {
            self.kept.refresh(session).await?;
            let names = BatchNames::of(session, self.names, &records).await?;
            let mut changes = Vec::new();
            for (day, records) in self.numbered(&names, records)? {
                let mut known = KnownRows::read(session, day, &names, &records).await?;
                let changed = draft(&mut known, records, written)?;
                bytes.push((day, changed.bytes));
                let (events, attempts) = known.inserted();
                changes.push(DayRecords {
                    day,
                    events,
                    attempts,
                    deliveries: changed.deliveries,
                    bodies: changed.bodies,
                    counts: changed.counts,
                });
            }
            insert::records(session, changes).await?;
            add_kept(session, &bytes).await?;
        }
        coverage::note(session, &process, covers_until, ends).await?;
        for gap in &gaps {
            coverage::insert(session, gap).await?;
        }
        if let Some(position) = position {
            let sql = "INSERT INTO position (stream, value) VALUES (0, $1)
                ON CONFLICT (stream) DO UPDATE SET value = excluded.value";
            session.execute(QUICK, sql, &[(&signed(position), Type::INT8)]).await?;
        }
        Ok(bytes)
    }

    fn numbered(
        &self,
        names: &BatchNames,
        records: Vec<Record>,
    ) -> Result<BTreeMap<Day, Vec<NumberedRecord>>, HistoryError> {
        let mut by_day: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for record in records {
            let unknown = || HistoryError("a tenant has no number".to_owned());
            let (tenant, key) = names.tenant(record.tenant()).ok_or_else(unknown)?;
            let keeps = self.kept.keeps(tenant, self.max_bytes);
            let day = Day::of(record.accepted_at());
            by_day.entry(day).or_default().push(NumberedRecord { record, tenant, key, keeps });
        }
        Ok(by_day)
    }
}

async fn add_kept(session: &PostgresSession, days: &[(Day, HashMap<i64, u64>)]) -> Result<(), DatabaseError> {
    let sql = "INSERT INTO kept (day, tenant, bytes) SELECT $1, * FROM unnest($2::int8[], $3::int8[])
        ON CONFLICT (day, tenant) DO UPDATE SET bytes = kept.bytes + excluded.bytes";
    for (day, bytes) in days {
        let (tenants, bytes): (Vec<i64>, Vec<i64>) =
            bytes.iter().map(|(tenant, bytes)| (*tenant, signed(*bytes))).unzip();
        let given = &[(day as _, Type::DATE), (&tenants as _, Type::INT8_ARRAY), (&bytes as _, Type::INT8_ARRAY)];
        session.execute(QUICK, sql, given).await?;
    }
    Ok(())
}

pub(super) async fn position(session: &PostgresSession) -> Result<Option<u64>, HistoryError> {
    let rows = session.query(QUICK, "SELECT value FROM position", &[]).await?;
    Ok(rows.first().map(|row| unsigned(row.get(0))))
}
