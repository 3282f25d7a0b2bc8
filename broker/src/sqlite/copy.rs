//! Backups: copying the file, with SQLite's own backup, while a process writes it; and locking it, so that a copy can be put
//! back.

use std::{
    fs::{self, File},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rusqlite::{Connection, OpenFlags, backup::Backup};

use super::{BrokerFileError, open};
use crate::ReadError;

/// Copies all pages in one step. Between two steps a commit would make the copy begin again, and there is always another
/// commit. Within one step SQLite copies what was committed when it began, while the writer goes on in the WAL.
const ALL_PAGES: i32 = -1;

/// Copies what is committed in the broker's file at `from` into a new file at `to`, with mode 0600. A process may have
/// `from` open, and goes on. Blocks.
///
/// # Errors
/// A file at `to`, or a file that cannot be read or written.
pub fn back_up(from: &Path, to: &Path) -> Result<(), ReadError> {
    let failed = |error: &dyn std::fmt::Display| ReadError(format!("copying {}: {error}", from.display()));
    let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    made.map_err(|error| ReadError(format!("{}: {error}", to.display())))?;
    let source = open::open_read_only(from).map_err(|error| failed(&error))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut target = Connection::open_with_flags(to, flags).map_err(|error| failed(&error))?;
    let backup = Backup::new(&source, &mut target).map_err(|error| failed(&error))?;
    backup.step(ALL_PAGES).map(drop).map_err(|error| failed(&error))
}

/// The lock of the broker's file. While it lives, no process can open the file.
#[derive(Debug)]
pub struct BrokerFileLock(#[expect(dead_code, reason = "its drop lets the next process in")] File);

impl BrokerFileLock {
    /// Locks the file at `path`, which need not exist. Makes its folder.
    ///
    /// # Errors
    /// [`BrokerFileError::Held`] when a process has the file.
    pub fn take(path: &Path) -> Result<Self, BrokerFileError> {
        open::lock(path).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use schemas::Message;

    use super::*;
    use crate::{Broker as _, Queue, Target, sqlite::Sqlite};

    fn message(id: &str) -> Message {
        Message { id: id.into(), kind: "ticket.created".into(), body: "{}".into(), ..Message::default() }
    }

    #[tokio::test]
    async fn a_copy_of_a_file_in_use_hands_out_what_was_confirmed_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a/broker.db"), folder.path().join("copy.db"));
        let broker = Sqlite::open(&from, Arc::new(|| 1)).unwrap();
        let target = Target::Ingest { key: "acme.-.-.ticket.created".into() };
        broker.publish(&target, &message("before")).await.unwrap();
        back_up(&from, &to).unwrap();
        broker.publish(&target, &message("after")).await.unwrap();
        assert!(back_up(&from, &to).is_err(), "a file that is there is not written over");
        let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(files.len(), 2, "the copy is one file: {files:?}");

        let copy = Sqlite::open(&to, Arc::new(|| 1)).unwrap();
        let mut handed_out = copy.consume(Queue::Ingest, 8);
        assert_eq!(handed_out.next().await.unwrap().message.id, "before");
    }

    #[test]
    fn a_locked_file_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broker.db");
        let broker = Sqlite::open(&path, Arc::new(|| 1)).unwrap();
        assert!(matches!(BrokerFileLock::take(&path), Err(BrokerFileError::Held(_))));
        drop(broker);
        let _lock = BrokerFileLock::take(&path).unwrap();
        assert!(matches!(Sqlite::open(&path, Arc::new(|| 1)), Err(BrokerFileError::Held(_))));
    }
}
