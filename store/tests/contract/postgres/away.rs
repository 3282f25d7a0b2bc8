//! The database is away: for a while, from the start, or without closing the connection.

use std::time::{Duration, Instant};

use store::{EditError, PostgresStore, Store};

use super::{
    Database, NEVER,
    line::{Line, State},
};
use crate::{
    fixture::{KEY, eventually, keyring},
    story::{SECRETS, put, shown, tenant},
};

/// No API call waits longer for a database that does not answer.
const SOON: Duration = Duration::from_secs(4);

async fn open(database: &Database, url: &str) -> PostgresStore {
    PostgresStore::open(url, keyring(&[KEY]), database.on_disk(), NEVER).await.expect("it opens")
}

/// Waits until the store is connected again.
async fn until_it_is_back(store: &PostgresStore) {
    let back = async {
        let mut next = tokio::time::interval(Duration::from_millis(20));
        while store.pull().await.is_err() {
            next.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), back).await.expect("it is connected again");
}

#[tokio::test]
async fn a_broken_connection_fails_at_once_and_missed_changes_are_there_afterwards() {
    let database = Database::start().await;
    let line = Line::to(&database.url).await;
    let (near, far) = (open(&database, &line.through(&database.url)).await, database.open().await);
    put(&near, tenant("acme")).await.expect("done");
    near.pull().await.expect("it answers");
    let whole = near.sync_status();
    line.set(State::Cut);
    assert!(near.pull().await.is_err());
    eventually("it is tried again", || (near.sync_status().failures > 0).then_some(())).await;
    assert_eq!(near.sync_status().synced_at, whole.synced_at, "nobody knows whether it is the newest");
    let begun = Instant::now();
    let refused = put(&near, tenant("beta")).await;
    assert!(matches!(refused, Err(EditError::Away(_))), "{refused:?}");
    assert!(near.usage_and_audit().expect("usage and audit").audit(None, None, 1).await.is_err());
    assert!(begun.elapsed() < Duration::from_secs(1), "nobody waits for it");
    assert_eq!(shown(&near).len(), 1, "the snapshot stays");
    put(&far, tenant("gamma")).await.expect("others have a line");
    line.set(State::Whole);
    until_it_is_back(&near).await;
    assert!(near.sync_status().synced_at > whole.synced_at);
    assert_eq!(shown(&near).into_keys().collect::<Vec<_>>(), ["acme", "gamma"]);
    put(&near, tenant("beta")).await.expect("it is back");
    far.pull().await.expect("it answers");
    assert_eq!(shown(&far), shown(&near));
}

#[tokio::test]
async fn a_silent_database_keeps_no_caller_waiting() {
    let database = Database::start().await;
    let line = Line::to(&database.url).await;
    let store = open(&database, &line.through(&database.url)).await;
    put(&store, tenant("acme")).await.expect("done");
    line.set(State::Mute);
    for _ in 0..2 {
        let begun = Instant::now();
        assert!(matches!(put(&store, tenant("beta")).await, Err(EditError::Away(_))));
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    }
    line.set(State::Whole);
    until_it_is_back(&store).await;
    put(&store, tenant("beta")).await.expect("it is back");
}

#[tokio::test]
async fn a_process_that_starts_while_it_is_away_has_the_snapshot_of_the_disk() {
    let database = Database::start().await;
    let line = Line::to(&database.url).await;
    let url = line.through(&database.url);
    let first = open(&database, &url).await;
    put(&first, tenant("acme")).await.expect("done");
    let there = shown(&first);
    eventually("it is on the disk", || std::fs::metadata(database.on_disk()).ok().filter(|file| file.len() > 1000))
        .await;
    drop(first);
    line.set(State::Cut);
    let bytes = std::fs::read(database.on_disk()).expect("a file");
    assert!(!SECRETS.iter().any(|secret| bytes.windows(secret.len()).any(|window| window == secret.as_bytes())));
    let store = open(&database, &url).await;
    assert_eq!((shown(&store), *store.revision().borrow()), (there, 2));
    assert!(matches!(put(&store, tenant("beta")).await, Err(EditError::Away(_))));
    database.run("DELETE FROM carteiro.items WHERE kind = 'subscription'; UPDATE carteiro.meta SET revision = 9").await;
    line.set(State::Whole);
    until_it_is_back(&store).await;
    assert_eq!(
        (shown(&store)["acme"].subscriptions.len(), *store.revision().borrow()),
        (0, 9),
        "the database is right"
    );
}

#[tokio::test]
async fn without_a_snapshot_it_waits_and_a_foreign_or_damaged_one_is_none() {
    let database = Database::start().await;
    let line = Line::to(&database.url).await;
    let url = line.through(&database.url);
    let store = open(&database, &url).await;
    put(&store, tenant("acme")).await.expect("done");
    eventually("it is on the disk", || std::fs::metadata(database.on_disk()).ok().filter(|file| file.len() > 1000))
        .await;
    drop(store);
    line.set(State::Cut);
    let other_key = keyring(&["a key of other characters"]);
    let foreign = PostgresStore::open(&url, other_key, database.on_disk(), NEVER).await.expect("it waits");
    assert!(foreign.snapshot().is_none());
    let other_database = url.replace("/test_", "/other_");
    assert!(open(&database, &other_database).await.snapshot().is_none(), "the snapshot of another database");
    let mut bytes = std::fs::read(database.on_disk()).expect("a file");
    bytes.truncate(bytes.len() / 2);
    std::fs::write(database.on_disk(), bytes).expect("written");
    let store = open(&database, &url).await;
    assert!(store.snapshot().is_none() && *store.revision().borrow() == 0);
    line.set(State::Whole);
    eventually("it is loaded", || store.snapshot()).await;
    assert_eq!(shown(&store).len(), 1);
}

#[tokio::test]
async fn no_error_repeats_the_password() {
    let database = Database::start().await;
    let line = Line::to(&database.url).await;
    line.set(State::Cut);
    let url = line.through(&database.url).replace("carteiro@", "carteiro:hunter2@");
    let store = open(&database, &url).await;
    let refused = put(&store, tenant("acme")).await.expect_err("it is away");
    let pulled = store.pull().await.expect_err("it is away");
    assert!(!format!("{refused:?} {refused} {pulled}").contains("hunter2"));
}
