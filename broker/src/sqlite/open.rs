//! Opening the file: the lock that keeps a second writer out, the settings, the tables.

use std::path::Path;

use rusqlite::Connection;
use service::{
    atomic_file::folder_of,
    sqlite_file::{self, FileLock, LockError},
};

use super::OpenError;

/// The format that this program writes, in `user_version`.
const FORMAT: i64 = 1;

/// WAL with `synchronous=FULL`: a commit is on the disk before it is confirmed (with NORMAL the last ones could be lost
/// with the power). A page of 8 KiB holds some four deliveries. The log of changes is folded into the file every 32 MiB
/// (and cut back to that), which spreads the cost of the two writes each page needs.
const SETTINGS: &str = "
    PRAGMA page_size = 8192;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = 4096;
    PRAGMA journal_size_limit = 33554432;
    PRAGMA cache_size = -16384;
    PRAGMA temp_store = MEMORY;
";

/// `seq` is given out by the writer and never comes again; `mark` is the last one ever handed out, so that a row at or
/// below it has been with somebody. That takes one write for a whole batch, where a claim for each message would take
/// two for each. `again` has the counts above zero. Delayed messages have a table of their own and move to the end of
/// their lane when they are due, so that lanes need no index and are read by a cursor alone.
const TABLES: &str = "
    CREATE TABLE ingest (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL,
                         headers BLOB NOT NULL, body BLOB NOT NULL);
    CREATE TABLE fast   (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL,
                         headers BLOB NOT NULL, body BLOB NOT NULL);
    CREATE TABLE slow   (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL,
                         headers BLOB NOT NULL, body BLOB NOT NULL);
    CREATE TABLE mark   (place TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE again  (place TEXT NOT NULL, seq INTEGER NOT NULL, count INTEGER NOT NULL,
                         PRIMARY KEY (place, seq)) WITHOUT ROWID;
    CREATE TABLE later  (seq INTEGER PRIMARY KEY, due INTEGER NOT NULL, lane TEXT NOT NULL, id TEXT NOT NULL,
                         kind TEXT NOT NULL, key TEXT NOT NULL, headers BLOB NOT NULL, body BLOB NOT NULL);
    CREATE INDEX later_due ON later (due, lane);
    CREATE TABLE dead   (\"offset\" INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, id TEXT NOT NULL,
                         kind TEXT NOT NULL, key TEXT NOT NULL, headers BLOB NOT NULL, body BLOB NOT NULL);
    CREATE TABLE park   (\"offset\" INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, id TEXT NOT NULL,
                         kind TEXT NOT NULL, key TEXT NOT NULL, headers BLOB NOT NULL, body BLOB NOT NULL);
    CREATE TABLE weight (log TEXT PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE probe  (one INTEGER PRIMARY KEY, tries INTEGER NOT NULL);
    PRAGMA user_version = 1;
";

/// The file, opened for writing, and what keeps others from doing the same.
pub(super) struct Opened {
    pub(super) connection: Connection,
    /// Its drop lets the next process in.
    pub(super) lock: FileLock,
}

/// Opens or makes the file at `path` and its folder.
pub(super) fn open(path: &Path) -> Result<Opened, OpenError> {
    let lock = lock(path)?;
    let connection = sqlite_file::open(path).map_err(|source| OpenError::File { path: path.into(), source })?;
    let found = sqlite_file::format(&connection).map_err(|source| OpenError::Database { path: path.into(), source })?;
    if found > FORMAT {
        return Err(OpenError::Newer { path: path.into(), found, known: FORMAT });
    }
    prepare(&connection, found).map_err(|source| OpenError::Database { path: path.into(), source })?;
    Ok(Opened { connection, lock })
}

/// Keeps every other process from opening the broker's file at `path`, which need not be there; its folder is made.
///
/// # Errors
/// [`OpenError::Held`] when a process has it.
pub fn lock(path: &Path) -> Result<FileLock, OpenError> {
    FileLock::take(&folder_of(path).join("lock")).map_err(|error| match error {
        LockError::Held => OpenError::Held(path.into()),
        LockError::File { path, source } => OpenError::File { path, source },
    })
}

/// Sets the connection up, and makes the tables if the format found is none.
pub(super) fn prepare(connection: &Connection, found: i64) -> rusqlite::Result<()> {
    connection.execute_batch(SETTINGS)?;
    if found < FORMAT {
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {TABLES} COMMIT;"))?;
    }
    Ok(())
}
