//! Opening the file: the lock that keeps a second writer out, the settings, and the tables.

use std::path::Path;

use rusqlite::Connection;
use service::{
    atomic_file::folder_of,
    sqlite_file::{self, FileLock, LockError},
};

use super::{BrokerFileError, free_pages::can_shrink, space::pragma};

/// The steps that make the tables, in their order. The format of a file, its `user_version`, is the number of finished
/// steps.
const STEPS: [&str; 3] = [TABLES, INGEST_SLOW, PACKED_HEADERS];
/// The format that this program writes.
const FORMAT: i64 = STEPS.len() as i64;

/// WAL with `synchronous=FULL`: a commit is on the disk before it is confirmed. (NORMAL could lose the last commits at
/// a power cut.) A page of 8 KiB holds about four deliveries. [`Checkpoints`](super::checkpoints::Checkpoints)
/// keeps the WAL small.
/// The page cache holds the largest transaction: pages that do not fit would be written before its commit, which fails on a
/// full disk. `auto_vacuum` lets [`FreePages`](super::free_pages::FreePages) shrink the file. `secure_delete` overwrites what is
/// deleted, so that an erasure finds nothing in free pages; its price is in `docs/privacy.md`.
const SETTINGS: &str = "
    PRAGMA page_size = 8192;
    PRAGMA auto_vacuum = INCREMENTAL;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA cache_size = -16384;
    PRAGMA temp_store = MEMORY;
    PRAGMA secure_delete = ON;
";

/// Largest size of a file of an earlier version, in bytes in use, that is rewritten at its start so that it can shrink. It takes
/// as much memory, and less than a second.
const LARGEST_REWRITE: u64 = 16 * 1024 * 1024;

/// The writer gives out each `seq` once. `mark` holds the last `seq` that was handed out, so one write covers a whole
/// batch, where a claim for each message would take two for each. `again` holds the counts above zero. Delayed messages
/// are in the table `later` and move to the end of their lane when they are due, so that lanes need no index and are
/// read by a cursor alone.
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
";

/// The events that were put aside.
const INGEST_SLOW: &str = "
    CREATE TABLE ingest_slow (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL,
                              headers BLOB NOT NULL, body BLOB NOT NULL);
";

/// Changes no table: rows with packed headers may be there, which earlier versions cannot read.
const PACKED_HEADERS: &str = "";

pub(super) struct BrokerFile {
    pub(super) connection: Connection,
    /// Its drop lets the next process open the file.
    pub(super) lock: FileLock,
}

/// Makes the file and its folder if they do not exist.
pub(super) fn open(path: &Path) -> Result<BrokerFile, BrokerFileError> {
    let lock = lock(path)?;
    let connection = sqlite_file::open(path).map_err(|source| BrokerFileError::File { path: path.into(), source })?;
    let found =
        sqlite_file::format(&connection).map_err(|source| BrokerFileError::Database { path: path.into(), source })?;
    if found > FORMAT {
        return Err(BrokerFileError::Newer { path: path.into(), found, known: FORMAT });
    }
    prepare(&connection, found).map_err(|source| BrokerFileError::Database { path: path.into(), source })?;
    Ok(BrokerFile { connection, lock })
}

/// Locks the broker's file at `path` against every other process. The file need not exist; its folder is made.
pub fn lock(path: &Path) -> Result<FileLock, BrokerFileError> {
    FileLock::take(&folder_of(path).join("lock")).map_err(|error| match error {
        LockError::Held => BrokerFileError::Held(path.into()),
        LockError::File { path, source } => BrokerFileError::File { path, source },
    })
}

pub(super) fn prepare(connection: &Connection, found: i64) -> rusqlite::Result<()> {
    connection.execute_batch(SETTINGS)?;
    if !can_shrink(connection)?
        && used_bytes(connection)? <= LARGEST_REWRITE
        && let Err(error) = connection.execute_batch("VACUUM")
    {
        // The file is used as it is.
        tracing::debug!(%error, "broker.file_not_rewritten");
    }
    if found < FORMAT {
        let missing = STEPS[usize::try_from(found).unwrap_or(0)..].concat();
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {missing} PRAGMA user_version = {FORMAT}; COMMIT;"))?;
    }
    Ok(())
}

fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let [pages, free] = [pragma(connection, "page_count")?, pragma(connection, "freelist_count")?];
    Ok((pages - free) * pragma(connection, "page_size")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_first_format_keeps_its_messages_and_gets_the_tables_that_it_lacks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broker.db");
        let first = Connection::open(&path).unwrap();
        let event = "INSERT INTO ingest (id, kind, key, headers, body) VALUES ('e1', '', '', x'', x'')";
        first.execute_batch(&format!("{TABLES} PRAGMA user_version = 1; {event}")).unwrap();
        drop(first);
        for _ in 0..2 {
            let file = open(&path).unwrap();
            assert_eq!(sqlite_file::format(&file.connection).unwrap(), FORMAT);
            let rows = |table| -> i64 {
                let count = format!("SELECT count(*) FROM {table}");
                file.connection.query_row(&count, [], |row| row.get(0)).unwrap()
            };
            assert_eq!(["ingest", "ingest_slow"].map(rows), [1, 0]);
            assert!(can_shrink(&file.connection).unwrap(), "it is rewritten");
        }
    }

    #[test]
    fn a_large_file_that_cannot_shrink_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broker.db");
        let first = Connection::open(&path).unwrap();
        let event = "INSERT INTO ingest (id, kind, key, headers, body) VALUES ('e1', '', '', x'', zeroblob(17000000))";
        first.execute_batch(&format!("{TABLES} PRAGMA user_version = 1; {event}")).unwrap();
        drop(first);
        assert!(!can_shrink(&open(&path).unwrap().connection).unwrap());
    }
}
