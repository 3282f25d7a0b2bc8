//! Opening the file: the lock that keeps a second process out, the settings, the tables.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use super::{StoreOpenError, migrations};

/// How long a transaction waits for a stranger's (a person with a database tool).
const STRANGERS: Duration = Duration::from_millis(500);

/// WAL with `synchronous=FULL`: a commit is on the disk before the change is answered.
const SETTINGS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA temp_store = MEMORY;
";

/// The file, opened for writing, and what keeps others from doing the same.
#[derive(Debug)]
pub(super) struct OpenDatabase {
    pub(super) connection: Connection,
    /// Its drop lets the next process in.
    pub(super) _lock: File,
}

/// Opens or makes the file at `path` and its folder, and brings its tables up to date.
pub(super) fn open(path: &Path) -> Result<OpenDatabase, StoreOpenError> {
    let _lock = lock(path)?;
    make(path).map_err(|error| unusable(path, &error))?;
    let mut connection = connect(path).map_err(|error| unusable(path, &error))?;
    // Before the settings: they write, and a newer file is left as it is.
    let found = migrations::format(&connection).map_err(|error| unusable(path, &error))?;
    if found > migrations::FORMAT {
        return Err(migrations::MigrationError::Newer(found).of(path));
    }
    connection.execute_batch(SETTINGS).map_err(|error| unusable(path, &error))?;
    migrations::apply(&mut connection).map_err(|problem| problem.of(path))?;
    Ok(OpenDatabase { connection, _lock })
}

/// Opens the file to look only. Works beside a process that has it open, and on what a crash left behind.
pub(super) fn look(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(STRANGERS)?;
    Ok(connection)
}

pub(super) fn unusable(path: &Path, reason: &dyn std::fmt::Display) -> StoreOpenError {
    StoreOpenError::Unusable { place: path.display().to_string(), reason: reason.to_string() }
}

/// Beside the file, and not the file itself: SQLite has locks of its own on that.
pub(super) fn lock(path: &Path) -> Result<File, StoreOpenError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| unusable(path, &error))?;
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let beside = PathBuf::from(beside);
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&beside);
    let file = file.map_err(|error| unusable(&beside, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreOpenError::Held(path.display().to_string())),
        Err(TryLockError::Error(error)) => Err(unusable(&beside, &error)),
    }
}

/// Makes an empty file where it is missing, mode 0600; SQLite gives the files beside it the same mode.
fn make(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(STRANGERS)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}
