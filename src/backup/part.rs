//! What a backup is made of, and where each of it belongs.

use std::path::PathBuf;

use store::Location;

use crate::{
    config::Config,
    process::{broker_file, key_file, store_key},
};

/// One of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// What waits.
    Broker,
    /// What is configured, usage and the audit log.
    Store,
    /// What secrets in the store are encrypted with, where that is not configured.
    StoreKey,
    /// The operator's key, where it is not configured.
    OperatorKey,
}

impl Part {
    /// All of them, in the order in which they are copied. The broker comes before the store: what waits was decided
    /// by a configuration that is then there. The other way round a delivery could be for an endpoint made in between.
    pub(crate) const ALL: [Self; 4] = [Self::Broker, Self::StoreKey, Self::Store, Self::OperatorKey];

    /// Its name in the backup.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Broker => "broker.db",
            Self::Store => "store.db",
            Self::StoreKey => "store.key",
            Self::OperatorKey => "operator.key",
        }
    }

    /// By its name in the backup.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.name() == name)
    }

    /// Where it is on this machine; none where something else is configured in its place.
    pub(crate) fn path(self, config: &Config) -> Option<PathBuf> {
        match self {
            Self::Broker => config.broker.is_embedded().then(|| broker_file(&config.data_dir)),
            Self::Store => match config.store.location(&config.data_dir) {
                Ok(Location::Sqlite(file)) => Some(file),
                Ok(Location::Folder(_) | Location::Postgres(_)) | Err(_) => None,
            },
            Self::StoreKey => Some(store_key(&config.data_dir)),
            Self::OperatorKey => Some(key_file(&config.data_dir)),
        }
    }

    /// Whether SQLite keeps files beside it.
    pub(crate) fn is_database(self) -> bool {
        matches!(self, Self::Broker | Self::Store)
    }
}
