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
    assert!(store.books().is_none());
    std::fs::write(folder.path().join("beta.yaml"), "tenants: [{id: beta}]\n").expect("written");
    store.pull().await.expect("it can be read");
    assert_eq!(shown(&store).into_keys().collect::<Vec<_>>(), ["acme", "beta"]);
}
