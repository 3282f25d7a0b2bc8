//! The append-only logs: appending, and deleting the oldest records.

use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::{Connection, OptionalExtension, params};

use super::message::{MessageRow, OVERHEAD};
use crate::{Log, LogBytes};

/// Largest number of records that one transaction deletes, so that publishing never waits long.
const TRIM_BATCH: usize = 256;

/// Bounds of a log, as on RabbitMQ: records over either are deleted, the oldest first.
#[derive(Clone, Copy)]
pub(super) struct Retention {
    age_ms: i64,
    bytes: i64,
}

impl Retention {
    /// 30 days, and so many bytes.
    pub(super) fn of(bytes: u64) -> Self {
        Self { age_ms: 30 * 24 * 3_600_000, bytes: i64::try_from(bytes).unwrap_or(i64::MAX) }
    }
}

impl LogBytes {
    /// At most a third and a sixth of `capacity` bytes, so that the logs alone never fill the disk.
    pub(super) fn within(self, capacity: u64) -> Self {
        Self { dead: self.dead.min(capacity / 3), parked: self.parked.min(capacity / 6) }
    }
}

/// The last confirmed offset of each log, where a reader stops; 0 while there is none.
#[derive(Default)]
pub(super) struct LogEnds {
    dead: AtomicU64,
    parked: AtomicU64,
}

impl LogEnds {
    pub(super) fn of(&self, log: Log) -> u64 {
        self.end(log).load(Ordering::Acquire)
    }

    fn end(&self, log: Log) -> &AtomicU64 {
        match log {
            Log::Dead => &self.dead,
            Log::Parked => &self.parked,
        }
    }
}

pub(super) struct LogTable {
    log: Log,
    insert: String,
    oldest: String,
    delete: String,
    remove: String,
    retention: Retention,
    /// The last offset and the bytes of all records, as committed.
    state: (u64, i64),
    /// The state that the open transaction leaves.
    draft: (u64, i64),
}

impl LogTable {
    pub(super) fn load(connection: &Connection, log: Log, retention: Retention) -> rusqlite::Result<Self> {
        let table = log.name();
        let last = connection
            .query_row(&format!("SELECT max(\"offset\") FROM {table}"), [], |row| row.get::<_, Option<i64>>(0))?
            .unwrap_or(0);
        let bytes = connection
            .query_row("SELECT bytes FROM weight WHERE log = ?1", [table], |row| row.get(0))
            .optional()?
            .unwrap_or(0);
        let state = (last.unsigned_abs(), bytes);
        Ok(Self {
            log,
            insert: format!("INSERT INTO {table} (at, id, kind, key, headers, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"),
            oldest: format!(
                "SELECT \"offset\", at, length(headers) + length(body) + {OVERHEAD} FROM {table}
                 ORDER BY \"offset\" LIMIT {TRIM_BATCH}"
            ),
            delete: format!("DELETE FROM {table} WHERE \"offset\" = ?1"),
            remove: format!(
                "DELETE FROM {table} WHERE \"offset\" = ?1 RETURNING length(headers) + length(body) + {OVERHEAD}"
            ),
            retention,
            state,
            draft: state,
        })
    }

    pub(super) fn append(&mut self, connection: &Connection, now: i64, row: &MessageRow) -> rusqlite::Result<()> {
        let offset = connection.prepare_cached(&self.insert)?.insert(params![
            now,
            row.id,
            row.kind,
            row.key,
            row.headers,
            &row.body[..]
        ])?;
        let bytes = self.draft.1 + i64::try_from(row.size()).unwrap_or(i64::MAX);
        self.set_bytes(connection, bytes)?;
        self.draft.0 = offset.unsigned_abs();
        Ok(())
    }

    /// Deletes these records.
    pub(super) fn remove(&mut self, connection: &Connection, offsets: &[u64]) -> rusqlite::Result<()> {
        let mut bytes = self.draft.1;
        for offset in offsets {
            let offset = i64::try_from(*offset).unwrap_or(i64::MAX);
            let removed = connection.prepare_cached(&self.remove)?.query_row([offset], |row| row.get::<_, i64>(0));
            bytes -= removed.optional()?.unwrap_or(0);
        }
        self.set_bytes(connection, bytes)
    }

    /// Deletes a batch of records over the bounds. True when there may be more.
    pub(super) fn trim(&mut self, connection: &Connection, now: i64) -> rusqlite::Result<bool> {
        let oldest: Vec<(i64, i64, i64)> = connection
            .prepare_cached(&self.oldest)?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let mut bytes = self.draft.1;
        let mut deleted = 0;
        for (offset, at, size) in oldest {
            if bytes <= self.retention.bytes && at >= now - self.retention.age_ms {
                break;
            }
            connection.prepare_cached(&self.delete)?.execute([offset])?;
            bytes -= size;
            deleted += 1;
        }
        if deleted > 0 {
            self.set_bytes(connection, bytes)?;
        }
        Ok(deleted == TRIM_BATCH)
    }

    pub(super) fn commit(&mut self, ends: &LogEnds) {
        self.state = self.draft;
        ends.end(self.log).store(self.state.0, Ordering::Release);
    }

    pub(super) fn rollback(&mut self) {
        self.draft = self.state;
    }

    fn set_bytes(&mut self, connection: &Connection, bytes: i64) -> rusqlite::Result<()> {
        self.draft.1 = bytes;
        connection
            .prepare_cached("INSERT OR REPLACE INTO weight (log, bytes) VALUES (?1, ?2)")?
            .execute(params![self.log.name(), bytes])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
