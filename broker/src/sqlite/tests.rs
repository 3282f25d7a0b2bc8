//! A broker that is full. Limits stand for a full disk, since only they fill no real one.

use std::{future::Future, path::Path, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::join};
use rusqlite::Connection;
use schemas::Message;
use tempfile::TempDir;
use tokio::time::timeout;

use super::{Sqlite, StorageState, open};
use crate::{
    Broker, ConnectionState, Consumer, Due, Incoming, Lane, Log, LogBytes, Logs as _, PublishError, Queue, Settlement,
    Target,
};

const NOW: u64 = 1_790_000_000_000;
const EVENT: usize = 1500;

fn ingest() -> Target {
    Target::Ingest { key: "acme.7.12.ticket.created".into() }
}

fn message(id: &str, size: usize) -> Message {
    Message { id: id.to_owned(), body: vec![b' '; size].into(), ..Message::default() }
}

/// A broker whose file cannot grow beyond a few hundred messages: SQLite answers that the disk is full.
fn limited(path: &Path) -> Sqlite {
    let opened = open::open(path).expect("it opens");
    opened.connection.query_row("PRAGMA max_page_count = 64", [], |_| Ok(())).expect("a limit");
    Sqlite::start(path, opened, 0, LogBytes::default(), Arc::new(|| NOW)).expect("it starts")
}

async fn in_time<T>(what: &str, signal: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), signal).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

async fn take(consumer: &mut Consumer) -> Incoming {
    in_time("a message is handed out", consumer.next()).await.expect("the broker is open")
}

/// Publishes events until one is refused. Returns how many were confirmed, and why no more were.
async fn fill(broker: &Sqlite) -> (u32, PublishError) {
    let mut confirmed = 0;
    loop {
        match broker.publish(&ingest(), &message(&confirmed.to_string(), EVENT)).await {
            Ok(()) => confirmed += 1,
            Err(refused) => return (confirmed, refused),
        }
    }
}

/// Takes and settles what was confirmed, in its order.
async fn drain(broker: &Sqlite, ids: impl Iterator<Item = u32>) {
    let mut consumer = broker.consume(Queue::Ingest, 10.into());
    for id in ids {
        let incoming = take(&mut consumer).await;
        assert_eq!((incoming.message.id.clone(), incoming.count), (id.to_string(), 0));
        incoming.settle(Settlement::Done);
    }
}

async fn storage_until(broker: &Sqlite, is_it: impl FnMut(&StorageState) -> bool) -> StorageState {
    in_time("its storage", broker.storage().wait_for(is_it)).await.expect("the broker is open").clone()
}

#[tokio::test]
async fn the_room_is_known_before_the_first_message() {
    let folder = TempDir::new().expect("a folder");
    let broker = limited(&folder.path().join("broker.db"));
    let state = broker.storage().borrow().clone();
    assert!(state.used_bytes > 0 && state.free_bytes > 0 && state.full.is_none(), "{state:?}");
}

#[tokio::test]
async fn a_broker_above_its_bytes_refuses_events_alone_and_takes_them_again_once_there_is_room() {
    let folder = TempDir::new().expect("a folder");
    let (file, logs) = (folder.path().join("broker.db"), LogBytes::default());
    let broker = Sqlite::open_within(&file, 1_000_000, logs, Arc::new(|| NOW)).expect("it opens");
    let (confirmed, refused) = fill(&broker).await;
    assert!(matches!(&refused, PublishError::Full(why) if why.contains("broker.max_bytes is 1000000")), "{refused:?}");
    assert!((400..700).contains(&confirmed), "{confirmed} went in");
    let state = storage_until(&broker, |state| state.full.is_some()).await;
    assert!(state.used_bytes > 1_000_000 && state.free_bytes > 0, "{state:?}");

    let later = Target::Lane(Lane::Slow, Some(Due { at: NOW + 1, exact: true }));
    for to in [Target::Lane(Lane::Fast, None), later, Target::Log(Log::Dead, "exhausted.acme".into())] {
        assert_eq!(broker.publish(&to, &message("x", EVENT)).await, Ok(()), "{to:?}");
    }
    assert_eq!(*broker.connection_state().borrow(), ConnectionState::Ready);

    drain(&broker, 0..confirmed).await;
    storage_until(&broker, |state| state.full.is_none()).await;
    assert_eq!(broker.publish(&ingest(), &message("again", EVENT)).await, Ok(()));
}

#[tokio::test]
async fn a_full_disk_refuses_events_loses_nothing_and_takes_them_again_once_there_is_room() {
    let folder = TempDir::new().expect("a folder");
    let broker = limited(&folder.path().join("broker.db"));
    let (confirmed, refused) = fill(&broker).await;
    assert!(matches!(refused, PublishError::Full(_)), "{refused:?}");
    assert!(confirmed > 100, "{confirmed} went in");
    storage_until(&broker, |state| state.full.is_some()).await;

    drain(&broker, 0..confirmed).await;
    storage_until(&broker, |state| state.full.is_none()).await;
    assert_eq!(broker.publish(&ingest(), &message("again", EVENT)).await, Ok(()));
}

#[tokio::test]
async fn a_message_that_a_full_disk_cannot_take_keeps_neither_settlements_nor_smaller_ones_from_it() {
    let folder = TempDir::new().expect("a folder");
    let broker = limited(&folder.path().join("broker.db"));
    let (confirmed, _) = fill(&broker).await;
    let mut consumer = broker.consume(Queue::Ingest, 10.into());
    for _ in 0..10 {
        take(&mut consumer).await.settle(Settlement::Done);
    }
    let lane = Target::Lane(Lane::Fast, None);
    let (large, small) = (message("large", 400_000), message("small", 100));
    let (large, small) =
        in_time("both are answered", join(broker.publish(&lane, &large), broker.publish(&lane, &small))).await;
    assert!(matches!(large, Err(PublishError::Full(_))), "{large:?}");
    assert_eq!(small, Ok(()));
    for id in 10..confirmed {
        let incoming = take(&mut consumer).await;
        assert_eq!(incoming.message.id, id.to_string());
        incoming.settle(Settlement::Done);
    }
    let mut lane = broker.consume(Queue::Lane(Lane::Fast), 1.into());
    assert_eq!(take(&mut lane).await.message.id, "small");
}

#[tokio::test]
async fn a_row_that_is_no_text_is_parked_and_holds_up_nobody() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("broker.db");
    let broker = Sqlite::open(&path, Arc::new(|| NOW)).expect("it opens");
    for id in ["first", "damaged", "last"] {
        broker.publish(&ingest(), &message(id, 10)).await.expect("confirmed");
    }
    drop(broker);
    let damage = Connection::open(&path).expect("it opens");
    let changed =
        damage.execute("UPDATE ingest SET id = CAST(x'ff41' AS TEXT), headers = x'09' WHERE id = 'damaged'", []);
    assert_eq!(changed, Ok(1));
    drop(damage);

    let broker = Sqlite::open(&path, Arc::new(|| NOW)).expect("it opens");
    let mut consumer = broker.consume(Queue::Ingest, 2.into());
    for id in ["first", "last"] {
        let incoming = take(&mut consumer).await;
        assert_eq!(incoming.message.id, id);
        incoming.settle(Settlement::Done);
    }
    in_time("it is parked", async {
        while broker.end(Log::Parked).now_or_never().expect("at once").expect("readable") == 1 {
            // Each publish is a transaction.
            broker.publish(&Target::Log(Log::Dead, "x".into()), &message("tick", 1)).await.expect("confirmed");
        }
    })
    .await;
    let parked = broker.read(Log::Parked, 0).next().await.expect("a record").expect("it can be read");
    assert_eq!((parked.message.id.as_str(), parked.message.body.len()), ("\u{fffd}A", 10));
}

/// Commits that the write-ahead log holds: each ends with a frame that has the size of the file.
fn commits(path: &Path) -> usize {
    let wal = std::fs::read(path.with_extension("db-wal")).expect("a write-ahead log");
    let frames = wal[32..].chunks_exact(24 + 8192);
    // An earlier use of the log leaves frames with another salt behind.
    let of_this_use = frames.take_while(|frame| frame[8..16] == wal[16..24]);
    of_this_use.filter(|frame| frame[4..8] != [0; 4]).count()
}

/// Waits until no row of `ingest` is left.
async fn deleted(path: &Path) {
    let file = Connection::open(path).expect("it opens");
    let rows = || file.query_row("SELECT count(*) FROM ingest", [], |row| row.get::<_, u32>(0)).expect("a table");
    in_time("what is settled is deleted", async {
        while rows() > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_event_that_is_published_handed_out_and_settled_costs_two_commits() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("broker.db");
    let broker = Sqlite::open(&path, Arc::new(|| NOW)).expect("it opens");
    let mut consumer = broker.consume(Queue::Ingest, 100.into());
    for id in ["a", "b", "c"] {
        let before = commits(&path);
        broker.publish(&ingest(), &message(id, EVENT)).await.expect("confirmed");
        let incoming = take(&mut consumer).await;
        assert_eq!(commits(&path) - before, 1, "it is stored and marked as handed out at once");
        incoming.settle(Settlement::Done);
        deleted(&path).await;
        assert_eq!(commits(&path) - before, 2);
    }
}

#[tokio::test]
async fn settlements_share_a_commit_with_each_other_and_with_what_is_published_next() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("broker.db");
    let broker = Sqlite::open(&path, Arc::new(|| NOW)).expect("it opens");
    let mut consumer = broker.consume(Queue::Ingest, 100.into());
    let mut held = Vec::new();
    for id in 0..50 {
        broker.publish(&ingest(), &message(&id.to_string(), EVENT)).await.expect("confirmed");
        held.push(take(&mut consumer).await);
    }
    let before = commits(&path);
    for incoming in held {
        incoming.settle(Settlement::Done);
    }
    broker.publish(&Target::Log(Log::Dead, "x".into()), &message("next", 1)).await.expect("confirmed");
    deleted(&path).await;
    let commits = commits(&path) - before;
    // A busy machine may stop the test for longer than settlements wait.
    assert!(commits <= 10, "{commits} commits for 50 settlements");
}

#[tokio::test]
async fn the_file_gives_its_pages_back_after_a_flood_is_drained() {
    const MIB: u64 = 1024 * 1024;
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("broker.db");
    let broker = Sqlite::open(&path, Arc::new(|| NOW)).expect("it opens");
    let size = || std::fs::metadata(&path).expect("the file").len();
    let mut consumer = broker.consume(Queue::Ingest, 1.into());
    broker.publish(&Target::Log(Log::Dead, "x".into()), &message("before", 1)).await.expect("confirmed");
    for flood in ["first", "second"] {
        for id in 0..400 {
            broker.publish(&ingest(), &message(&id.to_string(), 100_000)).await.expect("confirmed");
        }
        broker.publish(&Target::Log(Log::Dead, "x".into()), &message(flood, 100_000)).await.expect("confirmed");
        let full = size();
        assert!(full > 35 * MIB, "{flood}: {full} bytes");
        for id in 0..400 {
            let incoming = take(&mut consumer).await;
            assert_eq!(incoming.message.id, id.to_string());
            incoming.settle(Settlement::Done);
        }
        in_time("the file is small again", async {
            while size() > 10 * MIB {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
    let kept: Vec<_> = broker.read(Log::Dead, 0).map(|record| record.expect("readable").message.id).collect().await;
    assert_eq!(kept, ["before", "first", "second"], "pages in use have moved whole");
}
