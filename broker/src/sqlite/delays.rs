//! Deliveries that wait for their due time. When it comes, they move to the end of their lane.

use rusqlite::{Connection, params};

use super::{message::MessageRow, queue::SqliteQueue};
use crate::Lane;

/// Largest number of deliveries that move in one transaction. Many may come due together after an outage, and must not
/// hold up publishing.
const BATCH: u32 = 128;
/// Largest sum of their sizes in bytes, which the last one may exceed. What moves is written twice.
const BATCH_BYTES: i64 = 4 * 1024 * 1024;

pub(super) struct DelayedTable {
    /// The earliest due time in unix milliseconds, or an earlier time: looking too early is harmless, too late is not.
    next: Option<i64>,
}

impl DelayedTable {
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        Ok(Self { next: earliest(connection)? })
    }

    /// The time to look again, in unix milliseconds.
    pub(super) fn next(&self) -> Option<i64> {
        self.next
    }

    pub(super) fn insert(
        &mut self,
        connection: &Connection,
        lane: Lane,
        due: u64,
        row: &MessageRow,
    ) -> rusqlite::Result<()> {
        let due = i64::try_from(due).unwrap_or(i64::MAX);
        self.next = Some(self.next.map_or(due, |next| next.min(due)));
        connection
            .prepare_cached(
                "INSERT INTO later (due, lane, id, kind, key, headers, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![due, lane.name(), row.id, row.kind, row.key, row.headers, &row.body[..]])?;
        Ok(())
    }

    /// Makes deliveries due now.
    pub(super) fn end_waits(&mut self, connection: &Connection, delayed: &[i64]) -> rusqlite::Result<()> {
        let mut end = connection.prepare_cached("UPDATE later SET due = 0 WHERE seq = ?1")?;
        for seq in delayed {
            end.execute([seq])?;
        }
        self.next = Some(i64::MIN);
        Ok(())
    }

    /// Moves a batch of what is due at `now`.
    pub(super) fn release_due(
        &mut self,
        connection: &Connection,
        now: i64,
        fast: &mut SqliteQueue,
        slow: &mut SqliteQueue,
    ) -> rusqlite::Result<()> {
        if self.next.is_none_or(|next| next > now) {
            return Ok(());
        }
        for (seq, lane) in due(connection, now)? {
            let lane = if lane == Lane::Fast.name() { &mut *fast } else { &mut *slow };
            lane.adopt(connection, seq)?;
            connection.prepare_cached("DELETE FROM later WHERE seq = ?1")?.execute([seq])?;
        }
        self.next = earliest(connection)?;
        Ok(())
    }

    /// After a failed transaction the deliveries that it moved are still here.
    pub(super) fn rollback(&mut self) {
        self.next = Some(i64::MIN);
    }
}

fn due(connection: &Connection, now: i64) -> rusqlite::Result<Vec<(i64, String)>> {
    let mut due = connection.prepare_cached(
        "SELECT seq, lane, length(headers) + length(body) FROM later WHERE due <= ?1 ORDER BY due LIMIT ?2",
    )?;
    let (mut rows, mut found, mut bytes) = (due.query(params![now, BATCH])?, Vec::new(), 0);
    while bytes < BATCH_BYTES
        && let Some(row) = rows.next()?
    {
        found.push((row.get(0)?, row.get(1)?));
        bytes += row.get::<_, i64>(2)?;
    }
    Ok(found)
}

fn earliest(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    connection.prepare_cached("SELECT min(due) FROM later")?.query_row([], |row| row.get(0))
}
