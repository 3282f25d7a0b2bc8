//! Opens the store that the configuration names, with the keys that encrypt its secrets.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use service::{ConfigError, Exit, sqlite_file::FileLock};
use store::{FileStore, KeyFile, Keyring, Location, PostgresStore, SqliteControlState, SqliteStore, Store};
use tokio_util::sync::CancellationToken;

use super::{Roles, data_dir};
use crate::config::Config;

/// Polling interval for the folder of a `file:` store: the longest delay of a change.
const FOLDER_POLL: Duration = Duration::from_millis(500);

/// Polling interval for a database, because a notification may be missed.
const DATABASE_POLL: Duration = Duration::from_secs(10);

/// Pause after a failed attempt to encrypt secrets with the newest key. It is not urgent.
const RESEAL_PAUSE: Duration = Duration::from_secs(60);

/// The store, and what keeps other processes from its folder. The process holds both until its end.
pub(super) struct OpenStore {
    pub(super) store: Arc<dyn Store>,
    pub(super) snapshot_lock: Option<FileLock>,
}

/// Opens the store and keeps it up to date until the process ends. The embedded store requires all roles in this
/// process.
pub(super) async fn open_store(
    config: &Config,
    roles: Roles,
    shutdown: &CancellationToken,
) -> anyhow::Result<OpenStore> {
    let mut snapshot_lock = None;
    let store: Arc<dyn Store> = match location(config)? {
        Location::Folder(folder) => {
            let control_state = if roles.control { Some(open_control_state(config).await?) } else { None };
            open_folder(&folder, control_state, shutdown).await?
        }
        Location::Sqlite(_) if !roles.is_standalone() => {
            let why =
                "the embedded store lives inside `carteiro standalone`; separate roles need postgres://… or file:…";
            return Err(ConfigError::new("store.url", why).into());
        }
        Location::Sqlite(file) => {
            data_dir::make(&config.data_dir)?;
            Arc::new(SqliteStore::open(&file, keyring(config)?).await.context(Exit::Config)?)
        }
        Location::Postgres(url) => {
            data_dir::make(&config.data_dir)?;
            snapshot_lock = Some(data_dir::lock_snapshot(&config.data_dir)?);
            let on_disk = data_dir::snapshot(&config.data_dir);
            let opened = PostgresStore::open(&url, keyring(config)?, on_disk, DATABASE_POLL).await;
            Arc::new(opened.context(Exit::Config)?)
        }
    };
    if roles.control {
        tokio::spawn(reseal(store.clone()));
    }
    Ok(OpenStore { store, snapshot_lock })
}

/// The configured store. Fails when its file would be made in a folder that does not exist: a slip would then begin an
/// empty store.
pub fn location(config: &Config) -> Result<Location, ConfigError> {
    let refuse = |reason: String| ConfigError::new("store.url", reason);
    let location = config.store.location(&config.data_dir).map_err(|error| refuse(error.to_string()))?;
    if let Location::Sqlite(file) = &location {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| *folder != config.data_dir && !folder.is_dir()) {
            return Err(refuse(format!("there is no folder {}", folder.display())));
        }
    }
    Ok(location)
}

/// Opens what control keeps beside a `file:` store, whose folder is never written. With an embedded broker, no other
/// process uses the data folder.
async fn open_control_state(config: &Config) -> anyhow::Result<SqliteControlState> {
    data_dir::make(&config.data_dir)?;
    let file = data_dir::control_file(&config.data_dir);
    let opened = match config.broker.is_embedded() {
        true => SqliteControlState::open(&file).await,
        false => SqliteControlState::open_shared(&file).await,
    };
    opened.context(Exit::Config)
}

async fn open_folder(
    folder: &Path,
    control_state: Option<SqliteControlState>,
    shutdown: &CancellationToken,
) -> anyhow::Result<Arc<dyn Store>> {
    if !folder.is_dir() {
        tracing::warn!(folder = %folder.display(), "store.folder_missing");
    }
    let store = FileStore::open(folder).await.context(Exit::Config)?;
    let store = Arc::new(match control_state {
        Some(control_state) => store.with_control_state(control_state),
        None => store,
    });
    let (watched, shutdown) = (store.clone(), shutdown.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = watched.watch(FOLDER_POLL, CancellationToken::new()) => {}
            () = shutdown.cancelled() => {}
        }
    });
    Ok(store)
}

/// Encrypts all secrets with the newest key, once the store can be written. Older keys can then be removed from the
/// configuration.
async fn reseal(store: Arc<dyn Store>) {
    loop {
        match store.reseal().await {
            Ok(0) => return,
            Ok(rows) => return tracing::info!(count = rows, "store.resealed"),
            // The store itself logs its outages.
            Err(error) => tracing::debug!(%error, "store.not_resealed"),
        }
        tokio::time::sleep(RESEAL_PAUSE).await;
    }
}

/// The configured keys and those of the key file. The file is made if there is no key at all, which the configuration
/// rules out for PostgreSQL.
fn keyring(config: &Config) -> anyhow::Result<Keyring> {
    let path = data_dir::store_key_file(&config.data_dir);
    let mut file = KeyFile::read(&path).with_context(|| path.display().to_string()).context(Exit::Config)?;
    if config.store.encryption_key.is_none() && file.keys().is_empty() {
        file.add().with_context(|| path.display().to_string()).context(Exit::Config)?;
        tracing::info!(file = %path.display(), "store_key.made");
    }
    let keyring = config.store.keyring(file.keys()).map_err(|(key, weak)| ConfigError::new(key, weak))?;
    keyring.ok_or_else(|| ConfigError::new("store.encryption_key", "there is no key").into())
}
