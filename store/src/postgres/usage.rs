//! Statements on the table `usage`.

use schemas::Counts;
use tokio_postgres::types::Type;

use super::rows::{signed, unsigned};
use crate::{StoreError, Usage, UsageReport};
use service::postgres::{LONG, Parameters, PostgresSession, QUICK};

/// Largest number of reports in one statement.
const AT_ONCE: usize = 1000;

/// Largest number of rows that are deleted at once.
const TRIMMED_AT_ONCE: i64 = 5000;

/// Replaces each process's last report by its newer one. Leaves out, and counts, those of an endpoint's day that is
/// rolled up. `reports` must not have two of the same process, tenant,
/// endpoint and day.
pub(super) async fn record(session: &PostgresSession, reports: &[UsageReport]) -> Result<u64, StoreError> {
    let sql = "WITH report AS (
                   SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int8[], $6::int8[],
                       $7::int8[], $8::int8[], $9::int8[], $10::int8[], $11::int8[])
                   AS report (tenant, day, endpoint, process, sequence, events, deliveries, attempts, delivered, dead,
                       bytes)
               ), late AS (
                   SELECT FROM report JOIN usage USING (tenant, day, endpoint) WHERE usage.process = ''
               ), kept AS (
                   INSERT INTO usage SELECT * FROM report WHERE NOT EXISTS (
                       SELECT FROM usage sum WHERE sum.tenant = report.tenant AND sum.day = report.day
                       AND sum.endpoint = report.endpoint AND sum.process = '')
                   ON CONFLICT (tenant, day, endpoint, process) DO UPDATE SET
                       sequence = excluded.sequence, events = excluded.events, deliveries = excluded.deliveries,
                       attempts = excluded.attempts, delivered = excluded.delivered, dead = excluded.dead,
                       bytes = excluded.bytes
                   WHERE excluded.sequence > usage.sequence
               )
               SELECT count(*) FROM late";
    let mut late = 0;
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
        late += session.query(LONG, sql, given).await?.first().map_or(0, |row| unsigned(row.get(0)));
    }
    Ok(late)
}

/// Adds the usage of all processes up between two days, by day and, if asked, by endpoint; of one endpoint or of all.
pub(super) async fn sums(
    session: &PostgresSession,
    tenant: &str,
    by_endpoint: bool,
    endpoint: Option<&str>,
    [from, to]: [&str; 2],
) -> Result<Vec<Usage>, StoreError> {
    // Days have one form, so that every collation sorts them by time. With the column's own, the primary key is used.
    // Endpoints are sorted byte by byte, as in every store. The database's own order depends on its locale.
    let sql = "SELECT day, one, sum(events)::int8, sum(deliveries)::int8, sum(attempts)::int8,
                   sum(delivered)::int8, sum(dead)::int8, sum(bytes)::int8
               FROM (SELECT *, CASE WHEN $4 THEN endpoint ELSE '' END AS one FROM usage
                     WHERE tenant = $1 AND day BETWEEN $2 AND $3 AND ($5::text IS NULL OR endpoint = $5)) asked
               GROUP BY day, one ORDER BY day, one COLLATE \"C\"";
    let given: Parameters<'_> = &[
        (&tenant, Type::TEXT),
        (&from, Type::TEXT),
        (&to, Type::TEXT),
        (&by_endpoint, Type::BOOL),
        (&endpoint, Type::TEXT),
    ];
    Ok(session.query(QUICK, sql, given).await?.iter().map(usage).collect())
}

/// Returns the tenants and days from before a day that have rows of single processes.
pub(super) async fn not_rolled_up(session: &PostgresSession, before: &str) -> Result<Vec<[String; 2]>, StoreError> {
    let sql = "SELECT DISTINCT tenant, day FROM usage WHERE day < $1 AND process <> ''";
    let rows = session.query(LONG, sql, &[(&before, Type::TEXT)]).await?;
    Ok(rows.iter().map(|row| [row.get(0), row.get(1)]).collect())
}

/// Adds the rows of all processes up to one for each endpoint, on these days of these tenants. Returns how many rows
/// went into the sums.
pub(super) async fn roll_up(session: &PostgresSession, days: &[[String; 2]]) -> Result<u64, StoreError> {
    let sql = "WITH gone AS (
                   DELETE FROM usage USING unnest($1::text[], $2::text[]) AS over (tenant, day)
                   WHERE usage.tenant = over.tenant AND usage.day = over.day AND usage.process <> ''
                   RETURNING usage.*
               ), sums AS (
                   INSERT INTO usage SELECT tenant, day, endpoint, '', 0, sum(events), sum(deliveries), sum(attempts),
                       sum(delivered), sum(dead), sum(bytes) FROM gone GROUP BY tenant, day, endpoint
                   ON CONFLICT (tenant, day, endpoint, process) DO UPDATE SET
                       events = usage.events + excluded.events, deliveries = usage.deliveries + excluded.deliveries,
                       attempts = usage.attempts + excluded.attempts, delivered = usage.delivered + excluded.delivered,
                       dead = usage.dead + excluded.dead, bytes = usage.bytes + excluded.bytes
               )
               SELECT count(*) FROM gone";
    let tenants: Vec<_> = days.iter().map(|[tenant, _]| tenant).collect();
    let days: Vec<_> = days.iter().map(|[_, day]| day).collect();
    session.begin().await?;
    let rolled_up = async {
        // Reports that arrive meanwhile wait, and then find the sums. Questions do not wait.
        session.batch("LOCK TABLE usage IN SHARE ROW EXCLUSIVE MODE").await?;
        session.query(LONG, sql, &[(&tenants, Type::TEXT_ARRAY), (&days, Type::TEXT_ARRAY)]).await
    };
    let rolled_up = rolled_up.await;
    Ok(session.end(rolled_up).await?.first().map_or(0, |row| unsigned(row.get(0))))
}

/// Deletes some rows from before a day, and returns how many.
pub(super) async fn trim(session: &PostgresSession, before: &str) -> Result<u64, StoreError> {
    let sql = "DELETE FROM usage WHERE ctid = ANY (ARRAY(SELECT ctid FROM usage WHERE day < $1 LIMIT $2))";
    Ok(session.execute(LONG, sql, &[(&before, Type::TEXT), (&TRIMMED_AT_ONCE, Type::INT8)]).await?)
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
