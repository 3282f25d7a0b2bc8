//! Statements on the table `usage`.

use rusqlite::{Connection, params};
use schemas::Counts;

use super::rows::{signed, unsigned};
use crate::{Usage, UsageReport};

/// Largest number of tenants' days that are deleted at once.
const TRIMMED_AT_ONCE: u32 = 100;

/// Replaces each process's last report by its newer one. Leaves out, and counts, those of an endpoint's day that is
/// rolled up.
pub(super) fn record(connection: &Connection, reports: &[UsageReport]) -> rusqlite::Result<u64> {
    let mut rolled_up = connection
        .prepare_cached("SELECT 1 FROM usage WHERE tenant = ?1 AND day = ?2 AND endpoint = ?3 AND process = ''")?;
    let mut upsert = connection.prepare_cached(
        "INSERT INTO usage VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT (tenant, day, endpoint, process) DO UPDATE SET
             sequence = excluded.sequence, events = excluded.events, deliveries = excluded.deliveries,
             attempts = excluded.attempts, delivered = excluded.delivered, dead = excluded.dead, bytes = excluded.bytes
         WHERE excluded.sequence > usage.sequence",
    )?;
    let mut late = 0;
    for report in reports {
        let UsageReport { process, sequence, tenant, endpoint_id, day, counts } = report;
        let Counts { events, deliveries, attempts, delivered, dead, bytes } = *counts;
        let [sequence, events, deliveries, attempts, delivered, dead, bytes] =
            [*sequence, events, deliveries, attempts, delivered, dead, bytes].map(signed);
        // The empty text stands for no endpoint. No endpoint has an empty id.
        let endpoint = endpoint_id.as_deref().unwrap_or_default();
        if rolled_up.exists([tenant, day, endpoint])? {
            late += 1;
            continue;
        }
        upsert.execute(params![
            tenant, day, endpoint, process, sequence, events, deliveries, attempts, delivered, dead, bytes
        ])?;
    }
    Ok(late)
}

pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<UsageReport>> {
    let mut query = connection.prepare_cached(
        "SELECT tenant, day, endpoint, process, sequence, events, deliveries, attempts, delivered, dead, bytes FROM usage",
    )?;
    let report = |row: &rusqlite::Row<'_>| {
        let endpoint: String = row.get(2)?;
        Ok(UsageReport {
            tenant: row.get(0)?,
            day: row.get(1)?,
            endpoint_id: Some(endpoint).filter(|id| !id.is_empty()),
            process: row.get(3)?,
            sequence: unsigned(row.get(4)?),
            counts: counts(row, 5)?,
        })
    };
    query.query_map([], report)?.collect()
}

fn counts(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Counts> {
    let count = |at| row.get(first + at).map(unsigned);
    Ok(Counts {
        events: count(0)?,
        deliveries: count(1)?,
        attempts: count(2)?,
        delivered: count(3)?,
        dead: count(4)?,
        bytes: count(5)?,
    })
}

/// Adds the usage of all processes up between two days, by day and, if asked, by endpoint; of one endpoint or of all.
pub(super) fn sums(
    connection: &Connection,
    tenant: &str,
    by_endpoint: bool,
    endpoint: Option<&str>,
    [from, to]: [&str; 2],
) -> rusqlite::Result<Vec<Usage>> {
    let mut query = connection.prepare_cached(
        "SELECT day, CASE WHEN ?4 THEN endpoint ELSE '' END AS one, SUM(events), SUM(deliveries), SUM(attempts),
             SUM(delivered), SUM(dead), SUM(bytes)
         FROM usage WHERE tenant = ?1 AND day BETWEEN ?2 AND ?3 AND (?5 IS NULL OR endpoint = ?5)
         GROUP BY day, one ORDER BY day, one",
    )?;
    let usage = |row: &rusqlite::Row<'_>| {
        let endpoint: String = row.get(1)?;
        Ok(Usage { day: row.get(0)?, endpoint_id: Some(endpoint).filter(|id| !id.is_empty()), counts: counts(row, 2)? })
    };
    query.query_map(params![tenant, from, to, by_endpoint, endpoint], usage)?.collect()
}

/// Returns the tenants and days from before a day that have rows of single processes.
pub(super) fn not_rolled_up(connection: &Connection, before: &str) -> rusqlite::Result<Vec<[String; 2]>> {
    let mut query =
        connection.prepare_cached("SELECT DISTINCT tenant, day FROM usage WHERE day < ?1 AND process <> ''")?;
    query.query_map([before], |row| Ok([row.get(0)?, row.get(1)?]))?.collect()
}

/// Adds the rows of all processes up to one for each endpoint, on these days of these tenants. Returns how many rows
/// went into the sums.
pub(super) fn roll_up(connection: &Connection, days: &[[String; 2]]) -> rusqlite::Result<u64> {
    // The sum of all rows has a former sum in it.
    let mut sum = connection.prepare_cached(
        "INSERT OR REPLACE INTO usage SELECT tenant, day, endpoint, '', 0, SUM(events), SUM(deliveries), SUM(attempts),
             SUM(delivered), SUM(dead), SUM(bytes)
         FROM usage WHERE tenant = ?1 AND day = ?2 GROUP BY tenant, day, endpoint",
    )?;
    let mut delete = connection.prepare_cached("DELETE FROM usage WHERE tenant = ?1 AND day = ?2 AND process <> ''")?;
    let mut rows = 0;
    for [tenant, day] in days {
        sum.execute([tenant, day])?;
        rows += delete.execute([tenant, day])? as u64;
    }
    Ok(rows)
}

/// Deletes the rows of some tenants' days from before a day, and returns how many.
pub(super) fn trim(connection: &Connection, before: &str) -> rusqlite::Result<u64> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM usage WHERE (tenant, day) IN (SELECT DISTINCT tenant, day FROM usage WHERE day < ?1 LIMIT ?2)",
    )?;
    delete.execute(params![before, TRIMMED_AT_ONCE]).map(|removed| removed as u64)
}
