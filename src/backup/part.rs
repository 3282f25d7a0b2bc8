//! The files of a backup, and the path of each on this machine.

use std::path::{Path, PathBuf};

use store::Location;

use crate::{
    config::Config,
    process::{self, broker_file, control_file, operator_key_file, store_key_file},
};

/// Folder of history's files in a backup.
pub(super) const HISTORY: &str = "history";

/// The folder with history on this machine. None where it is in a database, or nothing is recorded.
pub(crate) fn history_folder(config: &Config) -> Option<PathBuf> {
    let is_local = config.history.is_on()
        && config.history.database().is_none()
        && !matches!(config.store.location(&config.data_dir), Ok(Location::Postgres(_)));
    is_local.then(|| process::history_folder(&config.data_dir))
}

/// Where a file of a backup's history goes; none for what is no such file.
pub(super) fn history_file(folder: &Path, name: &str) -> Option<PathBuf> {
    let file = name.strip_prefix(HISTORY)?.strip_prefix('/')?;
    history::is_history_file(file).then(|| folder.join(file))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BackupPart {
    Broker,
    /// The embedded store's file: the configured tenants, usage, the audit log, and jobs.
    Store,
    /// The jobs of control beside a `file:` store.
    Control,
    /// The key that encrypts secrets in the store, unless one is configured.
    StoreKey,
    /// The operator's key, unless it is configured.
    OperatorKey,
}

impl BackupPart {
    /// All parts, in the order of copying. The broker is copied before the store, so that the copied store has every
    /// endpoint with a waiting delivery. In the other order, an endpoint made in between would be missing.
    pub(crate) const ALL: [Self; 5] = [Self::Broker, Self::StoreKey, Self::Store, Self::Control, Self::OperatorKey];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Broker => "broker.db",
            Self::Store => "store.db",
            Self::Control => "control.db",
            Self::StoreKey => "store.key",
            Self::OperatorKey => "operator.key",
        }
    }

    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.name() == name)
    }

    /// The file's path on this machine. None when a setting replaces the file.
    pub(crate) fn path(self, config: &Config) -> Option<PathBuf> {
        match self {
            Self::Broker => config.broker.is_embedded().then(|| broker_file(&config.data_dir)),
            Self::Store => match config.store.location(&config.data_dir) {
                Ok(Location::Sqlite(file)) => Some(file),
                Ok(Location::Folder(_) | Location::Postgres(_)) | Err(_) => None,
            },
            Self::Control => match config.store.location(&config.data_dir) {
                Ok(Location::Folder(_)) => Some(control_file(&config.data_dir)),
                Ok(Location::Sqlite(_) | Location::Postgres(_)) | Err(_) => None,
            },
            Self::StoreKey => Some(store_key_file(&config.data_dir)),
            Self::OperatorKey => Some(operator_key_file(&config.data_dir)),
        }
    }

    /// True for an SQLite file, which may have others beside it.
    pub(crate) fn is_database(self) -> bool {
        matches!(self, Self::Broker | Self::Store | Self::Control)
    }
}
