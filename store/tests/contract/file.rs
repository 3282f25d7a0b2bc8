//! The folder of YAML: read, never written; and the file beside it, in which control keeps jobs and leases.

use std::sync::Arc;

use store::{ControlState as _, EditError, FileStore, SqliteControlState, Store, StoreOpenError, lock};
use tempfile::TempDir;

use crate::{
    fixture::Fixture,
    story::{edit, shown},
};

/// An empty folder, and control's file outside of it.
struct InFolder {
    folder: TempDir,
    store: Option<Arc<FileStore>>,
}

impl InFolder {
    async fn open(&mut self) {
        let state = SqliteControlState::open(&self.folder.path().join("control.db")).await.expect("it opens");
        let store = FileStore::open(&self.folder.path().join("conf.d")).await.expect("it opens");
        self.store = Some(Arc::new(store.with_control_state(state)));
    }
}

impl Fixture for InFolder {
    async fn start() -> Self {
        let mut folder = Self { folder: tempfile::tempdir().expect("a folder"), store: None };
        folder.open().await;
        folder
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

crate::suite::contract!(control_state of InFolder);

#[tokio::test]
async fn controls_of_one_machine_share_the_file_and_a_lease_is_one_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("control.db");
    let [one, two] = [(); 2].map(|()| SqliteControlState::open_shared(&path));
    let (one, two) = (one.await.expect("it opens"), two.await.expect("it opens beside the first"));
    assert!(matches!(lock(&path), Err(StoreOpenError::Held(_))), "a restore is refused");
    assert!(matches!(SqliteControlState::open(&path).await, Err(StoreOpenError::Held(_))));
    let state = |file: SqliteControlState| async move {
        let store = FileStore::open(std::path::Path::new("/nonexistent")).await.expect("an empty one");
        store.with_control_state(file)
    };
    let (one, two) = (state(one).await, state(two).await);
    let (one, two) = (one.control_state().expect("a place"), two.control_state().expect("a place"));
    assert_eq!(one.acquire_lease("jobs", "one", 10, 0).await, Ok(true));
    assert_eq!(two.acquire_lease("jobs", "two", 10, 9).await, Ok(false));
    assert_eq!(two.acquire_lease("jobs", "two", 10, 10).await, Ok(true));
}

#[tokio::test]
async fn it_shows_what_the_files_say_and_is_changed_by_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let yaml = "tenants:\n  - id: acme\n    sources: [{id: main, dialect: whazing, token: S3CRET-token}]\n";
    std::fs::write(folder.path().join("acme.yaml"), yaml).expect("written");
    let store = FileStore::open(folder.path()).await.expect("it opens");
    assert_eq!(store.snapshot().expect("a snapshot").source("S3CRET-token", 0).expect("known").tenant.id, "acme");
    let refused = store.edit(edit(&["acme"], |draft| {
        draft.remove("acme");
        Ok(())
    }));
    assert!(matches!(refused.await, Err(EditError::ReadOnly)));
    assert!(store.usage_and_audit().is_none() && store.control_state().is_none());
    std::fs::write(folder.path().join("beta.yaml"), "tenants: [{id: beta}]\n").expect("written");
    store.pull().await.expect("it can be read");
    assert_eq!(shown(&store).into_keys().collect::<Vec<_>>(), ["acme", "beta"]);
    assert!(shown(&store).values().all(|tenant| tenant.created() == 0), "revisions of this process cannot be compared");
}

#[tokio::test]
async fn files_that_cannot_be_used_leave_it_as_old_as_it_was_and_count_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = FileStore::open(folder.path()).await.expect("it opens");
    let opened = store.sync_status();
    assert!(opened.synced_at.is_some() && opened.failures == 0);
    let file = folder.path().join("acme.yaml");
    std::fs::write(&file, "tenants: [{id: }]\n").expect("written");
    for _ in 0..3 {
        store.pull().await.expect_err("that is no tenant");
        assert_eq!((store.sync_status().synced_at, store.sync_status().failures), (opened.synced_at, 1));
    }
    std::fs::write(&file, "tenants: [{id: acme}]\n").expect("written");
    store.pull().await.expect("it is mended");
    assert!(store.sync_status().synced_at > opened.synced_at && store.sync_status().failures == 1);
}

#[tokio::test]
async fn leases_end_with_the_process_that_had_the_file_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("control.db");
    for holder in ["one", "two"] {
        let state = SqliteControlState::open(&path).await.expect("it opens");
        assert_eq!(state.acquire_lease("jobs", holder, 1_000, 0).await, Ok(true), "{holder}");
    }
}
