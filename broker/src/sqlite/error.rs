//! Why the broker's file could not be opened. Each is a configuration error of the process.

use std::{io, path::PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum BrokerFileError {
    /// Another process has the file.
    #[error("{} is in use by another process: only one may write (it holds the file `lock` beside it)", .0.display())]
    Held(PathBuf),
    #[error("{} has the format {found}, this program knows formats up to {known}: use a newer one", path.display())]
    Newer { path: PathBuf, found: i64, known: i64 },
    /// The folder, the lock file or the thread could not be made.
    #[error("cannot open {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// SQLite refused: not a database, no permission, no space.
    #[error("cannot open the database {}: {source}", path.display())]
    Database { path: PathBuf, source: rusqlite::Error },
}
