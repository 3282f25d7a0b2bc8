//! The file: its lock, its format, reading it from another connection, and what settling leaves in it.

use broker::{
    Broker, Lane, Log, Logs, Queue, Settlement, Target,
    sqlite::{BrokerFileError, LogFile, Sqlite},
};
use futures_util::{StreamExt, TryStreamExt};
use rusqlite::Connection;
use tempfile::TempDir;

use super::open;
use crate::{
    fixture::clock,
    story::{FAST, ingest, lane, message, publish, publish_all, take, take_all},
};

#[tokio::test]
async fn a_second_writer_is_refused_while_the_first_lives() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("broker.db");
    let first = Sqlite::open(&path, clock()).expect("it opens");
    let refused = Sqlite::open(&path, clock()).err().expect("a refusal");
    assert!(matches!(&refused, BrokerFileError::Held(held) if *held == path), "{refused}");
    first.close().await;
    Sqlite::open(&path, clock()).expect("closing lets the next one in");
}

#[test]
fn a_file_of_a_later_version_is_refused_and_left_alone() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("broker.db");
    Connection::open(&path).and_then(|file| file.execute_batch("PRAGMA user_version = 99")).expect("a file");
    let before = std::fs::read(&path).expect("bytes");
    let refused = Sqlite::open(&path, clock()).err().expect("a refusal");
    assert!(matches!(refused, BrokerFileError::Newer { found: 99, .. }), "{refused}");
    assert_eq!(std::fs::read(&path).expect("bytes"), before);
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("broker.db");
    std::fs::write(&path, "just some text, and more of it than a header takes, so that it is read as one ".repeat(9))
        .expect("a file");
    let refused = Sqlite::open(&path, clock()).err().expect("a refusal");
    assert!(matches!(refused, BrokerFileError::Database { .. }), "{refused}");
}

#[tokio::test]
async fn a_log_can_be_read_by_others_while_it_is_written_and_after() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("broker.db");
    let broker = open(folder.path(), &clock());
    let dead = Target::Log(Log::Dead, "exhausted.acme".into());
    publish_all(&*broker, &dead, 0..5).await;
    let logs = LogFile::new(&path);
    let mut beside_the_writer = logs.read(Log::Dead, 0);
    let mut records = vec![beside_the_writer.next().await.expect("one").expect("readable")];
    publish_all(&*broker, &dead, 5..10).await;
    records.extend(beside_the_writer.try_collect::<Vec<_>>().await.expect("readable"));
    assert_eq!(records.len(), 5, "up to where the log ended when reading began");
    assert_eq!((records[4].message.clone(), records[4].key.as_str()), (message(4), "exhausted.acme"));
    broker.close().await;
    assert_eq!(logs.read(Log::Dead, records[4].offset + 1).count().await, 5, "also once the writer has stopped");
}

#[tokio::test]
async fn reading_a_log_of_a_file_that_is_not_there_says_so_and_makes_none() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("broker.db");
    let error = LogFile::new(&path).read(Log::Dead, 0).next().await.expect("an end").expect_err("an error").to_string();
    assert!(error.contains("broker.db") && error.contains("no such file"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

#[tokio::test]
async fn what_was_settled_leaves_nothing_behind() {
    let folder = TempDir::new().expect("a folder");
    let broker = open(folder.path(), &clock());
    publish_all(&*broker, &ingest(), 0..100).await;
    let mut consumer = broker.consume(Queue::Ingest, 10.into());
    take(&mut consumer).await.settle(Settlement::Again);
    take_all(&mut consumer, 0..100).await;
    drop(consumer);
    broker.close().await;
    let file = Connection::open(folder.path().join("broker.db")).expect("it opens");
    for table in ["ingest", "again", "later", "park"] {
        let rows: u32 =
            file.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).expect("a table");
        assert_eq!(rows, 0, "{table}");
    }
}

#[tokio::test]
async fn a_message_that_kills_its_process_every_time_is_parked_in_the_end() {
    let folder = TempDir::new().expect("a folder");
    let broker = open(folder.path(), &clock());
    publish(&*broker, &lane(Lane::Fast), &message("poison")).await;
    take(&mut broker.consume(FAST, 1.into())).await.settle(Settlement::Again);
    take(&mut broker.consume(FAST, 1.into())).await.settle(Settlement::Again);
    broker.close().await;
    drop(broker);
    // Sets the count to what the limit allows, where the broker keeps it.
    let file = Connection::open(folder.path().join("broker.db")).expect("it opens");
    assert_eq!(file.execute("UPDATE again SET count = ?1", [FAST.delivery_limit()]), Ok(1));
    drop(file);

    let broker = open(folder.path(), &clock());
    let mut consumer = broker.consume(FAST, 1.into());
    publish(&*broker, &lane(Lane::Fast), &message("innocent")).await;
    assert_eq!(take(&mut consumer).await.message.id, "innocent");
    publish(&*broker, &lane(Lane::Fast), &message("next")).await;
    broker.close().await;
    let logs = LogFile::new(folder.path().join("broker.db"));
    let parked: Vec<_> = logs.read(Log::Parked, 0).try_collect().await.expect("readable");
    assert_eq!(parked.len(), 1);
    let record = &parked[0];
    assert_eq!((record.message.id.as_str(), record.key.as_str()), ("poison", "delivery_limit.-"));
}

#[tokio::test]
async fn positions_are_not_given_twice_after_a_restart_on_an_empty_table() {
    let folder = TempDir::new().expect("a folder");
    for round in 0..3 {
        let broker = open(folder.path(), &clock());
        publish(&*broker, &ingest(), &message(round)).await;
        let incoming = take(&mut broker.consume(Queue::Ingest, 1.into())).await;
        assert_eq!((incoming.message.id.clone(), incoming.redelivered), (round.to_string(), false));
        incoming.settle(Settlement::Done);
        broker.close().await;
    }
}
