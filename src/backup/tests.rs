//! Backups and restores, in temporary folders.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

use broker::{Broker as _, Queue, Target, sqlite::Sqlite};
use schemas::Message;
use store::{ControlState as _, Job, JobState, SqliteControlState};
use tempfile::TempDir;

use super::*;
use crate::config::{Overrides, load};

fn config(data_dir: &Path) -> crate::config::Config {
    let nowhere = tempfile::NamedTempFile::new().expect("an empty file");
    let values = vec![("data_dir".to_owned(), data_dir.display().to_string())];
    load(&Overrides { file: Some(nowhere.path().to_owned()), values }, []).expect("it can be used").config
}

async fn publish(broker: &Sqlite, id: &str) {
    let message = Message { id: id.into(), kind: "ticket.created".into(), body: "{}".into(), ..Message::default() };
    let to = Target::Ingest { key: "acme.-.-.ticket.created".into() };
    broker.publish(&to, &message).await.expect("confirmed");
}

/// Makes a data folder with both keys and a broker that holds one event.
async fn data_dir(folder: &Path, event: &str) -> Sqlite {
    fs::create_dir_all(folder).expect("a folder");
    let broker = Sqlite::open(&folder.join("broker.db"), Arc::new(|| 1)).expect("it opens");
    publish(&broker, event).await;
    for name in ["operator.key", "store.key"] {
        fs::write(folder.join(name), format!("{name} of {event}")).expect("written");
    }
    broker
}

fn names(manifest: &Manifest) -> Vec<&str> {
    manifest.files.iter().map(|file| file.name.as_str()).collect()
}

fn files(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name().into_string().expect("text");
    let mut names: Vec<_> = fs::read_dir(folder).expect("a folder").map(name).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_backup_of_data_in_use_is_restored_as_it_was() {
    let folder = TempDir::new().expect("a folder");
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    let broker = data_dir(&old, "before").await;
    let file = folder.path().join("backup.tar");
    let made = create(&config(&old), &file, false, false, "2026-01-31T08:00:00.000Z".into()).expect("made");
    publish(&broker, "after").await;
    assert_eq!(names(&made), ["broker.db", "store.key", "operator.key"]);
    assert_eq!(file.metadata().expect("there").permissions().mode() & 0o777, 0o600);
    assert_eq!(files(folder.path()), ["backup.tar", "old"], "nothing else is left");

    let restored = restore(&config(&new), &file, false).expect("restored");
    assert_eq!(restored, made);
    assert_eq!(fs::read_to_string(new.join("store.key")).expect("there"), "store.key of before");
    assert_eq!(new.join("operator.key").metadata().expect("there").permissions().mode() & 0o777, 0o600);
    let broker = Sqlite::open(&new.join("broker.db"), Arc::new(|| 1)).expect("it opens");
    let handed_out = broker.consume(Queue::Ingest, 8.into()).next().await.expect("an event");
    assert_eq!(handed_out.message.id, "before");
}

#[tokio::test]
async fn jobs_beside_a_folder_of_files_are_backed_up_and_restored() {
    let folder = TempDir::new().expect("a folder");
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    for data_dir in [&old, &new] {
        fs::create_dir_all(data_dir.join("conf.d")).expect("a folder");
    }
    let state = SqliteControlState::open(&old.join("control.db")).await.expect("it opens");
    assert_eq!(state.insert_job(job(), 1).await, Ok(true));
    let file = folder.path().join("backup.tar");
    let in_folder = |data_dir: &Path| {
        let mut config = config(data_dir);
        config.store.url = Some(format!("file:{}", data_dir.join("conf.d").display()));
        config
    };
    let made = create(&in_folder(&old), &file, false, false, String::new()).expect("made");
    assert_eq!(names(&made), ["control.db"]);
    restore(&in_folder(&new), &file, false).expect("restored");
    let error = format!("{:#}", restore(&in_folder(&old), &file, true).expect_err("it is in use"));
    assert!(error.contains("control.db is in use by another process"), "{error}");
    let restored = SqliteControlState::open(&new.join("control.db")).await.expect("it opens");
    assert_eq!(restored.running_jobs().await, Ok(vec![job()]));
}

/// A replay that runs.
fn job() -> Job {
    Job {
        id: "0190a000-0000-7000-8000-000000000001".to_owned(),
        tenant: "acme".to_owned(),
        tenant_created: 0,
        kind: "replay".to_owned(),
        state: JobState::Running,
        spec: "{}".to_owned(),
        matched: 1,
        position: String::new(),
        done: 0,
        skipped: 0,
        started_at: 1,
        ended_at: None,
    }
}

#[tokio::test]
async fn a_restore_replaces_files_only_with_force_and_while_no_process_holds_them() {
    let folder = TempDir::new().expect("a folder");
    let (here, file) = (folder.path().join("here"), folder.path().join("backup.tar"));
    drop(data_dir(&here, "first").await);
    create(&config(&here), &file, false, false, String::new()).expect("made");
    let error = create(&config(&here), &file, false, false, String::new()).expect_err("it is there").to_string();
    assert!(error.contains("is there already"), "{error}");
    create(&config(&here), &file, true, false, String::new()).expect("made again");

    let error = format!("{:#}", restore(&config(&here), &file, false).expect_err("files are there"));
    assert!(error.contains("broker.db is there already: --force replaces it"), "{error}");
    let second = data_dir(&here, "second").await;
    let error = format!("{:#}", restore(&config(&here), &file, true).expect_err("it is in use"));
    assert!(error.contains("in use by another process"), "{error}");
    drop(second);
    restore(&config(&here), &file, true).expect("restored");
    let broker = Sqlite::open(&here.join("broker.db"), Arc::new(|| 1)).expect("it opens");
    let mut consumer = broker.consume(Queue::Ingest, 8.into());
    assert_eq!(consumer.next().await.expect("an event").message.id, "first");
    assert_eq!(files(&here).iter().filter(|name| name.contains("unfinished") || name.starts_with('.')).count(), 0);
}

#[tokio::test]
async fn an_incomplete_backup_changes_nothing() {
    let folder = TempDir::new().expect("a folder");
    let (here, file) = (folder.path().join("here"), folder.path().join("backup.tar"));
    drop(data_dir(&here, "kept").await);
    create(&config(&here), &file, false, false, String::new()).expect("made");
    let whole = fs::read(&file).expect("there");
    let mut changed = whole.clone();
    let in_the_broker = whole.windows(16).position(|window| window == b"SQLite format 3\0").expect("it is in there");
    changed[in_the_broker + 5_000] ^= 1;
    let torn = whole[..whole.len() / 2].to_vec();
    let other = b"not a backup at all".to_vec();
    let before = fs::read(here.join("broker.db")).expect("there");
    for (content, expected) in [(changed, "broker.db is not what was backed up"), (torn, ""), (other, "no backup")] {
        fs::write(&file, content).expect("written");
        let error = format!("{:#}", restore(&config(&here), &file, true).expect_err("it is broken"));
        assert!(error.contains(expected) && error.contains("backup.tar"), "{error}");
        assert_eq!(fs::read(here.join("broker.db")).expect("there"), before);
        assert_eq!(fs::read_to_string(here.join("store.key")).expect("there"), "store.key of kept");
    }
    let nothing = create(&config(&folder.path().join("empty")), &folder.path().join("b"), false, false, String::new());
    assert!(nothing.expect_err("nothing is there").to_string().contains("nothing to back up"));
}

#[tokio::test]
async fn history_is_backed_up_where_it_is_asked_for_and_restored_without_days_that_came_later() {
    use history::{Batch, History as _, SqliteHistory};
    let folder = TempDir::new().expect("a folder");
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    let _broker = data_dir(&old, "before").await;
    let history = SqliteHistory::open(&old.join("history"), 1 << 30).expect("it opens");
    let gap = history::Gap { from: 1, until: 2, dropped: 3, cause: history::GapCause::Overflow };
    history.write(Batch { gaps: vec![gap.clone()], ..Batch::default() }, Some(7), 0).await.expect("written");
    let file = folder.path().join("backup.tar");
    let at = || "2026-01-31T08:00:00.000Z".to_owned();
    let without = create(&config(&old), &file, false, false, at()).expect("made");
    assert!(!names(&without).iter().any(|name| name.starts_with("history")));
    let made = create(&config(&old), &file, true, true, at()).expect("made");
    assert!(names(&made).contains(&"history/meta.db"), "{:?}", names(&made));
    history.write(Batch::default(), Some(8), 0).await.expect("written");

    fs::create_dir_all(new.join("history")).expect("a folder");
    fs::write(new.join("history/2026-12-01.db"), "a day that came later").expect("written");
    restore(&config(&new), &file, true).expect("restored");
    assert!(!new.join("history/2026-12-01.db").exists());
    let restored = SqliteHistory::open(&new.join("history"), 1 << 30).expect("it opens");
    assert_eq!(restored.position().await.expect("an answer"), Some(7));
    assert_eq!(restored.coverage(0, 10).await.expect("an answer").gaps, [gap]);
}
