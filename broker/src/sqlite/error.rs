//! Why the file could not be opened. A caller ends with a configuration error on any of these.

use std::{io, path::PathBuf};

/// Why the embedded broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process writes it.
    #[error("{} is in use by another process: only one may write (it holds the file `lock` beside it)", .0.display())]
    Held(PathBuf),
    /// A later version of this program wrote it.
    #[error("{} has the format {found}, this program knows formats up to {known}: use a newer one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The folder, the lock file or the thread could not be made.
    #[error("cannot open {}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// SQLite refused: not a database, no permission, no space.
    #[error("cannot open the database {}: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}
