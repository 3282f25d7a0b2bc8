//! Opens history where the configuration says.

use std::sync::Arc;

use history::{History, HistoryDatabaseError, PostgresHistory, SqliteHistory};
use service::ConfigError;
use store::Location;

use super::{data_dir, open_store::location};
use crate::config::Config;

/// History in a database, or in a folder of `data_dir`.
pub(super) async fn open_history(config: &Config) -> anyhow::Result<Arc<dyn History>> {
    let max_bytes = config.history.max_bytes;
    if let Some(url) = database(config)? {
        let opened = PostgresHistory::open(&url, max_bytes).await;
        return Ok(Arc::new(opened.map_err(unusable)?));
    }
    data_dir::make(&config.data_dir)?;
    let folder = data_dir::history_folder(&config.data_dir);
    let opened = tokio::task::spawn_blocking(move || SqliteHistory::open(&folder, max_bytes)).await?;
    Ok(Arc::new(opened?))
}

/// The database that is configured for history, or else the store's.
fn database(config: &Config) -> anyhow::Result<Option<String>> {
    Ok(match (config.history.database(), location(config)?) {
        (Some(url), _) => Some(url.to_owned()),
        (None, Location::Postgres(url)) => Some(url),
        (None, Location::Folder(_) | Location::Sqlite(_)) => None,
    })
}

/// The store's URL has been parsed by then: what is wrong with it is said of its own key.
fn unusable(error: HistoryDatabaseError) -> ConfigError {
    match error {
        HistoryDatabaseError::Database(why) => ConfigError::new("history.url", why),
        newer @ HistoryDatabaseError::Newer { .. } => ConfigError::new("history.url", newer),
    }
}
