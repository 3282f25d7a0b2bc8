//! Opens history where the configuration says.

use std::sync::Arc;

use history::{History, SqliteHistory};

use super::data_dir;
use crate::config::Config;

/// History in a folder of `data_dir`.
pub(super) async fn open_history(config: &Config) -> anyhow::Result<Arc<dyn History>> {
    data_dir::make(&config.data_dir)?;
    let (folder, max_bytes) = (data_dir::history_folder(&config.data_dir), config.history.max_bytes);
    let opened = tokio::task::spawn_blocking(move || SqliteHistory::open(&folder, max_bytes)).await?;
    Ok(Arc::new(opened?))
}
