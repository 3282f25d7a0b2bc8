//! Opens, locks and copies SQLite files, for the embedded broker and the embedded store. Blocks.
//!
//! The owners of the files define the tables and the settings.

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

/// Longest wait for a transaction of another program, such as an administrator's database tool.
const BUSY_TIMEOUT: Duration = Duration::from_millis(500);

/// Size of a connection's cache of prepared statements, which holds all statements of either owner.
const STATEMENTS: usize = 64;

/// Number of pages per step of a copy: all of them. A commit between two steps would restart the copy, and commits
/// never stop. Within one step, SQLite reads the state at its begin, while the writer appends to its write-ahead log.
const ALL_PAGES: i32 = -1;

/// Keeps all other processes from opening a database file while it lives. The lock is on a file beside the database,
/// because SQLite has locks of its own on the database.
#[derive(Debug)]
pub struct FileLock(#[expect(dead_code, reason = "its drop releases the lock")] File);

#[derive(Debug)]
pub enum LockError {
    Held,
    File { path: PathBuf, source: io::Error },
}

impl FileLock {
    /// Locks the file at `path`, which is made with mode 0600 if it is missing, and its folder too. Fails with
    /// [`LockError::Held`] when another process has the lock, or shares it.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        Self::lock(path, File::try_lock)
    }

    /// Like [`take`](Self::take), but other processes may share the lock.
    pub fn share(path: &Path) -> Result<Self, LockError> {
        Self::lock(path, File::try_lock_shared)
    }

    fn lock(path: &Path, try_lock: fn(&File) -> Result<(), TryLockError>) -> Result<Self, LockError> {
        let failed = |path: &Path, source| LockError::File { path: path.into(), source };
        let folder = folder_of(path);
        fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        let file = file.map_err(|source| failed(path, source))?;
        match try_lock(&file) {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(LockError::Held),
            Err(TryLockError::Error(source)) => Err(failed(path, source)),
        }
    }
}

/// Opens a database for reading and writing, and makes an empty one of mode 0600 if it is missing. SQLite gives its
/// files beside the database the same mode.
pub fn open(path: &Path) -> io::Result<Connection> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(io::Error::other),
    }
}

/// Opens a database to read it, also while another process has it open, and after a crash.
pub fn open_read_only(path: &Path) -> rusqlite::Result<Connection> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

fn connect(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// The format of a database's tables, from its `user_version`; 0 when it has no tables.
pub fn format(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Copies the committed state of a database into a new file; see [`write_new`].
pub fn copy(source: &Connection, to: &Path) -> io::Result<()> {
    write_new(to, |target| match Backup::new(source, target)?.step(ALL_PAGES)? {
        StepResult::Done => Ok(()),
        // Another program holds a lock for longer than the timeout.
        _ => Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None)),
    })
}

/// Makes a database of mode 0600 at `to`, completely or not at all. Fails with `AlreadyExists` when a file is there.
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
    fn a_shared_lock_keeps_out_who_wants_it_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let shared = [FileLock::share(&path).unwrap(), FileLock::share(&path).unwrap()];
        assert!(matches!(FileLock::take(&path), Err(LockError::Held)));
        drop(shared);
        let _alone = FileLock::take(&path).unwrap();
        assert!(matches!(FileLock::share(&path), Err(LockError::Held)));
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
