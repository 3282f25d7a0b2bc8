//! Opening the file: the lock that keeps a second writer out, the settings, and the tables.

use std::{
    fs::{File, TryLockError},
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use super::BrokerFileError;

/// The format that this program writes; the file holds it as `user_version`.
const FORMAT: i64 = 1;

/// How long a transaction waits for that of somebody else (a person with a database tool) before publishing counts as
/// blocked.
const BUSY_TIMEOUT: Duration = Duration::from_millis(500);

/// WAL with `synchronous=FULL`: a commit is on the disk before it is confirmed. (With NORMAL, the last commits could be lost
/// at a power cut.) A page of 8 KiB holds about four deliveries. The WAL is checkpointed every 32 MiB and cut back to that,
/// which spreads the cost of the two writes that each page needs.
const SETTINGS: &str = "
    PRAGMA page_size = 8192;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = 4096;
    PRAGMA journal_size_limit = 33554432;
    PRAGMA cache_size = -16384;
    PRAGMA temp_store = MEMORY;
";

/// The writer gives out each `seq` once. `mark` holds the last `seq` that was ever handed out, so a row at or below it was
/// handed out before: that takes one write for a whole batch, where a claim for each message would take two for each.
/// `again` holds the counts above zero. Delayed messages are in the table `later` and move to the end of their lane when
/// they are due, so that lanes need no index and are read by a cursor alone.
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

/// The file, opened for writing, and its lock.
pub(super) struct BrokerFile {
    pub(super) connection: Connection,
    /// Its drop lets the next process open the file.
    pub(super) lock: File,
}

/// Opens the file at `path`. Makes the file and its folder if they do not exist.
pub(super) fn open(path: &Path) -> Result<BrokerFile, BrokerFileError> {
    let lock = lock(path)?;
    let connection = connect(path).map_err(|source| BrokerFileError::Database { path: path.into(), source })?;
    let found = format(&connection).map_err(|source| BrokerFileError::Database { path: path.into(), source })?;
    if found > FORMAT {
        return Err(BrokerFileError::Newer { path: path.into(), found, known: FORMAT });
    }
    prepare(&connection, found).map_err(|source| BrokerFileError::Database { path: path.into(), source })?;
    Ok(BrokerFile { connection, lock })
}

/// Opens the file for reading only. Works beside a writing process, and on what a crash has left behind.
pub(super) fn open_read_only(path: &Path) -> rusqlite::Result<Connection> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Takes the lock that keeps every other process out.
pub(super) fn lock(path: &Path) -> Result<File, BrokerFileError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let failed = |at: &Path, source| BrokerFileError::File { path: at.into(), source };
    std::fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
    let at = folder.join("lock");
    let file = File::options().create(true).append(true).open(&at).map_err(|source| failed(&at, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BrokerFileError::Held(path.into())),
        Err(TryLockError::Error(source)) => Err(failed(&at, source)),
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn format(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Applies the settings, and makes the tables in a new file.
pub(super) fn prepare(connection: &Connection, found: i64) -> rusqlite::Result<()> {
    connection.execute_batch(SETTINGS)?;
    if found < FORMAT {
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {TABLES} COMMIT;"))?;
    }
    Ok(())
}
