//! Backups: copying the file while a process writes it.

use std::path::Path;

use service::sqlite_file;

use crate::ReadError;

/// Copies what is committed in the broker's file at `from` into a new file at `to`, with mode 0600. A process may have
/// `from` open. Blocks.
pub fn back_up(from: &Path, to: &Path) -> Result<(), ReadError> {
    let failed = |error: &dyn std::fmt::Display| ReadError(format!("copying {}: {error}", from.display()));
    let source = sqlite_file::open_read_only(from).map_err(|error| failed(&error))?;
    sqlite_file::copy(&source, to).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use schemas::Message;

    use super::*;
    use crate::{
        Broker as _, Queue, Target,
        sqlite::{BrokerFileError, Sqlite, lock},
    };

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
        let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(files.len(), 2, "the copy is one file: {files:?}");

        let copy = Sqlite::open(&to, Arc::new(|| 1)).unwrap();
        let mut handed_out = copy.consume(Queue::Ingest, 8.into());
        assert_eq!(handed_out.next().await.unwrap().message.id, "before");
    }

    #[test]
    fn a_locked_file_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broker.db");
        let broker = Sqlite::open(&path, Arc::new(|| 1)).unwrap();
        assert!(matches!(lock(&path), Err(BrokerFileError::Held(_))));
        drop(broker);
        let _lock = lock(&path).unwrap();
        assert!(matches!(Sqlite::open(&path, Arc::new(|| 1)), Err(BrokerFileError::Held(_))));
    }
}
