//! A real crash: a process that publishes is killed, and everything that it saw confirmed must be there.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};

use broker::{
    Broker, Log, Logs, PublishError, Queue, Settlement, Target,
    sqlite::{LogFile, Sqlite},
};
use futures_util::StreamExt;
use tempfile::TempDir;

use crate::{
    fixture::clock,
    story::{ingest, message, take},
};

/// Environment variable that makes this test, in a process of its own, the one that is killed. Its value is the folder.
const VICTIM: &str = "CONTRACT_CRASH_FOLDER";
/// Confirms that the process gets before it is killed: some hundred transactions.
const CONFIRMS: usize = 3000;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_saw_confirmed_is_there() {
    if let Some(folder) = std::env::var_os(VICTIM) {
        return publish_until_killed(PathBuf::from(folder)).await;
    }
    let folder = TempDir::new().expect("a folder");
    let mut missing = confirmed_before_the_kill(&folder);
    assert!(missing.len() >= CONFIRMS);

    let file = folder.path().join("broker.db");
    let mut records = LogFile::new(&file).read(Log::Dead, 0);
    while let Some(record) = records.next().await {
        missing.remove(&record.expect("what a crash leaves can be looked at").message.id);
    }
    assert!(!missing.iter().any(|id| id.starts_with("0-")), "all dead letters are there");

    let broker = Sqlite::open(&file, clock()).expect("the lock died with its process");
    let mut consumer = broker.consume(Queue::Ingest, 100.into());
    while !missing.is_empty() {
        let incoming = take(&mut consumer).await;
        missing.remove(&incoming.message.id);
        incoming.settle(Settlement::Done);
    }
}

fn confirmed_before_the_kill(folder: &TempDir) -> std::collections::BTreeSet<String> {
    let mut victim = Command::new(std::env::current_exe().expect("a path"))
        .args(["sqlite::crash::what_a_killed_process_saw_confirmed_is_there", "--exact", "--nocapture"])
        .env(VICTIM, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(victim.stdout.take().expect("a pipe")).lines();
    let mut confirmed = std::collections::BTreeSet::new();
    for line in lines {
        let line = line.expect("text");
        confirmed.extend(line.strip_prefix("confirmed ").map(str::to_owned));
        if confirmed.len() == CONFIRMS {
            victim.kill().expect("SIGKILL");
        }
    }
    assert!(!victim.wait().expect("its end").success(), "it did not end by itself");
    confirmed
}

/// 32 publishers, the first of them of dead letters; each line is printed after its confirm.
async fn publish_until_killed(folder: PathBuf) {
    let broker = Arc::new(Sqlite::open(&folder.join("broker.db"), clock()).expect("it opens"));
    let mut publishers = tokio::task::JoinSet::new();
    for publisher in 0..32 {
        let broker = broker.clone();
        publishers.spawn(async move {
            let to = if publisher == 0 { Target::Log(Log::Dead, "exhausted.acme".into()) } else { ingest() };
            for number in 0.. {
                let id = format!("{publisher}-{number}");
                broker.publish(&to, &message(&id)).await?;
                println!("confirmed {id}");
            }
            Ok::<_, PublishError>(())
        });
    }
    let ended = publishers.join_next().await;
    panic!("a publisher ended before the kill: {ended:?}");
}
