//! Statements on the tables `jobs` and `leases`.

use tokio_postgres::types::Type;

use super::rows::{signed, unsigned};
use crate::{Job, JobProgress, JobQuery, JobState, StoreError};
use service::postgres::{Parameters, PostgresSession, QUICK};

const COLUMNS: &str =
    "SELECT id, tenant, tenant_created, kind, state, spec, matched, position, done, skipped, started_at,
                           ended_at FROM jobs";

pub(super) async fn insert(session: &PostgresSession, job: &Job, most: u32) -> Result<bool, StoreError> {
    let sql = "INSERT INTO jobs (id, tenant, tenant_created, kind, state, spec, matched, position, done, skipped,
                                 started_at)
               SELECT $1, $2, $3, $4, 'running', $5, $6, $7, $8, $9, $10
               WHERE (SELECT count(*) FROM jobs WHERE state = 'running' AND kind = $4) < $11";
    let Job { id, tenant, tenant_created, kind, spec, matched, position, done, skipped, started_at, .. } = job;
    let [created, matched, done, skipped, started_at] =
        [*tenant_created, *matched, *done, *skipped, *started_at].map(signed);
    let given: Parameters<'_> = &[
        (id, Type::TEXT),
        (tenant, Type::TEXT),
        (&created, Type::INT8),
        (kind, Type::TEXT),
        (spec, Type::TEXT),
        (&matched, Type::INT8),
        (position, Type::TEXT),
        (&done, Type::INT8),
        (&skipped, Type::INT8),
        (&started_at, Type::INT8),
        (&i64::from(most), Type::INT8),
    ];
    Ok(session.execute(QUICK, sql, given).await? > 0)
}

pub(super) async fn record_progress(session: &PostgresSession, progress: &[JobProgress]) -> Result<(), StoreError> {
    let sql = "UPDATE jobs SET position = new.position, done = new.done, skipped = new.skipped
               FROM unnest($1::text[], $2::text[], $3::int8[], $4::int8[]) AS new (id, position, done, skipped)
               WHERE jobs.id = new.id";
    let number = |of: fn(&JobProgress) -> u64| progress.iter().map(|one| signed(of(one))).collect::<Vec<_>>();
    let given: Parameters<'_> = &[
        (&progress.iter().map(|one| &one.id).collect::<Vec<_>>(), Type::TEXT_ARRAY),
        (&progress.iter().map(|one| &one.position).collect::<Vec<_>>(), Type::TEXT_ARRAY),
        (&number(|one| one.done), Type::INT8_ARRAY),
        (&number(|one| one.skipped), Type::INT8_ARRAY),
    ];
    Ok(session.execute(QUICK, sql, given).await.map(drop)?)
}

pub(super) async fn end(session: &PostgresSession, id: &str, state: JobState, at: u64) -> Result<bool, StoreError> {
    let sql = "UPDATE jobs SET state = $2, ended_at = $3 WHERE id = $1 AND state = 'running'";
    let given: Parameters<'_> = &[(&id, Type::TEXT), (&state.as_str(), Type::TEXT), (&signed(at), Type::INT8)];
    Ok(session.execute(QUICK, sql, given).await? > 0)
}

pub(super) async fn one(session: &PostgresSession, id: &str) -> Result<Option<Job>, StoreError> {
    let rows = session.query(QUICK, &format!("{COLUMNS} WHERE id = $1"), &[(&id, Type::TEXT)]).await?;
    Ok(rows.first().map(job))
}

pub(super) async fn newest(session: &PostgresSession, query: JobQuery<'_>) -> Result<Vec<Job>, StoreError> {
    let JobQuery { kind, tenant, before, limit } = query;
    // The planner knows the parameters, and plans only for the parts of the condition that apply.
    let sql = format!(
        "{COLUMNS} WHERE kind = $1 AND ($2::text IS NULL OR id < $2)
             AND ($4::text IS NULL OR tenant = $4 AND tenant_created = $5) ORDER BY id DESC LIMIT $3"
    );
    let (tenant, created) = (tenant.map(|(id, _)| id), tenant.map(|(_, created)| signed(created)));
    let given: Parameters<'_> = &[
        (&kind, Type::TEXT),
        (&before, Type::TEXT),
        (&i64::from(limit), Type::INT8),
        (&tenant, Type::TEXT),
        (&created, Type::INT8),
    ];
    Ok(session.query(QUICK, &sql, given).await?.iter().map(job).collect())
}

pub(super) async fn running(session: &PostgresSession) -> Result<Vec<Job>, StoreError> {
    let rows = session.query(QUICK, &format!("{COLUMNS} WHERE state = 'running' ORDER BY id"), &[]).await?;
    Ok(rows.iter().map(job).collect())
}

pub(super) async fn trim(session: &PostgresSession, before: u64, most: u32) -> Result<u64, StoreError> {
    let sql = "DELETE FROM jobs WHERE state <> 'running' AND (ended_at < $1 OR id IN
                   (SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY tenant, kind ORDER BY id DESC) AS place
                                    FROM jobs WHERE state <> 'running') ended WHERE place > $2))";
    Ok(session.execute(QUICK, sql, &[(&signed(before), Type::INT8), (&i64::from(most), Type::INT8)]).await?)
}

pub(super) async fn acquire_lease(
    session: &PostgresSession,
    name: &str,
    holder: &str,
    ttl: u64,
    now: u64,
) -> Result<bool, StoreError> {
    let sql = "INSERT INTO leases (name, holder, expires_at) VALUES ($1, $2, $3)
               ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
               WHERE leases.holder = excluded.holder OR leases.expires_at <= $4";
    let given: Parameters<'_> = &[
        (&name, Type::TEXT),
        (&holder, Type::TEXT),
        (&signed(now.saturating_add(ttl)), Type::INT8),
        (&signed(now), Type::INT8),
    ];
    Ok(session.execute(QUICK, sql, given).await? > 0)
}

pub(super) async fn release_lease(session: &PostgresSession, name: &str, holder: &str) -> Result<(), StoreError> {
    let sql = "DELETE FROM leases WHERE name = $1 AND holder = $2";
    Ok(session.execute(QUICK, sql, &[(&name, Type::TEXT), (&holder, Type::TEXT)]).await.map(drop)?)
}

fn job(row: &tokio_postgres::Row) -> Job {
    let number = |at: usize| unsigned(row.get(at));
    Job {
        id: row.get(0),
        tenant: row.get(1),
        tenant_created: number(2),
        kind: row.get(3),
        state: JobState::parse(row.get(4)),
        spec: row.get(5),
        matched: number(6),
        position: row.get(7),
        done: number(8),
        skipped: number(9),
        started_at: number(10),
        ended_at: row.get::<_, Option<i64>>(11).map(unsigned),
    }
}
