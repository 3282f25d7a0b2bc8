//! Properties of the file; those of every store are in `tests/contract`.

use rusqlite::Connection;

use super::*;
use crate::{Author, TenantSelection};
use schemas::Tenant;

fn keyring(text: &str) -> Keyring {
    Keyring::new(&text.to_owned().into(), []).unwrap()
}

const KEY: &str = "a key of many characters";

fn tenant(id: &str) -> Tenant {
    serde_json::from_value(serde_json::json!({"id": id,
        "endpoints": [{"id": "crm", "url": "https://crm.example/", "n8n_api_key": "S3CRET-n8n"}]}))
    .unwrap()
}

fn put(tenant: Tenant) -> Edit {
    Edit {
        selection: TenantSelection::Tenants(vec![tenant.id.clone()]),
        author: Author { name: "operator".into(), address: None },
        at: 0,
        dry_run: false,
        decision: Box::new(move |draft| {
            draft.put(tenant);
            Ok(())
        }),
    }
}

fn secret(store: &SqliteStore, tenant: &str) -> String {
    let snapshot = store.snapshot().unwrap();
    snapshot.endpoint(tenant, "crm").unwrap().n8n_api_key.as_ref().unwrap().reveal().to_owned()
}

#[tokio::test]
async fn a_second_process_is_kept_out_until_the_first_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let first = SqliteStore::open(&path, keyring(KEY)).await.unwrap();
    assert!(matches!(SqliteStore::open(&path, keyring(KEY)).await, Err(StoreOpenError::Held(_))));
    drop(first);
    SqliteStore::open(&path, keyring(KEY)).await.unwrap();
}

#[tokio::test]
async fn a_file_of_a_later_version_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", migrations::SETTINGS_FILE.format() + 1)
        .unwrap();
    let before = std::fs::read(&path).unwrap();
    let refused = SqliteStore::open(&path, keyring(KEY)).await.unwrap_err();
    assert!(matches!(refused, StoreOpenError::Newer { .. }), "{refused}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_file_of_the_first_format_is_read_and_brought_up_to_date_and_nobody_knows_what_created_its_items() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path, keyring(KEY)).await.unwrap();
    store.edit(put(tenant("acme"))).await.unwrap();
    drop(store);
    let connection = Connection::open(&path).unwrap();
    let older = "ALTER TABLE items DROP COLUMN created; DROP TABLE jobs; DROP TABLE leases; PRAGMA user_version = 1";
    connection.execute_batch(older).unwrap();
    drop(connection);

    let dump = read(&path).unwrap();
    assert_eq!(dump.rows.iter().map(|row| (row.version, row.created)).collect::<Vec<_>>(), [(2, 0), (2, 0)]);
    let store = SqliteStore::open(&path, keyring(KEY)).await.unwrap();
    let created = |store: &SqliteStore| store.snapshot().unwrap().tenant("acme").unwrap().endpoint_created("crm");
    assert_eq!((created(&store), secret(&store, "acme")), (0, "S3CRET-n8n".to_owned()));
    let mut changed = tenant("acme");
    changed.endpoints[0].url = "https://new.example/".to_owned();
    store.edit(put(changed)).await.unwrap();
    assert_eq!(created(&store), 0, "a change creates nothing");
}

#[tokio::test]
async fn a_wrong_key_is_refused_by_its_name_even_before_there_is_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    drop(SqliteStore::open(&path, keyring(KEY)).await.unwrap());
    let refused = SqliteStore::open(&path, keyring("a key of other characters")).await.unwrap_err();
    assert!(matches!(refused, StoreOpenError::Key { .. }));
    assert!(refused.to_string().contains("store.encryption_key"), "{refused}");
    SqliteStore::open(&path, keyring(KEY)).await.unwrap();
}

#[tokio::test]
async fn after_a_rotation_the_new_key_alone_opens_everything_and_nothing_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, key_file) = (folder.path().join("store.db"), folder.path().join("store.key"));
    let mut keys = KeyFile::read(&key_file).unwrap();
    keys.add().unwrap();
    let old = Keyring::new(&keys.keys()[0], []).unwrap();
    let store = SqliteStore::open(&path, old.clone()).await.unwrap();
    for at in 0..3 {
        store.edit(put(tenant(&format!("t{at}")))).await.unwrap();
    }
    assert_eq!(store.rotate(&key_file).await.unwrap(), 3);
    assert_eq!(*store.revision().borrow(), 4);
    assert_eq!(store.reseal().await.unwrap(), 0);
    drop(store);
    assert!(matches!(SqliteStore::open(&path, old).await, Err(StoreOpenError::Key { .. })));
    let keys = KeyFile::read(&key_file).unwrap();
    let [key] = keys.keys() else { panic!("the old key is gone") };
    let store = SqliteStore::open(&path, Keyring::new(key, []).unwrap()).await.unwrap();
    assert_eq!((secret(&store, "t0"), secret(&store, "t2")), ("S3CRET-n8n".into(), "S3CRET-n8n".into()));
    assert_eq!(store.snapshot().unwrap().tenant("t0").unwrap().versions.of(crate::ItemKind::Tenant, "t0"), Some(2));
}

#[tokio::test]
async fn with_an_older_key_beside_a_new_one_all_is_written_anew_while_edits_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let (old, new) = (KEY.to_owned().into(), "a new key of many characters".to_owned().into());
    let store = SqliteStore::open(&path, Keyring::new(&old, []).unwrap()).await.unwrap();
    for at in 0..20 {
        store.edit(put(tenant(&format!("t{at}")))).await.unwrap();
    }
    drop(store);

    let store = SqliteStore::open(&path, Keyring::new(&new, [&old]).unwrap()).await.unwrap();
    let edits = async {
        for at in 15..25 {
            store.edit(put(tenant(&format!("t{at}")))).await.unwrap();
        }
    };
    let (resealed, ()) = futures_util::future::join(store.reseal(), edits).await;
    assert!(resealed.unwrap() > 0);
    drop(store);

    let store = SqliteStore::open(&path, Keyring::new(&new, []).unwrap()).await.unwrap();
    assert_eq!((0..25).filter(|at| secret(&store, &format!("t{at}")) == "S3CRET-n8n").count(), 25);
    drop(store);
    assert!(matches!(SqliteStore::open(&path, Keyring::new(&old, []).unwrap()).await, Err(StoreOpenError::Key { .. })));
}
