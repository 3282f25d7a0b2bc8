//! The fixture of the SQLite backend.

use std::sync::Arc;

use futures_util::{FutureExt as _, future::BoxFuture};
use history::{History, SqliteHistory};
use tempfile::TempDir;

use crate::{
    fixture::{Fixture, MAX_BYTES},
    suite::suite,
};

struct Folder {
    folder: TempDir,
    history: Option<SqliteHistory>,
}

impl Folder {
    fn new(max_bytes: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let history = SqliteHistory::open(folder.path(), max_bytes).expect("it opens");
        Self { folder, history: Some(history) }
    }
}

impl Fixture for Folder {
    fn history(&self) -> Arc<dyn History> {
        Arc::new(self.history.clone().expect("it is open"))
    }

    fn reopen(&mut self) -> BoxFuture<'_, ()> {
        async {
            if let Some(history) = self.history.take() {
                history.close().await;
            }
            self.history = Some(SqliteHistory::open(self.folder.path(), MAX_BYTES).expect("it opens again"));
        }
        .boxed()
    }
}

suite!(async |max_bytes| Box::new(Folder::new(max_bytes)) as Box<dyn Fixture>);

#[tokio::test]
async fn a_folder_is_one_processes() {
    let first = Folder::new(MAX_BYTES);
    let second = SqliteHistory::open(first.folder.path(), MAX_BYTES);
    assert!(second.is_err_and(|error| error.to_string().contains("another process")));
}

/// All files of the folder, one after the other.
fn bytes(folder: &TempDir) -> Vec<u8> {
    let files = std::fs::read_dir(folder.path()).expect("a folder");
    files.flat_map(|file| std::fs::read(file.expect("a file").path()).expect("it can be read")).collect()
}

fn has(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test]
async fn nothing_of_an_erased_contact_is_in_any_file() {
    use crate::records::{ACME, TODAY, batch, failed, message};
    let fixture = Folder::new(MAX_BYTES);
    let history = fixture.history();
    let body = "{\"text\":\"Preciso do pedido 4711-QUERO, agora e não depois\"}";
    let records =
        vec![message("e1", TODAY, "+55 11 99999-0001", body), failed("e1", TODAY, 1, "crm", "MARIA-ANSWERED")];
    history.write(batch(records), None, 0).await.expect("written");
    let key_material = bytes(&fixture.folder);
    assert!(has(&key_material, b"4711-QUERO"), "the body is there before");
    assert!(!has(&key_material, b"99999-0001") && !has(&key_material, b"5511999990001"), "a number is never there");

    let erased = history
        .erase(ACME, &crate::suite::erasing::contact(&*history, ACME, "5511999990001").await)
        .await
        .expect("erased");
    assert_eq!((erased.events, erased.deliveries), (1, 1));
    let after = bytes(&fixture.folder);
    for gone in ["4711-QUERO", "MARIA-ANSWERED"] {
        assert!(!has(&after, gone.as_bytes()), "{gone}");
    }
}

#[tokio::test]
async fn a_day_whose_file_is_still_being_made_has_nothing_yet() {
    use crate::records::{TODAY, acme, found};
    let fixture = Folder::new(MAX_BYTES);
    let history = fixture.history();
    history
        .write(crate::records::batch(vec![crate::records::message("e1", TODAY, "1", "{}")]), None, 0)
        .await
        .expect("written");
    std::fs::File::create(fixture.folder.path().join("2026-01-01.db")).expect("a file without tables");
    assert_eq!(found(&*history, acme()).await, ["e1"]);
}
