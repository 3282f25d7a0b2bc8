//! Statements on the table `leases`.

use rusqlite::{Connection, params};

use super::super::rows::signed;

pub(super) fn acquire(connection: &Connection, name: &str, holder: &str, ttl: u64, now: u64) -> rusqlite::Result<bool> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO leases (name, holder, expires_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
         WHERE leases.holder = excluded.holder OR leases.expires_at <= ?4",
    )?;
    upsert.execute(params![name, holder, signed(now.saturating_add(ttl)), signed(now)]).map(|rows| rows > 0)
}

pub(super) fn release(connection: &Connection, name: &str, holder: &str) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM leases WHERE name = ?1 AND holder = ?2")?.execute([name, holder]).map(drop)
}

pub(super) fn end_all(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM leases", []).map(drop)
}
