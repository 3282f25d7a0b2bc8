//! The fixture of the PostgreSQL backend, and what only a database can do.

mod database;
#[path = "../../../../store/tests/contract/postgres/line.rs"]
mod line;
#[path = "../../../../store/tests/contract/postgres/node.rs"]
mod node;

use std::sync::Arc;

use futures_util::{FutureExt as _, future::BoxFuture};
use history::{History, PostgresHistory};
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::{
    fixture::{Fixture, MAX_BYTES},
    suite::suite,
};

/// A database of its own on the shared node.
struct Database {
    url: String,
}

impl Database {
    async fn start() -> Self {
        Self { url: node::database().await }
    }

    async fn open(&self) -> PostgresHistory {
        PostgresHistory::open(&self.url, MAX_BYTES).await.expect("it opens")
    }

    /// The first column of what a statement answers, as an operator with a database tool would see it.
    async fn ask(&self, sql: &str) -> Vec<String> {
        let rows = run(&self.url, sql).await.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        rows.collect()
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

async fn run(url: &str, sql: &str) -> Vec<SimpleQueryMessage> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the node listens");
    let connection = tokio::spawn(connection);
    let answer = client.simple_query(sql).await.expect("it is done");
    drop(client);
    connection.await.expect("no panic").expect("it ends well");
    answer
}

struct InDatabase {
    database: Database,
    history: Option<PostgresHistory>,
}

impl Fixture for InDatabase {
    fn history(&self) -> Arc<dyn History> {
        Arc::new(self.history.clone().expect("it is open"))
    }

    fn reopen(&mut self) -> BoxFuture<'_, ()> {
        async {
            if let Some(history) = self.history.take() {
                history.close().await;
            }
            self.history = Some(self.database.open().await);
        }
        .boxed()
    }
}

suite!(async |max_bytes| {
    let database = Database::start().await;
    let history = PostgresHistory::open(&database.url, max_bytes).await.expect("it opens");
    Box::new(InDatabase { database, history: Some(history) }) as Box<dyn Fixture>
});
