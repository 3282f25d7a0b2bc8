//! The database is away: for a while, from the start, or without closing the connection.

use std::time::{Duration, Instant};

use schemas::Counts;
use store::{EditError, PostgresStore, Store, UsageReport, UsageScope};

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

/// Makes every question about usage take longer than any test.
const SLOW: &str = "ALTER TABLE carteiro.usage RENAME TO usage_table;
    CREATE VIEW carteiro.usage AS SELECT * FROM carteiro.usage_table WHERE pg_sleep(600) IS NOT NULL";
const QUICK: &str = "DROP VIEW carteiro.usage; ALTER TABLE carteiro.usage_table RENAME TO usage";
const STATEMENTS_UNDER_WAY: &str =
    "SELECT 'under way' FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%sum(events)%'
     AND state = 'active' AND pid <> pg_backend_pid()";

#[tokio::test]
async fn a_slow_question_about_usage_fails_by_itself_and_edits_go_on() {
    let database = Database::start().await;
    let store = database.open().await;
    let day = "2026-11-21".to_owned();
    let report = UsageReport {
        process: "a".into(),
        sequence: 1,
        tenant: "acme".into(),
        endpoint_id: None,
        day,
        counts: Counts { attempts: 1, ..Counts::default() },
    };
    let kept = store.usage_and_audit().expect("usage and audit");
    assert_eq!(kept.record_usage(vec![report]).await, Ok(0));
    database.run(SLOW).await;
    let opened = store.sync_status();
    let question = || kept.usage("acme", UsageScope::Endpoints, "2026-01-01", "2026-12-31");
    let begun = Instant::now();
    let (asked, edited) = tokio::join!(question(), put(&store, tenant("acme")));
    let refused = asked.expect_err("it takes too long").to_string();
    assert!(refused.contains("statement timeout") && begun.elapsed() < SOON, "{refused}");
    edited.expect("done");
    assert_eq!(store.sync_status().failures, opened.failures);
    put(&store, tenant("beta")).await.expect("it is still connected");
    // A caller that stops waiting.
    let waiting = tokio::time::timeout(Duration::from_millis(200), question()).await;
    assert!(waiting.is_err());
    let ended = async { while format!("{:?}", database.run(STATEMENTS_UNDER_WAY).await).contains("under way") {} };
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("the server gives it up");
    database.run(QUICK).await;
    assert_eq!(question().await.expect("it answers").len(), 1);
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
