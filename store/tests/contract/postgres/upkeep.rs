//! Tables and keys: of other versions, wrong, and new.

use store::{AuditEntry, SqliteStore, Store, StoreOpenError, Usage, UsageReport, UsageScope, copy_in, copy_out};

use super::Database;
use crate::{
    fixture::{KEY, keyring},
    story::{SECRETS, put, remove, shown, tenant},
};

const NEW_KEY: &str = "a newer key of many characters";

#[tokio::test]
async fn tables_of_a_later_version_are_refused_and_left_alone() {
    let database = Database::start().await;
    let running = database.open().await;
    put(&running, tenant("acme")).await.expect("done");
    database.run("UPDATE carteiro.meta SET format = 99").await;
    let refused = database.open_with(keyring(&[KEY])).await.map(|_| ()).expect_err("it is newer");
    assert!(matches!(refused, StoreOpenError::Newer { found: 99, .. }), "{refused}");
    assert!(put(&running, tenant("beta")).await.is_err(), "nor is anything written by who was there before");
    assert_eq!(shown(&running).len(), 1);
}

#[tokio::test]
async fn tables_of_the_first_format_are_brought_up_to_date_and_nobody_knows_what_created_their_items() {
    let database = Database::start().await;
    put(&database.open().await, tenant("acme")).await.expect("done");
    let older = "ALTER TABLE carteiro.items DROP COLUMN created; DROP TABLE carteiro.jobs; DROP TABLE carteiro.leases;
                 UPDATE carteiro.meta SET format = 1";
    database.run(older).await;
    let store = database.open().await;
    put(&store, tenant("beta")).await.expect("done");
    let created = shown(&database.open().await).into_values().map(|tenant| (tenant.created(), tenant.to_tenant()));
    assert_eq!(created.collect::<Vec<_>>(), [(0, tenant("acme")), (3, tenant("beta"))]);
}

#[tokio::test]
async fn a_wrong_key_is_refused_by_its_name_and_nothing_is_overwritten() {
    let database = Database::start().await;
    put(&database.open().await, tenant("acme")).await.expect("done");
    let refused = database.open_with(keyring(&[NEW_KEY])).await.map(|_| ()).expect_err("another key");
    assert!(matches!(refused, StoreOpenError::Key { .. }), "{refused}");
    assert!(refused.to_string().contains("store.encryption_key"));
    assert_eq!(shown(&database.open().await)["acme"].to_tenant(), tenant("acme"));
}

#[tokio::test]
async fn a_key_is_changed_while_processes_with_the_old_one_go_on() {
    let database = Database::start().await;
    // First all learn to read with the new key …
    let old = database.open_with(keyring(&[KEY, NEW_KEY])).await.expect("it opens");
    for id in ["acme", "beta"] {
        put(&old, tenant(id)).await.expect("done");
    }
    // … then one writes with it.
    let new = database.open_with(keyring(&[NEW_KEY, KEY])).await.expect("it opens");
    assert_eq!(new.reseal().await.expect("done"), 4);
    assert_eq!((new.reseal().await.expect("done"), *new.revision().borrow()), (0, 3));
    put(&new, tenant("gamma")).await.expect("done");
    old.pull().await.expect("it reads what the new key sealed");
    assert_eq!(shown(&old).len(), 3);
    let only_new = database.open_with(keyring(&[NEW_KEY])).await.expect("the old key is not needed any more");
    assert_eq!(shown(&only_new), shown(&new));
    assert!(matches!(database.open_with(keyring(&[KEY])).await, Err(StoreOpenError::Key { .. })));
}

#[tokio::test]
async fn no_secret_is_in_the_clear_in_any_table() {
    let database = Database::start().await;
    let store = database.open().await;
    put(&store, tenant("acme")).await.expect("done");
    remove(&store, "acme").await.expect("done");
    put(&store, tenant("acme")).await.expect("done");
    let sql = "SELECT i::text, encode(sealed, 'escape') FROM carteiro.items i; SELECT a::text FROM carteiro.audit a;
               SELECT m::text FROM carteiro.meta m";
    let all = format!("{:?}", database.run(sql).await);
    assert!(all.contains("https://crm.example/hooks"), "what is not secret is readable");
    assert!(SECRETS.iter().all(|secret| !all.contains(secret)));
}

#[tokio::test]
async fn a_process_that_missed_deleted_rows_reads_everything() {
    let database = Database::start().await;
    let (near, far) = (database.open().await, database.open().await);
    for id in ["acme", "beta"] {
        put(&near, tenant(id)).await.expect("done");
    }
    far.pull().await.expect("it answers");
    let kept = far.snapshot().expect("a snapshot");
    let forget = "BEGIN; DELETE FROM carteiro.items WHERE tenant = 'acme';
                  UPDATE carteiro.meta SET revision = revision + 1, forgotten = revision + 1; COMMIT";
    database.run(forget).await;
    far.pull().await.expect("it answers");
    let read = far.snapshot().expect("a snapshot");
    assert!(read.tenant("acme").is_none());
    assert!(std::sync::Arc::ptr_eq(kept.tenant("beta").expect("old"), read.tenant("beta").expect("new")));
}

#[tokio::test]
async fn a_copy_is_a_file_of_sqlite_and_fills_an_empty_database() {
    let (database, empty) = (Database::start().await, Database::start().await);
    let store = database.open().await;
    for id in ["acme", "beta"] {
        put(&store, tenant(id)).await.expect("done");
    }
    remove(&store, "beta").await.expect("done");
    let counts = schemas::Counts { attempts: 7, ..schemas::Counts::default() };
    let day = "2026-11-21".to_owned();
    let report =
        UsageReport { process: "a".into(), sequence: 1, tenant: "acme".into(), endpoint_id: None, day, counts };
    store.usage_and_audit().expect("usage and audit").record_usage(vec![report]).await.expect("kept");
    let copy = database.folder.path().join("copy.db");
    copy_out(&database.url, &copy).await.expect("copied");
    copy_in(&copy, &empty.url).await.expect("restored");
    let again = copy_in(&copy, &empty.url).await;
    assert!(again.is_err_and(|error| error.to_string().contains("not empty")));
    let (restored, file) = (empty.open().await, SqliteStore::open(&copy, keyring(&[KEY])).await.expect("it opens"));
    let expected = (shown(&store), usage_and_audit(&store).await);
    assert_eq!((shown(&restored), usage_and_audit(&restored).await), expected);
    assert_eq!((shown(&file), usage_and_audit(&file).await), expected);
    assert_eq!(*restored.revision().borrow(), *store.revision().borrow());
    put(&restored, tenant("gamma")).await.expect("it goes on");
    let newest = restored.usage_and_audit().expect("usage and audit").audit(None, None, 1).await.expect("a log");
    assert!(newest[0].id > expected.1.0[0].id);
}

async fn usage_and_audit(store: &dyn Store) -> (Vec<AuditEntry>, Vec<Usage>) {
    let kept = store.usage_and_audit().expect("usage and audit");
    let usage = kept.usage("acme", UsageScope::Endpoints, "2026-01-01", "2026-12-31").await.expect("usage");
    (kept.audit(None, None, 100).await.expect("a log"), usage)
}
