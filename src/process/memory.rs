//! The store that the configuration names, and the keys it encrypts with.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use service::{ConfigError, Exit, Shutdown};
use store::{FileStore, KeyFile, Keyring, Location, SqliteStore, Store};

use super::data_dir;
use crate::config::Config;

/// How often the folder of a `file:` store is looked at: the bound of a change's delay.
const POLL: Duration = Duration::from_millis(500);

/// Opens the store and keeps it up to date until the process ends.
///
/// # Errors
/// What cannot be opened, or is not for separate roles.
pub(super) async fn open(config: &Config, is_standalone: bool, shutdown: &Shutdown) -> anyhow::Result<Arc<dyn Store>> {
    let location = config.store.location(&config.data_dir).map_err(|error| ConfigError::new("store.url", error))?;
    match location {
        Location::Folder(folder) => open_folder(&folder, shutdown).await,
        Location::Sqlite(file) if is_standalone => {
            data_dir::make(&config.data_dir)?;
            let store = SqliteStore::open(&file, keyring(config)?).await.context(Exit::Config)?;
            tokio::spawn(reseal(store.clone()));
            Ok(Arc::new(store))
        }
        Location::Sqlite(_) => {
            let why =
                "the embedded store lives inside `carteiro standalone`; separate roles need postgres://… or file:…";
            Err(ConfigError::new("store.url", why).into())
        }
        Location::Postgres(_) => {
            Err(ConfigError::new("store.url", "postgres: is not available in this version").into())
        }
    }
}

async fn open_folder(folder: &Path, shutdown: &Shutdown) -> anyhow::Result<Arc<dyn Store>> {
    let store = Arc::new(FileStore::open(folder).await.context(Exit::Config)?);
    let (watched, shutdown) = (store.clone(), shutdown.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = watched.watch(POLL, tokio_util::sync::CancellationToken::new()) => {}
            () = shutdown.requested() => {}
        }
    });
    Ok(store)
}

/// Once no old key is needed, it can be taken out of the configuration.
async fn reseal(store: SqliteStore) {
    match store.reseal().await {
        Ok(0) => {}
        Ok(rows) => tracing::info!(rows, "store.resealed"),
        Err(error) => tracing::error!(%error, "store.reseal_failed"),
    }
}

/// The configured keys and those of the key file, which is made where there is no key at all.
fn keyring(config: &Config) -> anyhow::Result<Keyring> {
    let path = data_dir::store_key(&config.data_dir);
    let mut file = KeyFile::read(&path).with_context(|| path.display().to_string()).context(Exit::Config)?;
    if config.store.encryption_key.is_none() && file.keys().is_empty() {
        file.add().with_context(|| path.display().to_string()).context(Exit::Config)?;
        tracing::info!(file = %path.display(), "store_key.made");
    }
    let keyring = config.store.keyring(file.keys()).map_err(|(key, weak)| ConfigError::new(key, weak))?;
    keyring.ok_or_else(|| ConfigError::new("store.encryption_key", "there is no key").into())
}
