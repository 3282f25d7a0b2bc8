//! Reads everything in a database at one moment, and writes everything into an empty one.

use std::sync::Arc;

use tokio::sync::Notify;

use super::{failure::BEGINNING, migrations, rows, usage};
use crate::{StoreError, dump::StoreDump};
use service::postgres::{DatabaseUrl, PostgresSession};

pub(crate) async fn read(url: &str) -> Result<StoreDump, StoreError> {
    let (session, _) = connected(url).await?;
    // All statements of this transaction see the same state.
    session.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let dump = async {
        let (_, meta) = rows::meta(&session, false).await?;
        let (rows, usage) = (rows::since(&session, 0).await?, usage::all(&session).await?);
        let audit = rows::all_audit(&session).await?;
        Ok::<_, StoreError>(StoreDump { meta, rows, usage, audit })
    };
    let dump = dump.await;
    session.end(dump).await
}

/// Writes everything into the database of a URL, in which nothing may be configured.
pub(crate) async fn write(url: &str, dump: &StoreDump) -> Result<(), StoreError> {
    let (session, place) = connected(url).await?;
    session.begin().await?;
    let written = write_within(&session, &place, dump).await;
    session.end(written).await
}

async fn write_within(session: &PostgresSession, place: &str, dump: &StoreDump) -> Result<(), StoreError> {
    let (_, meta) = rows::meta(session, true).await?;
    if meta.revision > 1 || !rows::since(session, 0).await?.is_empty() {
        return Err(StoreError(format!("{place} is not empty")));
    }
    rows::put(session, &dump.rows).await?;
    rows::insert_audit(session, &dump.audit).await?;
    usage::record(session, &dump.usage).await?;
    rows::set_meta(session, &dump.meta).await
}

/// Opens a session on tables of this version. Returns the name of the database as well.
async fn connected(url: &str) -> Result<(PostgresSession, String), StoreError> {
    let url = DatabaseUrl::parse(url).map_err(|error| StoreError(error.to_string()))?;
    let session = PostgresSession::open(&url, BEGINNING, Arc::new(Notify::new())).await?;
    migrations::apply(&session, &url.place).await?;
    Ok((session, url.place))
}
