//! Statements on the table `usage`.

use rusqlite::{Connection, params};
use schemas::Counts;

use super::rows::{signed, unsigned};
use crate::{Usage, UsageReport};

/// Replaces each process's last report by its newer one.
pub(super) fn record(connection: &Connection, reports: &[UsageReport]) -> rusqlite::Result<()> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO usage VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT (tenant, day, endpoint, process) DO UPDATE SET
             sequence = excluded.sequence, events = excluded.events, deliveries = excluded.deliveries,
             attempts = excluded.attempts, delivered = excluded.delivered, dead = excluded.dead, bytes = excluded.bytes
         WHERE excluded.sequence > usage.sequence",
    )?;
    for report in reports {
        let UsageReport { process, sequence, tenant, endpoint_id, day, counts } = report;
        let Counts { events, deliveries, attempts, delivered, dead, bytes } = *counts;
        let [sequence, events, deliveries, attempts, delivered, dead, bytes] =
            [*sequence, events, deliveries, attempts, delivered, dead, bytes].map(signed);
        // The empty text stands for no endpoint. No endpoint has an empty id.
        let endpoint = endpoint_id.as_deref().unwrap_or_default();
        upsert.execute(params![
            tenant, day, endpoint, process, sequence, events, deliveries, attempts, delivered, dead, bytes
        ])?;
    }
    Ok(())
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

/// Adds the usage of all processes up, by day and endpoint.
pub(super) fn sums(connection: &Connection, tenant: &str, from: &str, to: &str) -> rusqlite::Result<Vec<Usage>> {
    let mut query = connection.prepare_cached(
        "SELECT day, endpoint, SUM(events), SUM(deliveries), SUM(attempts), SUM(delivered), SUM(dead), SUM(bytes)
         FROM usage WHERE tenant = ?1 AND day BETWEEN ?2 AND ?3 GROUP BY day, endpoint ORDER BY day, endpoint",
    )?;
    let usage = |row: &rusqlite::Row<'_>| {
        let endpoint: String = row.get(1)?;
        Ok(Usage { day: row.get(0)?, endpoint_id: Some(endpoint).filter(|id| !id.is_empty()), counts: counts(row, 2)? })
    };
    query.query_map([tenant, from, to], usage)?.collect()
}
