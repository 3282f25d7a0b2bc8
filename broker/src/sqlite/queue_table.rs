//! The table of one queue, with its rows in `mark` and `again`: all SQL, and no decision.

use rusqlite::{Connection, OptionalExtension, params};

use super::message::MessageRow;
use crate::Queue;

pub(super) struct QueueTable {
    name: &'static str,
    insert: String,
    adopt: String,
    fetch: String,
    scan: String,
    delete: String,
}

impl QueueTable {
    pub(super) fn of(queue: Queue) -> Self {
        let name = queue.name();
        Self {
            name,
            insert: format!("INSERT INTO {name} (seq, id, kind, key, headers, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"),
            adopt: format!(
                "INSERT INTO {name} (seq, id, kind, key, headers, body)
                 SELECT ?1, id, kind, key, headers, body FROM later WHERE seq = ?2"
            ),
            fetch: format!("SELECT id, kind, key, headers, body FROM {name} WHERE seq = ?1"),
            scan: format!(
                "SELECT seq, id, kind, key, headers, body FROM {name} WHERE seq > ?1 AND seq <= ?2 ORDER BY seq"
            ),
            delete: format!("DELETE FROM {name} WHERE seq BETWEEN ?1 AND ?2"),
        }
    }

    /// The `seq` of the last row, and the last `seq` that was ever handed out; 0 for none.
    pub(super) fn last_and_mark(&self, file: &Connection) -> rusqlite::Result<(i64, i64)> {
        let last: Option<i64> = file.query_row(&format!("SELECT max(seq) FROM {}", self.name), [], |row| row.get(0))?;
        let mark = file.query_row("SELECT seq FROM mark WHERE place = ?1", [self.name], |row| row.get(0)).optional()?;
        Ok((last.unwrap_or(0), mark.unwrap_or(0)))
    }

    pub(super) fn insert(&self, file: &Connection, seq: i64, row: &MessageRow) -> rusqlite::Result<()> {
        let mut insert = file.prepare_cached(&self.insert)?;
        insert.execute(params![seq, row.id, row.kind, row.key, row.headers, &row.body[..]])?;
        Ok(())
    }

    pub(super) fn adopt(&self, file: &Connection, seq: i64, later: i64) -> rusqlite::Result<()> {
        file.prepare_cached(&self.adopt)?.execute([seq, later])?;
        Ok(())
    }

    pub(super) fn fetch(&self, file: &Connection, seq: i64) -> rusqlite::Result<Option<MessageRow>> {
        file.prepare_cached(&self.fetch)?.query_row([seq], |row| MessageRow::read(row, 0)).optional()
    }

    /// Visits the rows after `after` up to `last`, in order, until `visit` returns false. True if it never did.
    pub(super) fn scan(
        &self,
        file: &Connection,
        (after, last): (i64, i64),
        mut visit: impl FnMut(i64, MessageRow) -> rusqlite::Result<bool>,
    ) -> rusqlite::Result<bool> {
        let mut scan = file.prepare_cached(&self.scan)?;
        let mut rows = scan.query([after, last])?;
        while let Some(row) = rows.next()? {
            if !visit(row.get(0)?, MessageRow::read(row, 1)?)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Deletes the rows from `first` to `last`.
    pub(super) fn delete(&self, file: &Connection, first: i64, last: i64) -> rusqlite::Result<()> {
        file.prepare_cached(&self.delete)?.execute([first, last])?;
        Ok(())
    }

    pub(super) fn delete_count(&self, file: &Connection, seq: i64) -> rusqlite::Result<()> {
        file.prepare_cached("DELETE FROM again WHERE place = ?1 AND seq = ?2")?.execute(params![self.name, seq])?;
        Ok(())
    }

    /// How often a row up to the mark of an earlier process was handed out: at least once.
    pub(super) fn count(&self, file: &Connection, seq: i64) -> rusqlite::Result<u32> {
        let mut again = file.prepare_cached("SELECT count FROM again WHERE place = ?1 AND seq = ?2")?;
        let count: Option<u32> = again.query_row(params![self.name, seq], |row| row.get(0)).optional()?;
        Ok(count.unwrap_or(0) + 1)
    }

    /// Stores how often a row was handed out before this time.
    pub(super) fn set_count(&self, file: &Connection, seq: i64, count: u32) -> rusqlite::Result<()> {
        file.prepare_cached("INSERT OR REPLACE INTO again (place, seq, count) VALUES (?1, ?2, ?3)")?
            .execute(params![self.name, seq, count])?;
        Ok(())
    }

    pub(super) fn set_mark(&self, file: &Connection, seq: i64) -> rusqlite::Result<()> {
        file.prepare_cached("INSERT OR REPLACE INTO mark (place, seq) VALUES (?1, ?2)")?
            .execute(params![self.name, seq])?;
        Ok(())
    }
}
