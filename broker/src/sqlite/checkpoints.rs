//! The thread that writes the write-ahead log back into the file.
//!
//! SQLite would do it within the commit that makes the log large, and all would wait: 13 ms for 4 MiB on a disk that flushes in
//! 0.1 ms, and 40 ms on busy cores. It also allows it from another connection, while the writer goes on. The first commit that
//! finds all of the log written back, and nobody who reads it, starts it from its beginning again. Where commits never let the
//! thread get so far, the writer does the rest, which is little.

use std::{
    ffi::c_int,
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use rusqlite::{Connection, DEFAULT_NAME, hooks::Wal, wal::CheckpointMode};
use service::sqlite_file;

use super::{error::BrokerFileError, space::pragma};

/// Sizes of the write-ahead log, in bytes or in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WalBounds<N> {
    /// Size from which on the thread writes it back.
    pub(super) thread_from: N,
    /// Size from which on the writer does so within its commits.
    pub(super) writer_from: N,
}

pub(super) struct Checkpoints(JoinHandle<()>);

impl Checkpoints {
    /// Starts the thread, which writes back the log of `writer`, a connection to the file at `path`. `bounds` are in bytes.
    pub(super) fn start(path: &Path, writer: &mut Connection, bounds: WalBounds<u64>) -> Result<Self, BrokerFileError> {
        let failed = |source| BrokerFileError::File { path: path.into(), source };
        let failed_in_database = |source| BrokerFileError::Database { path: path.into(), source };
        let connection = sqlite_file::open(path).map_err(failed)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(failed_in_database)?;
        // A connection that has read nothing does not know that there is a log.
        sqlite_file::format(&connection).map_err(failed_in_database)?;
        let (wake, woken) = sync_channel(1);
        watch(writer, bounds, wake).map_err(failed_in_database)?;
        let thread = thread::Builder::new().name("broker-checkpoint".into()).spawn(move || run(&connection, &woken));
        Ok(Self(thread.map_err(failed)?))
    }

    /// Ends the thread after the checkpoints that are due.
    pub(super) fn end(self, writer: &mut Connection) {
        // The hook owns what wakes the thread.
        let removed = writer.wal_hook(None::<fn(&mut Wal, c_int) -> rusqlite::Result<()>>);
        if removed.is_ok() && self.0.join().is_err() {
            tracing::error!("broker.checkpoints_panicked");
        }
    }
}

/// Looks at the log after each commit of `writer`.
fn watch(writer: &mut Connection, bounds: WalBounds<u64>, wake: SyncSender<()>) -> rusqlite::Result<()> {
    writer.pragma_update(None, "journal_size_limit", i64::try_from(bounds.writer_from).unwrap_or(i64::MAX))?;
    let page_size = pragma(writer, "page_size")?;
    let pages = |bytes| c_int::try_from(bytes / page_size).unwrap_or(c_int::MAX);
    let bounds = WalBounds { thread_from: pages(bounds.thread_from), writer_from: pages(bounds.writer_from) };
    // This takes the place of SQLite's automatic checkpoints.
    writer.wal_hook(Some(move |wal: &mut Wal, pages| {
        if pages >= bounds.writer_from {
            // This fails during a checkpoint of the thread, and on a full disk. The next commit tries again.
            let _ = wal.checkpoint();
        } else if pages >= bounds.thread_from {
            // This fails when the thread is woken already.
            let _ = wake.try_send(());
        }
        Ok(())
    }))
}

fn run(connection: &Connection, woken: &Receiver<()>) {
    while woken.recv().is_ok() {
        if let Err(error) = connection.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::PASSIVE) {
            tracing::debug!(%error, "broker.not_checkpointed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::sqlite::open;

    const MIB: u64 = 1024 * 1024;

    /// Commits a row of half a mebibyte, and returns the size of the file without its log.
    fn commit(writer: &Connection, path: &Path) -> u64 {
        let row = "INSERT INTO ingest (id, kind, key, headers, body) VALUES ('', '', '', x'', zeroblob(524288))";
        writer.execute(row, []).expect("it is stored");
        size(path)
    }

    fn size(path: &Path) -> u64 {
        fs::metadata(path).expect("a file").len()
    }

    #[test]
    fn a_log_that_is_large_enough_is_written_back_by_the_thread() {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("broker.db");
        let mut file = open::open(&path).expect("it opens");
        let bounds = WalBounds { thread_from: MIB, writer_from: u64::MAX };
        let checkpoints = Checkpoints::start(&path, &mut file.connection, bounds).expect("it starts");
        assert!(commit(&file.connection, &path) < MIB, "the log is not large enough");
        for _ in 0..2 {
            commit(&file.connection, &path);
        }
        checkpoints.end(&mut file.connection);
        assert!(size(&path) > MIB);
    }

    #[test]
    fn a_log_that_the_thread_does_not_write_back_is_written_back_by_the_writer_in_the_end() {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("broker.db");
        let mut file = open::open(&path).expect("it opens");
        let (wake, woken) = sync_channel(1);
        let bounds = WalBounds { thread_from: MIB, writer_from: 2 * MIB };
        watch(&mut file.connection, bounds, wake).expect("it is watched");
        let sizes: Vec<_> = (0..4).map(|_| commit(&file.connection, &path)).collect();
        assert!(woken.try_recv().is_ok(), "the thread is to be woken");
        assert!(sizes[2] < MIB && sizes[3] > MIB, "{sizes:?}");
    }
}
