//! Statements on the table `usage`.

use schemas::Counts;
use tokio_postgres::types::Type;

use super::{
    rows::{signed, unsigned},
    session::{LONG, Parameters, PostgresSession, QUICK},
};
use crate::{StoreError, Usage, UsageReport};

/// Largest number of reports in one statement.
const AT_ONCE: usize = 1000;

/// Replaces each process's last report by its newer one. `reports` must not have two of the same process, tenant,
/// endpoint and day.
pub(super) async fn record(session: &PostgresSession, reports: &[UsageReport]) -> Result<(), StoreError> {
    let sql = "INSERT INTO usage SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int8[],
                   $6::int8[], $7::int8[], $8::int8[], $9::int8[], $10::int8[], $11::int8[])
               ON CONFLICT (tenant, day, endpoint, process) DO UPDATE SET
                   sequence = excluded.sequence, events = excluded.events, deliveries = excluded.deliveries,
                   attempts = excluded.attempts, delivered = excluded.delivered, dead = excluded.dead,
                   bytes = excluded.bytes
               WHERE excluded.sequence > usage.sequence";
    for reports in reports.chunks(AT_ONCE) {
        let tenants: Vec<_> = reports.iter().map(|report| &report.tenant).collect();
        let days: Vec<_> = reports.iter().map(|report| &report.day).collect();
        // The empty text stands for no endpoint. No endpoint has an empty id.
        let endpoints: Vec<_> =
            reports.iter().map(|report| report.endpoint_id.as_deref().unwrap_or_default()).collect();
        let processes: Vec<_> = reports.iter().map(|report| &report.process).collect();
        let number = |of: fn(&UsageReport) -> u64| reports.iter().map(|report| signed(of(report))).collect::<Vec<_>>();
        let given: Parameters<'_> = &[
            (&tenants, Type::TEXT_ARRAY),
            (&days, Type::TEXT_ARRAY),
            (&endpoints, Type::TEXT_ARRAY),
            (&processes, Type::TEXT_ARRAY),
            (&number(|report| report.sequence), Type::INT8_ARRAY),
            (&number(|report| report.counts.events), Type::INT8_ARRAY),
            (&number(|report| report.counts.deliveries), Type::INT8_ARRAY),
            (&number(|report| report.counts.attempts), Type::INT8_ARRAY),
            (&number(|report| report.counts.delivered), Type::INT8_ARRAY),
            (&number(|report| report.counts.dead), Type::INT8_ARRAY),
            (&number(|report| report.counts.bytes), Type::INT8_ARRAY),
        ];
        session.execute(LONG, sql, given).await?;
    }
    Ok(())
}

/// Adds the usage of all processes up, by day and endpoint.
pub(super) async fn sums(
    session: &PostgresSession,
    tenant: &str,
    from: &str,
    to: &str,
) -> Result<Vec<Usage>, StoreError> {
    // Days and endpoints are compared byte by byte, as in every store. The database's own order depends on its locale.
    let sql = "SELECT day, endpoint, sum(events)::int8, sum(deliveries)::int8, sum(attempts)::int8,
                   sum(delivered)::int8, sum(dead)::int8, sum(bytes)::int8
               FROM usage WHERE tenant = $1 AND day COLLATE \"C\" BETWEEN $2 AND $3
               GROUP BY day, endpoint ORDER BY day COLLATE \"C\", endpoint COLLATE \"C\"";
    let given: Parameters<'_> = &[(&tenant, Type::TEXT), (&from, Type::TEXT), (&to, Type::TEXT)];
    Ok(session.query(QUICK, sql, given).await?.iter().map(usage).collect())
}

pub(super) async fn all(session: &PostgresSession) -> Result<Vec<UsageReport>, StoreError> {
    let sql = "SELECT tenant, day, endpoint, process, sequence, events, deliveries, attempts, delivered, dead, bytes FROM usage";
    let report = |row: &tokio_postgres::Row| {
        let endpoint: String = row.get(2);
        UsageReport {
            tenant: row.get(0),
            day: row.get(1),
            endpoint_id: Some(endpoint).filter(|id| !id.is_empty()),
            process: row.get(3),
            sequence: unsigned(row.get(4)),
            counts: counts(row, 5),
        }
    };
    Ok(session.query(LONG, sql, &[]).await?.iter().map(report).collect())
}

fn usage(row: &tokio_postgres::Row) -> Usage {
    let endpoint: String = row.get(1);
    Usage { day: row.get(0), endpoint_id: Some(endpoint).filter(|id| !id.is_empty()), counts: counts(row, 2) }
}

fn counts(row: &tokio_postgres::Row, first: usize) -> Counts {
    let count = |at: usize| unsigned(row.get(first + at));
    Counts {
        events: count(0),
        deliveries: count(1),
        attempts: count(2),
        delivered: count(3),
        dead: count(4),
        bytes: count(5),
    }
}
