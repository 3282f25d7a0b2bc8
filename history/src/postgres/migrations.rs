//! Creates and updates the tables in steps from one format to the next. A released step is never changed.
//!
//! Records are in tables that are partitioned by day: that of an event's first acceptance, in UTC. There is no default
//! partition: a day that was dropped does not come back by accident. Texts are compared byte by byte (`"C"`), as in every
//! backend. Compressed columns are not compressed again (`EXTERNAL`).

use service::postgres::{DatabaseError, LONG, PostgresSession, QUICK};

use super::error::HistoryDatabaseError;

/// Takes the lock under which tables are changed. Its number is arbitrary, and the same in every version.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7165134021844)";

/// Asks whether the schema exists. It reads the catalog tables, because functions such as `to_regclass` may answer from
/// before a commit of another process, even after waiting for its lock.
const SCHEMA: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'carteiro_history')";
const TABLE: &str =
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_tables WHERE schemaname = 'carteiro_history' AND tablename = 'meta')";

/// Steps in their order. The format of a database, in `meta.format`, is the number of finished steps.
const STEPS: &[&str] = &[r#"
    CREATE TABLE meta (one INT PRIMARY KEY CHECK (one = 1), format BIGINT NOT NULL, forgotten BIGINT NOT NULL);
    INSERT INTO meta VALUES (1, 1, 0);
    CREATE TABLE lease (one INT PRIMARY KEY CHECK (one = 1), holder TEXT NOT NULL, expires_at TIMESTAMPTZ NOT NULL);
    CREATE TABLE position (stream INT PRIMARY KEY CHECK (stream = 0), value BIGINT NOT NULL);
    CREATE TABLE tenants (no BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name TEXT COLLATE "C" UNIQUE,
                          key BYTEA NOT NULL);
    CREATE TABLE endpoints (no BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant BIGINT NOT NULL,
                            id TEXT COLLATE "C" NOT NULL, UNIQUE (tenant, id));
    CREATE TABLE kept (day DATE NOT NULL, tenant BIGINT NOT NULL, bytes BIGINT NOT NULL, PRIMARY KEY (day, tenant))
        WITH (fillfactor = 50);
    CREATE TABLE processes (id TEXT COLLATE "C" PRIMARY KEY, covers_until BIGINT NOT NULL) WITH (fillfactor = 50);
    CREATE TABLE gaps (began BIGINT NOT NULL, ended BIGINT NOT NULL, cause TEXT NOT NULL, dropped BIGINT NOT NULL,
                       PRIMARY KEY (began, ended, cause));
    CREATE SEQUENCE event_numbers CACHE 1;

    CREATE TABLE events (
        day DATE NOT NULL, no BIGINT NOT NULL, tenant BIGINT NOT NULL, accepted_at BIGINT NOT NULL,
        occurred_at BIGINT NOT NULL, shape BIGINT, matched BOOLEAN NOT NULL, is_whole BOOLEAN NOT NULL,
        is_erased BOOLEAN NOT NULL, id TEXT COLLATE "C" NOT NULL, type TEXT COLLATE "C" NOT NULL,
        source TEXT COLLATE "C" NOT NULL, channel TEXT COLLATE "C", queue TEXT COLLATE "C", ticket TEXT COLLATE "C",
        protocol TEXT COLLATE "C", contact BYTEA, unmatched TEXT,
        PRIMARY KEY (no, day), UNIQUE (id, tenant, day)
    ) PARTITION BY RANGE (day);
    CREATE INDEX ON events (accepted_at, no);
    CREATE INDEX ON events (tenant, accepted_at, no);
    CREATE INDEX ON events (ticket, accepted_at, no) WHERE ticket IS NOT NULL;
    CREATE INDEX ON events (protocol, accepted_at, no) WHERE protocol IS NOT NULL;
    CREATE INDEX ON events (contact, accepted_at, no) WHERE contact IS NOT NULL;

    CREATE TABLE deliveries (
        day DATE NOT NULL, event BIGINT NOT NULL, endpoint BIGINT NOT NULL, tenant BIGINT NOT NULL,
        accepted_at BIGINT NOT NULL, run_began BIGINT NOT NULL, last_run BIGINT, next_due BIGINT, shape BIGINT,
        run INT NOT NULL, attempts INT NOT NULL, last_number INT, state SMALLINT NOT NULL, id UUID NOT NULL,
        part TEXT COLLATE "C" NOT NULL, reason TEXT COLLATE "C", outcome TEXT COLLATE "C",
        subscriptions TEXT NOT NULL,
        PRIMARY KEY (event, endpoint, part, day)
    ) PARTITION BY RANGE (day);
    CREATE INDEX ON deliveries (id);
    CREATE INDEX ON deliveries (endpoint, accepted_at, event);
    CREATE INDEX ON deliveries (tenant, accepted_at, event) WHERE state = 0;
    CREATE INDEX ON deliveries (tenant, accepted_at, event) WHERE state = 2;

    CREATE TABLE attempts (
        day DATE NOT NULL, event BIGINT NOT NULL, endpoint BIGINT NOT NULL, run_began BIGINT NOT NULL,
        at BIGINT NOT NULL, next_due BIGINT, number INT NOT NULL, deferrals INT NOT NULL,
        part TEXT COLLATE "C" NOT NULL, post BYTEA,
        PRIMARY KEY (event, endpoint, part, run_began, number, day)
    ) PARTITION BY RANGE (day);

    ALTER TABLE attempts ALTER COLUMN post SET STORAGE EXTERNAL;

    CREATE TABLE bodies (
        day DATE NOT NULL, event BIGINT NOT NULL, tenant BIGINT NOT NULL, accepted_at BIGINT NOT NULL,
        shape BIGINT NOT NULL, body BYTEA NOT NULL,
        PRIMARY KEY (event, shape, day)
    ) PARTITION BY RANGE (day);
    ALTER TABLE bodies ALTER COLUMN body SET STORAGE EXTERNAL;
    CREATE INDEX ON bodies (tenant, accepted_at);

    CREATE TABLE counts (
        day DATE NOT NULL, tenant BIGINT NOT NULL, hour BIGINT NOT NULL, endpoint BIGINT NOT NULL,
        count BIGINT NOT NULL, what TEXT COLLATE "C" NOT NULL, durations BYTEA NOT NULL,
        PRIMARY KEY (tenant, hour, endpoint, what, day)
    ) PARTITION BY RANGE (day);
"#];

pub(super) const FORMAT: i64 = STEPS.len() as i64;

pub(super) async fn apply(session: &PostgresSession, place: &str) -> Result<(), HistoryDatabaseError> {
    match found(session).await? {
        Some(FORMAT) => Ok(()),
        Some(newer) if newer > FORMAT => {
            Err(HistoryDatabaseError::Newer { place: place.to_owned(), found: newer, known: FORMAT })
        }
        _ => {
            session.begin().await?;
            let applied = apply_within(session).await;
            Ok(session.end(applied).await?)
        }
    }
}

async fn apply_within(session: &PostgresSession) -> Result<(), DatabaseError> {
    // Another process may be in a long step.
    session.batch("SET LOCAL lock_timeout TO '20s'").await?;
    session.query(LONG, LOCK, &[]).await?;
    let done = found(session).await?.unwrap_or(0);
    if done == 0 && !is_there(session, SCHEMA).await? {
        session.batch("CREATE SCHEMA carteiro_history").await?;
    }
    let done = usize::try_from(done).unwrap_or(usize::MAX);
    for step in STEPS.iter().skip(done) {
        session.batch(step).await?;
    }
    session.batch(&format!("UPDATE meta SET format = {FORMAT} WHERE format < {FORMAT}")).await
}

/// Returns the number of finished steps, or none when there are no tables yet.
async fn found(session: &PostgresSession) -> Result<Option<i64>, DatabaseError> {
    if !is_there(session, TABLE).await? {
        return Ok(None);
    }
    let rows = session.query(QUICK, "SELECT format FROM meta", &[]).await?;
    Ok(rows.first().map(|row| row.get(0)))
}

async fn is_there(session: &PostgresSession, question: &str) -> Result<bool, DatabaseError> {
    Ok(session.query(QUICK, question, &[]).await?.first().is_some_and(|row| row.get(0)))
}
