//! Opens the file: takes the lock that keeps a second process out, applies the settings, updates the tables.

use std::path::Path;

use rusqlite::Connection;
use service::sqlite_file::{self, FileLock, LockError};

use super::migrations::{self, MigrationError};
use crate::StoreOpenError;

/// WAL with `synchronous=FULL`: a commit is on the disk before the change is answered.
const SETTINGS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA temp_store = MEMORY;
";

#[derive(Debug)]
pub(super) struct OpenDatabase {
    pub(super) connection: Connection,
    pub(super) _lock: FileLock,
}

pub(super) fn open(path: &Path) -> Result<OpenDatabase, StoreOpenError> {
    let _lock = lock(path)?;
    let mut connection = sqlite_file::open(path).map_err(|error| unusable(path, &error))?;
    // The format is checked before the settings, which write: a file of a newer format must stay unchanged.
    let found = sqlite_file::format(&connection).map_err(|error| unusable(path, &error))?;
    if found > migrations::FORMAT {
        return Err(MigrationError::Newer(found).of(path));
    }
    connection.execute_batch(SETTINGS).map_err(|error| unusable(path, &error))?;
    migrations::apply(&mut connection).map_err(|error| error.of(path))?;
    Ok(OpenDatabase { connection, _lock })
}

/// Keeps every other process from opening the store's file at `path`, which need not exist. Creates its folder.
///
/// # Errors
/// [`StoreOpenError::Held`] when another process has it.
pub fn lock(path: &Path) -> Result<FileLock, StoreOpenError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    FileLock::take(Path::new(&beside)).map_err(|error| match error {
        LockError::Held => StoreOpenError::Held(path.display().to_string()),
        LockError::File { path, source } => unusable(&path, &source),
    })
}

pub(super) fn unusable(path: &Path, reason: &dyn std::fmt::Display) -> StoreOpenError {
    StoreOpenError::Unusable { place: path.display().to_string(), reason: reason.to_string() }
}
