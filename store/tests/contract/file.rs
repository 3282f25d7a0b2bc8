//! The folder of YAML: read, never written.

use store::{EditError, FileStore, Store};

use crate::story::{edit, shown};

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
    assert!(store.usage_and_audit().is_none());
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
