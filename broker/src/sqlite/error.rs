//! Why the broker's file could not be opened. A process ends with a configuration error on any of these.

use std::{io, path::PathBuf};

/// The broker's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BrokerFileError {
    /// Another process has the file.
    #[error("{} is in use by another process: only one may write (it holds the file `lock` beside it)", .0.display())]
    Held(PathBuf),
    /// A later version of this program wrote the file.
    #[error("{} has the format {found}, this program knows formats up to {known}: use a newer one", path.display())]
    Newer {
        path: PathBuf,
        found: i64,
        /// The latest format that this program knows.
        known: i64,
    },
    /// The folder, the lock file or the thread could not be made.
    #[error("cannot open {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// SQLite refused: not a database, no permission, no space.
    #[error("cannot open the database {}: {source}", path.display())]
    Database { path: PathBuf, source: rusqlite::Error },
}
