//! The embedded broker: the contract on a real file, and the faults of a file.

use std::{path::Path, sync::Arc};

use broker::{Broker, sqlite::Sqlite};
use rusqlite::Connection;
use service::Clock;
use tempfile::TempDir;

use crate::fixture::{Features, Fixture, clock};

mod clock;
mod crash;
mod file;

/// A broker in a folder of its own.
struct SqliteFixture {
    folder: TempDir,
    broker: Arc<Sqlite>,
    clock: Clock,
    /// A connection that locks the file, so that the broker cannot write it.
    blocker: Option<Connection>,
}

impl Fixture for SqliteFixture {
    async fn start() -> Self {
        let (folder, clock) = (TempDir::new().expect("a folder"), clock());
        let broker = open(folder.path(), &clock);
        Self { folder, broker, clock, blocker: None }
    }

    fn features(&self) -> Features {
        Features { durable: true, blocks: true, precise: true }
    }

    fn broker(&self) -> Arc<dyn Broker> {
        self.broker.clone()
    }

    fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// What is on the disk at this moment is what a crash would leave. It is copied, the WAL included, and opened in another
    /// folder.
    async fn restart(&mut self) {
        let left = TempDir::new().expect("a folder");
        for file in ["broker.db", "broker.db-wal"] {
            std::fs::copy(self.folder.path().join(file), left.path().join(file)).expect("a copy");
        }
        self.broker = open(left.path(), &self.clock);
        self.folder = left;
    }

    async fn block(&mut self) {
        let blocker = Connection::open(self.folder.path().join("broker.db")).expect("it opens");
        blocker.execute_batch("BEGIN IMMEDIATE").expect("it is free sooner or later");
        self.blocker = Some(blocker);
    }

    async fn unblock(&mut self) {
        self.blocker = None;
    }
}

fn open(folder: &Path, clock: &Clock) -> Arc<Sqlite> {
    Arc::new(Sqlite::open(&folder.join("broker.db"), clock.clone()).expect("it opens"))
}

mod contract {
    crate::suite::contract!(super::SqliteFixture, flavor = "multi_thread");
}
