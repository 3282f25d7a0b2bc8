//! Opening, locking and copying a file of SQLite, for the embedded broker and the embedded store. Blocks.
//!
//! What the tables are, and which settings they need, is their owners' business.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};
use tempfile::NamedTempFile;

use crate::atomic_file::{folder_of, persist_new};

/// Longest wait of a transaction for that of another program, such as an administrator's database tool.
const BUSY_TIMEOUT: Duration = Duration::from_millis(500);

/// Prepared statements that a connection keeps: more than either owner has.
const STATEMENTS: usize = 64;

/// All pages in one step. Between two steps, a commit of the process that writes would make the copy begin again, and
/// there is always another commit. Within one step, SQLite reads what was committed when it began, while the writer
/// goes on in its write-ahead log.
const ALL_PAGES: i32 = -1;

/// Keeps every other process from opening a database file while it lives. The lock is on a file beside the database,
/// since SQLite has locks of its own on the database.
#[derive(Debug)]
pub struct FileLock(#[expect(dead_code, reason = "its drop releases the lock")] File);

/// Why a lock was not taken.
#[derive(Debug)]
pub enum LockError {
    /// Another process has it.
    Held,
    /// The lock file, or its folder, could not be made.
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl FileLock {
    /// Locks the file at `path`, which is made with mode 0600 where it is missing, and its folder too.
    ///
    /// # Errors
    /// [`LockError::Held`] when another process has the lock.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let failed = |path: &Path, source| LockError::File { path: path.into(), source };
        let folder = folder_of(path);
        fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        let file = file.map_err(|source| failed(path, source))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(LockError::Held),
            Err(TryLockError::Error(source)) => Err(failed(path, source)),
        }
    }
}

/// Opens a database for reading and writing, and makes an empty one of mode 0600 where it is missing. SQLite gives the
/// files that it keeps beside it the same mode.
///
/// # Errors
/// What the file system or SQLite says.
pub fn open(path: &Path) -> io::Result<Connection> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(io::Error::other),
    }
}

/// Opens a database to read it. Works while another process has it open, and on what a crash left behind.
///
/// # Errors
/// What SQLite says.
pub fn open_read_only(path: &Path) -> rusqlite::Result<Connection> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

fn connect(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// The format of a database's tables, which their owner counts in `user_version`; 0 when there are none.
///
/// # Errors
/// When the file is no database.
pub fn format(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Copies what is committed in a database into a new file at `to`, as [`write_new`] writes it.
///
/// # Errors
/// As [`write_new`].
pub fn copy(source: &Connection, to: &Path) -> io::Result<()> {
    write_new(to, |target| match Backup::new(source, target)?.step(ALL_PAGES)? {
        StepResult::Done => Ok(()),
        // Another program holds a lock for longer than the timeout.
        _ => Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None)),
    })
}

/// Makes a database of mode 0600 at `to`, which is there as a whole or not at all.
///
/// # Errors
/// `AlreadyExists` when `to` is there; otherwise what the file system, SQLite or `fill` says.
pub fn write_new(to: &Path, fill: impl FnOnce(&mut Connection) -> rusqlite::Result<()>) -> io::Result<()> {
    if to.exists() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "exists already"));
    }
    fs::create_dir_all(folder_of(to))?;
    let draft = NamedTempFile::new_in(folder_of(to))?;
    let mut connection = open(draft.path())?;
    fill(&mut connection).map_err(io::Error::other)?;
    connection.close().map_err(|(_, error)| io::Error::other(error))?;
    persist_new(draft, to)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_lock_is_one_processes_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deeper/lock");
        let lock = FileLock::take(&path).unwrap();
        assert!(matches!(FileLock::take(&path), Err(LockError::Held)));
        drop(lock);
        FileLock::take(&path).unwrap();
    }

    #[test]
    fn a_copy_has_what_was_committed_and_is_one_file_of_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a.db"), folder.path().join("copies/b.db"));
        let writer = open(&from).unwrap();
        writer.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (n); INSERT INTO t VALUES (1);").unwrap();
        writer.execute_batch("BEGIN IMMEDIATE; INSERT INTO t VALUES (2);").unwrap();
        copy(&open_read_only(&from).unwrap(), &to).unwrap();
        writer.execute_batch("COMMIT").unwrap();

        let rows: i64 = open_read_only(&to).unwrap().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 1);
        assert_eq!(to.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let again = copy(&open_read_only(&from).unwrap(), &to).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_copy_that_fails_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("b.db");
        write_new(&to, |_| Err(rusqlite::Error::InvalidQuery)).unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
