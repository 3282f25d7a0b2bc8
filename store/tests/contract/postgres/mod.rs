//! The database of PostgreSQL: the contract, and what more than one process and a line that breaks bring with them.

mod away;
mod line;
mod node;
mod together;
mod upkeep;

use std::{path::PathBuf, sync::Arc, time::Duration};

use store::{Keyring, PostgresStore, Store, StoreOpenError};
use tempfile::TempDir;
use tokio_postgres::NoTls;

use crate::fixture::{Fixture, KEY, keyring};

/// Poll interval that is longer than any test, so that no change is seen by polling.
const NEVER: Duration = Duration::from_secs(3600);

/// An empty database of a test's own on the shared node; and a folder for the snapshot.
struct Database {
    url: String,
    folder: TempDir,
}

impl Database {
    async fn start() -> Self {
        let url = node::database().await;
        Self { url, folder: tempfile::tempdir().expect("a folder") }
    }

    fn on_disk(&self) -> PathBuf {
        self.folder.path().join("snapshot")
    }

    /// A process of its own.
    async fn open(&self) -> PostgresStore {
        self.open_with(keyring(&[KEY])).await.expect("it opens")
    }

    async fn open_with(&self, keyring: Keyring) -> Result<PostgresStore, StoreOpenError> {
        PostgresStore::open(&self.url, keyring, self.on_disk(), NEVER).await
    }

    /// Runs a statement, as an operator with a database tool would.
    async fn run(&self, sql: &str) -> Vec<tokio_postgres::SimpleQueryMessage> {
        run(&self.url, sql).await
    }
}

impl Drop for Database {
    /// A node that many runs share would fill the disk. On a thread of its own: a test's runtime has no time left here.
    fn drop(&mut self) {
        let url = self.url.clone();
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(node::remove(&url));
        });
        // A test that fails for another reason fails for that one.
        let _ = dropping.join();
    }
}

async fn run(url: &str, sql: &str) -> Vec<tokio_postgres::SimpleQueryMessage> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the node listens");
    let connection = tokio::spawn(connection);
    let answer = client.simple_query(sql).await.expect("it is done");
    drop(client);
    connection.await.expect("no panic").expect("it ends well");
    answer
}

struct InDatabase {
    database: Database,
    /// None while it is reopened.
    store: Option<Arc<PostgresStore>>,
}

impl Fixture for InDatabase {
    async fn start() -> Self {
        let database = Database::start().await;
        let store = Some(Arc::new(database.open().await));
        Self { database, store }
    }

    fn store(&self) -> Arc<dyn Store> {
        self.store.clone().expect("it is open")
    }

    async fn reopen(&mut self) {
        let store = self.store.take().and_then(Arc::into_inner);
        assert!(store.is_some(), "nobody else holds it");
        drop(store);
        // Without the cached snapshot, everything is read from the database.
        let _ = std::fs::remove_file(self.database.on_disk());
        self.store = Some(Arc::new(self.database.open().await));
    }
}

crate::suite::contract!(InDatabase);
