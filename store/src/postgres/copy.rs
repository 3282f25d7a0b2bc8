//! Everything out of a database at one moment, and everything into an empty one.

use std::sync::Arc;

use tokio::sync::Notify;

use super::{migrations, rows, session::PostgresSession, url::DatabaseUrl, usage};
use crate::{StoreError, content::StoreDump};

/// Reads everything in the database of this URL.
pub(crate) async fn read(url: &str) -> Result<StoreDump, StoreError> {
    let (session, _) = connected(url).await?;
    // What one statement sees, all see.
    session.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let content = async {
        let meta = rows::meta(&session, false).await?;
        let (rows, usage) = (rows::since(&session, 0).await?, usage::all(&session).await?);
        let audit = rows::log(&session).await?;
        Ok::<_, StoreError>(StoreDump {
            revision: meta.revision,
            forgotten: meta.forgotten,
            proof: meta.proof,
            rows,
            usage,
            audit,
        })
    };
    let content = content.await;
    session.end(content).await
}

/// Writes everything into the database of this URL, in which nothing may be configured.
pub(crate) async fn write(url: &str, content: &StoreDump) -> Result<(), StoreError> {
    let (session, place) = connected(url).await?;
    session.begin().await?;
    let written = write_within(&session, &place, content).await;
    session.end(written).await
}

async fn write_within(session: &PostgresSession, place: &str, content: &StoreDump) -> Result<(), StoreError> {
    let meta = rows::meta(session, true).await?;
    if meta.revision > 1 || !rows::since(session, 0).await?.is_empty() {
        return Err(StoreError(format!("{place} is not empty")));
    }
    rows::put(session, &content.rows).await?;
    rows::note(session, &content.audit).await?;
    usage::record(session, &content.usage).await?;
    rows::set_meta(session, content).await
}

/// A session on tables of this version, and what the database is called.
async fn connected(url: &str) -> Result<(PostgresSession, String), StoreError> {
    let address = DatabaseUrl::parse(url).map_err(|error| StoreError(error.to_string()))?;
    let session = PostgresSession::open(&address, Arc::new(Notify::new())).await?;
    migrations::apply(&session, &address.place).await?;
    Ok((session, address.place))
}
