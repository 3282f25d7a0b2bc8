//! Opens the file: takes the lock that keeps a second process out, applies the settings, updates the tables.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use service::sqlite_file::{self, FileLock, LockError};

use super::migrations::Migrations;
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

pub(super) fn open(path: &Path, lock: FileLock, migrations: &Migrations) -> Result<OpenDatabase, StoreOpenError> {
    let mut connection = sqlite_file::open(path).map_err(|error| unusable(path, &error))?;
    // The format is checked before the settings, which write: a file of a newer format must stay unchanged.
    let found = sqlite_file::format(&connection).map_err(|error| unusable(path, &error))?;
    migrations.refuse_newer(found, path)?;
    connection.execute_batch(SETTINGS).map_err(|error| unusable(path, &error))?;
    migrations.apply(&mut connection).map_err(|error| unusable(path, &error))?;
    Ok(OpenDatabase { connection, _lock: lock })
}

/// Keeps every other process from opening the store's file at `path`, which need not exist. Creates its folder.
///
/// # Errors
/// [`StoreOpenError::Held`] when another process has it.
pub fn lock(path: &Path) -> Result<FileLock, StoreOpenError> {
    FileLock::take(&beside(path)).map_err(|error| not_locked(path, error))
}

/// Keeps every other process from taking [`lock`], but not from sharing the file.
pub(super) fn lock_shared(path: &Path) -> Result<FileLock, StoreOpenError> {
    FileLock::share(&beside(path)).map_err(|error| not_locked(path, error))
}

fn beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    beside.into()
}

fn not_locked(path: &Path, error: LockError) -> StoreOpenError {
    match error {
        LockError::Held => StoreOpenError::Held(path.display().to_string()),
        LockError::File { path, source } => unusable(&path, &source),
    }
}

pub(super) fn unusable(path: &Path, reason: &dyn std::fmt::Display) -> StoreOpenError {
    StoreOpenError::Unusable { place: path.display().to_string(), reason: reason.to_string() }
}
