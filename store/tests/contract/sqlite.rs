//! The file of SQLite.

use std::{path::PathBuf, sync::Arc};

use store::{SqliteStore, Store, back_up};
use tempfile::TempDir;

use crate::{
    fixture::{Fixture, KEY, keyring},
    story::{SECRETS, put, shown, tenant},
};

struct InFile {
    folder: TempDir,
    /// None while it is reopened.
    store: Option<Arc<SqliteStore>>,
}

impl InFile {
    fn path(&self) -> PathBuf {
        self.folder.path().join("store.db")
    }

    async fn open(&mut self) {
        let store = SqliteStore::open(&self.path(), keyring(&[KEY])).await.expect("it opens");
        self.store = Some(Arc::new(store));
    }
}

impl Fixture for InFile {
    async fn start() -> Self {
        let mut file = Self { folder: tempfile::tempdir().expect("a folder"), store: None };
        file.open().await;
        file
    }

    fn store(&self) -> Arc<dyn Store> {
        self.store.clone().expect("it is open")
    }

    async fn reopen(&mut self) {
        let store = self.store.take().and_then(Arc::into_inner);
        assert!(store.is_some(), "nobody else holds it");
        drop(store);
        self.open().await;
    }
}

crate::suite::contract!(InFile);

#[tokio::test]
async fn no_byte_of_a_secret_is_in_any_of_its_files() {
    let file = InFile::start().await;
    put(&*file.store(), tenant("acme")).await.expect("done");
    let mut seen = 0;
    for entry in file.folder.path().read_dir().expect("the folder") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
        let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        seen += usize::from(has("https://crm.example/hooks"));
        assert!(!SECRETS.iter().any(|secret| has(secret)));
    }
    assert!(seen > 0, "what is not secret is readable");
}

#[tokio::test]
async fn a_copy_made_while_it_is_in_use_has_all_that_was_committed() {
    let file = InFile::start().await;
    put(&*file.store(), tenant("acme")).await.expect("done");
    let copy = file.folder.path().join("copy.db");
    back_up(&file.path(), &copy).expect("copied");
    put(&*file.store(), tenant("beta")).await.expect("it goes on");
    assert!(back_up(&file.path(), &copy).is_err(), "nothing is overwritten");
    let copied = SqliteStore::open(&copy, keyring(&[KEY])).await.expect("it opens");
    assert_eq!(shown(&copied).into_keys().collect::<Vec<_>>(), ["acme"]);
    assert_eq!(shown(&copied)["acme"], shown(&*file.store())["acme"]);
    let empty = file.folder.path().join("empty.db");
    std::fs::write(&empty, "").expect("written");
    assert!(back_up(&empty, &file.folder.path().join("new.db")).is_err(), "there is no store in it");
}
