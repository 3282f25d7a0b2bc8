//! Creates and updates the tables in steps from one format to the next. A released step is never changed.
//!
//! The tables are the same as in the file of the `sqlite:` store, in a schema of their own.

use super::failure::PostgresFailure;
use crate::StoreOpenError;
use service::postgres::{LONG, PostgresSession, QUICK};

/// Takes the lock under which tables are changed. Its number is arbitrary, and the same in every version.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7165134021843)";

/// Asks whether the schema exists. It reads the catalog tables, because functions such as `to_regclass` may answer from
/// before a commit of another process, even after waiting for its lock.
const SCHEMA: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'carteiro')";
const TABLE: &str =
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_tables WHERE schemaname = 'carteiro' AND tablename = 'meta')";

/// Steps in their order. The format of a database, in `meta.format`, is the number of finished steps.
const STEPS: &[&str] = &[
    "
    CREATE TABLE carteiro.meta  (one INT PRIMARY KEY CHECK (one = 1), format BIGINT NOT NULL, revision BIGINT NOT NULL,
                                 forgotten BIGINT NOT NULL, proof BYTEA);
    INSERT INTO carteiro.meta VALUES (1, 1, 1, 0, NULL);
    CREATE TABLE carteiro.items (tenant TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, version BIGINT NOT NULL,
                                 body TEXT, sealed BYTEA, PRIMARY KEY (tenant, kind, id));
    CREATE INDEX items_version ON carteiro.items (version);
    CREATE TABLE carteiro.usage (tenant TEXT NOT NULL, day TEXT NOT NULL, endpoint TEXT NOT NULL, process TEXT NOT NULL,
                                 sequence BIGINT NOT NULL, events BIGINT NOT NULL, deliveries BIGINT NOT NULL,
                                 attempts BIGINT NOT NULL, delivered BIGINT NOT NULL, dead BIGINT NOT NULL,
                                 bytes BIGINT NOT NULL, PRIMARY KEY (tenant, day, endpoint, process));
    CREATE TABLE carteiro.audit (id BIGSERIAL PRIMARY KEY, at TEXT NOT NULL, revision BIGINT NOT NULL,
                                 tenant TEXT NOT NULL, author TEXT NOT NULL, address TEXT, kind TEXT NOT NULL,
                                 item TEXT NOT NULL, before TEXT, after TEXT);
    CREATE INDEX audit_tenant ON carteiro.audit (tenant, id);
",
    "
    ALTER TABLE carteiro.items ADD COLUMN created BIGINT NOT NULL DEFAULT 0;
",
    "
    CREATE TABLE carteiro.jobs (id TEXT COLLATE \"C\" PRIMARY KEY, tenant TEXT NOT NULL, tenant_created BIGINT NOT NULL,
                                kind TEXT NOT NULL, state TEXT NOT NULL, spec TEXT NOT NULL, matched BIGINT NOT NULL,
                                position TEXT NOT NULL, done BIGINT NOT NULL, skipped BIGINT NOT NULL,
                                started_at BIGINT NOT NULL, ended_at BIGINT);
    CREATE INDEX jobs_tenant ON carteiro.jobs (tenant, id);
    CREATE INDEX jobs_running ON carteiro.jobs (id) WHERE state = 'running';
    CREATE TABLE carteiro.leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, expires_at BIGINT NOT NULL);
",
];

pub(super) const FORMAT: i64 = STEPS.len() as i64;

pub(super) async fn apply(session: &PostgresSession, place: &str) -> Result<(), PostgresFailure> {
    if found(session).await? == Some(FORMAT) {
        return Ok(());
    }
    session.begin().await?;
    let applied = apply_within(session, place).await;
    session.end(applied).await
}

async fn apply_within(session: &PostgresSession, place: &str) -> Result<(), PostgresFailure> {
    // Another process may be in a long step.
    session.batch("SET LOCAL lock_timeout TO '20s'").await?;
    session.query(LONG, LOCK, &[]).await?;
    let found = found(session).await?.unwrap_or(0);
    let newer = || PostgresFailure::Defect(StoreOpenError::Newer { place: place.to_owned(), found, known: FORMAT });
    let steps = usize::try_from(found).ok().and_then(|done| STEPS.get(done..)).ok_or_else(newer)?;
    if found == 0 && !is_there(session, SCHEMA).await? {
        session.batch("CREATE SCHEMA carteiro").await?;
    }
    for step in steps {
        session.batch(step).await?;
    }
    session.batch(&format!("UPDATE carteiro.meta SET format = {FORMAT}")).await?;
    Ok(())
}

/// Returns the number of finished steps, or none when there are no tables yet.
async fn found(session: &PostgresSession) -> Result<Option<i64>, PostgresFailure> {
    if !is_there(session, TABLE).await? {
        return Ok(None);
    }
    let rows = session.query(QUICK, "SELECT format FROM carteiro.meta", &[]).await?;
    Ok(rows.first().map(|row| row.get(0)))
}

async fn is_there(session: &PostgresSession, question: &str) -> Result<bool, PostgresFailure> {
    Ok(session.query(QUICK, question, &[]).await?.first().is_some_and(|row| row.get(0)))
}
