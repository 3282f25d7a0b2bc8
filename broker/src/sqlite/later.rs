//! Deliveries that wait for their due time. When it comes they move to the end of their lane.

use rusqlite::{Connection, params};

use super::{command::Row, waiting::Waiting};
use crate::Lane;

/// How many move in one transaction: what comes due together (an outage that ends) must not hold up publishing.
const TOGETHER: u32 = 256;

/// All delayed deliveries.
pub(super) struct Later {
    /// The earliest due time, or one that was: looking too early is harmless, too late is not.
    next: Option<i64>,
}

impl Later {
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        Ok(Self { next: earliest(connection)? })
    }

    /// When to look again, in unix milliseconds.
    pub(super) fn next(&self) -> Option<i64> {
        self.next
    }

    pub(super) fn insert(&mut self, connection: &Connection, lane: Lane, due: u64, row: &Row) -> rusqlite::Result<()> {
        let due = i64::try_from(due).unwrap_or(i64::MAX);
        self.next = Some(self.next.map_or(due, |next| next.min(due)));
        connection
            .prepare_cached(
                "INSERT INTO later (due, lane, id, kind, key, headers, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![due, lane.name(), row.id, row.kind, row.key, row.headers, &row.body[..]])?;
        Ok(())
    }

    /// Moves what is due at `now`, or the first part of it.
    pub(super) fn wake(
        &mut self,
        connection: &Connection,
        now: i64,
        fast: &mut Waiting,
        slow: &mut Waiting,
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

    /// The transaction did not happen: what it moved is still here.
    pub(super) fn rollback(&mut self) {
        self.next = Some(i64::MIN);
    }
}

fn due(connection: &Connection, now: i64) -> rusqlite::Result<Vec<(i64, String)>> {
    let mut due = connection.prepare_cached("SELECT seq, lane FROM later WHERE due <= ?1 ORDER BY due LIMIT ?2")?;
    due.query_map(params![now, TOGETHER], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn earliest(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    connection.prepare_cached("SELECT min(due) FROM later")?.query_row([], |row| row.get(0))
}
