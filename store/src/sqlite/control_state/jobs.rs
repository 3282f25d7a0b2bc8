//! Statements on the table `jobs`.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::super::rows::{signed, unsigned};
use crate::{Job, JobProgress, JobQuery, JobState};

const COLUMNS: &str =
    "SELECT id, tenant, tenant_created, kind, state, spec, matched, position, done, skipped, started_at,
                           ended_at FROM jobs";

pub(super) fn insert(connection: &Connection, job: &Job, most: u32) -> rusqlite::Result<bool> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO jobs (id, tenant, tenant_created, kind, state, spec, matched, position, done, skipped, started_at)
         SELECT ?1, ?2, ?3, ?4, 'running', ?5, ?6, ?7, ?8, ?9, ?10
         WHERE (SELECT count(*) FROM jobs WHERE state = 'running' AND kind = ?4) < ?11",
    )?;
    let Job { id, tenant, tenant_created, kind, spec, matched, position, done, skipped, started_at, .. } = job;
    let [created, matched, done, skipped, started_at] =
        [*tenant_created, *matched, *done, *skipped, *started_at].map(signed);
    insert
        .execute(params![id, tenant, created, kind, spec, matched, position, done, skipped, started_at, most])
        .map(|rows| rows > 0)
}

pub(super) fn record_progress(connection: &Connection, progress: &[JobProgress]) -> rusqlite::Result<()> {
    let mut update =
        connection.prepare_cached("UPDATE jobs SET position = ?2, done = ?3, skipped = ?4 WHERE id = ?1")?;
    progress.iter().try_for_each(|JobProgress { id, position, done, skipped }| {
        update.execute(params![id, position, signed(*done), signed(*skipped)]).map(drop)
    })
}

pub(super) fn end(connection: &Connection, id: &str, state: JobState, at: u64) -> rusqlite::Result<bool> {
    let mut update =
        connection.prepare_cached("UPDATE jobs SET state = ?2, ended_at = ?3 WHERE id = ?1 AND state = 'running'")?;
    update.execute(params![id, state.as_str(), signed(at)]).map(|rows| rows > 0)
}

pub(super) fn one(connection: &Connection, id: &str) -> rusqlite::Result<Option<Job>> {
    connection.prepare_cached(&format!("{COLUMNS} WHERE id = ?1"))?.query_row([id], job).optional()
}

pub(super) fn newest(connection: &Connection, query: JobQuery<'_>) -> rusqlite::Result<Vec<Job>> {
    let JobQuery { kind, tenant, before, limit } = query;
    // Ids are lower-case hex digits and dashes, so that none sorts after this text.
    let before = before.unwrap_or("~");
    let end = "ORDER BY id DESC LIMIT ?3";
    match tenant {
        Some((tenant, created)) => connection
            .prepare_cached(&format!(
                "{COLUMNS} WHERE kind = ?1 AND id < ?2 AND tenant = ?4 AND tenant_created = ?5 {end}"
            ))?
            .query_map(params![kind, before, limit, tenant, signed(created)], job)?
            .collect(),
        None => connection
            .prepare_cached(&format!("{COLUMNS} WHERE kind = ?1 AND id < ?2 {end}"))?
            .query_map(params![kind, before, limit], job)?
            .collect(),
    }
}

pub(super) fn running(connection: &Connection) -> rusqlite::Result<Vec<Job>> {
    connection.prepare_cached(&format!("{COLUMNS} WHERE state = 'running' ORDER BY id"))?.query_map([], job)?.collect()
}

pub(super) fn trim(connection: &Connection, before: u64, most: u32) -> rusqlite::Result<u64> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM jobs WHERE state <> 'running' AND (ended_at < ?1 OR id IN
             (SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY tenant, kind ORDER BY id DESC) AS place
                              FROM jobs WHERE state <> 'running') WHERE place > ?2))",
    )?;
    delete.execute(params![signed(before), most]).map(|rows| rows as u64)
}

fn job(row: &rusqlite::Row<'_>) -> rusqlite::Result<Job> {
    let number = |at| row.get(at).map(unsigned);
    Ok(Job {
        id: row.get(0)?,
        tenant: row.get(1)?,
        tenant_created: number(2)?,
        kind: row.get(3)?,
        state: JobState::parse(row.get_ref(4)?.as_str()?),
        spec: row.get(5)?,
        matched: number(6)?,
        position: row.get(7)?,
        done: number(8)?,
        skipped: number(9)?,
        started_at: number(10)?,
        ended_at: row.get::<_, Option<i64>>(11)?.map(unsigned),
    })
}
