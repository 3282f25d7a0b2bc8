//! More than one process on one database.

use std::{sync::Arc, time::Duration};

use store::{EditError, EditRefusal, PostgresStore, Store};

use super::{Database, NEVER};
use crate::{
    fixture::{KEY, eventually, keyring},
    story::{edit, endpoint, put, remove, shown, tenant},
};

#[tokio::test]
async fn a_change_reaches_the_other_processes_by_notification() {
    let database = Database::start().await;
    let (near, far) = (database.open().await, database.open().await);
    put(&near, tenant("acme")).await.expect("done");
    let mut revision = far.revision();
    tokio::time::timeout(Duration::from_secs(10), revision.wait_for(|at| *at == 2))
        .await
        .expect("at once")
        .expect("open");
    assert_eq!(shown(&far), shown(&near));
    remove(&far, "acme").await.expect("done");
    eventually("the other sees it", || shown(&near).is_empty().then_some(())).await;
}

/// As if the notification had been missed.
const SILENTLY: &str = "BEGIN; UPDATE carteiro.meta SET revision = revision + 1;
    UPDATE carteiro.items SET body = replace(body, 'The tenant acme', 'Renamed'), version = version + 1
    WHERE kind = 'tenant'; COMMIT";

fn name(store: &PostgresStore) -> Option<String> {
    shown(store)["acme"].name.clone()
}

#[tokio::test]
async fn a_missed_notification_is_made_up_for_by_a_look_or_by_polling() {
    let database = Database::start().await;
    let asked = database.open().await;
    put(&asked, tenant("acme")).await.expect("done");
    let polling = PostgresStore::open(&database.url, keyring(&[KEY]), database.on_disk(), Duration::from_millis(50));
    let polling = polling.await.expect("it opens");
    database.run(SILENTLY).await;
    eventually("it is polled", || (name(&polling).as_deref() == Some("Renamed")).then_some(())).await;
    assert_eq!(name(&asked).as_deref(), Some("The tenant acme"), "nobody told it");
    asked.pull().await.expect("it answers");
    assert_eq!(name(&asked).as_deref(), Some("Renamed"));
}

#[tokio::test]
async fn all_pulls_at_once_are_answered_and_see_the_newest_revision() {
    let database = Database::start().await;
    let store = Arc::new(database.open().await);
    put(&*store, tenant("acme")).await.expect("done");
    database.run(SILENTLY).await;
    let asking: Vec<_> = (0..500)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                store.pull().await.expect("it answers");
                name(&store)
            })
        })
        .collect();
    for asked in asking {
        assert_eq!(asked.await.expect("no panic").as_deref(), Some("Renamed"));
    }
}

#[tokio::test]
async fn repeated_pulls_do_not_keep_the_database_busy() {
    let database = Database::start().await;
    let store = database.open().await;
    let begun = std::time::Instant::now();
    for _ in 0..11 {
        store.pull().await.expect("it answers");
    }
    // Only a lower bound: how long it takes beyond that is the machine's.
    assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn of_two_processes_that_give_a_source_the_same_token_one_is_refused() {
    let database = Database::start().await;
    let stores = [Arc::new(database.open().await), Arc::new(database.open().await)];
    for tenant in ["acme", "zeta"] {
        put(&*stores[0], schemas::Tenant::new(tenant)).await.expect("done");
    }
    let racing = [("acme", 0), ("zeta", 1)].map(|(tenant, at)| {
        let store = stores[at].clone();
        tokio::spawn(async move {
            let taking = edit(&[tenant], move |draft| {
                let source = r#"{"id": "main", "dialect": "whazing", "token": "the-same-token"}"#;
                draft.tenant(tenant)?.sources.push(serde_json::from_str(source).expect("a source"));
                Ok(())
            });
            store.edit(taking).await
        })
    });
    let [acme, zeta] = racing;
    let ended = [acme.await.expect("no panic"), zeta.await.expect("no panic")];
    let refused =
        ended.iter().filter(|ended| matches!(ended, Err(EditError::Refused(EditRefusal::Invalid(_))))).count();
    assert_eq!((refused, ended.iter().filter(|ended| ended.is_ok()).count()), (1, 1), "{ended:?}");
}

#[tokio::test]
async fn editors_in_two_processes_lose_nothing_and_agree_in_the_end() {
    let database = Database::start().await;
    let stores = [Arc::new(database.open().await), Arc::new(database.open().await)];
    put(&*stores[0], schemas::Tenant::new("acme")).await.expect("done");
    let editors: Vec<_> = (0..40)
        .map(|at| {
            let store = stores[at % 2].clone();
            tokio::spawn(async move {
                let added = edit(&["acme"], move |draft| {
                    draft.tenant("acme")?.endpoints.push(endpoint(&format!("e{at:02}")));
                    Ok(())
                });
                store.edit(added).await.expect("done").revision
            })
        })
        .collect();
    let mut revisions = Vec::new();
    for editor in editors {
        revisions.push(editor.await.expect("no panic"));
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (3..43).collect::<Vec<_>>());
    for store in &stores {
        store.pull().await.expect("it answers");
    }
    assert_eq!(shown(&*stores[0])["acme"].endpoints.len(), 40);
    assert_eq!(shown(&*stores[0]), shown(&*stores[1]));
    let fresh = database.open().await;
    assert_eq!(shown(&fresh), shown(&*stores[0]));
}

#[tokio::test]
async fn many_processes_that_start_at_once_make_the_tables_once() {
    let database = Arc::new(Database::start().await);
    let starting: Vec<_> = (0..8)
        .map(|_| {
            let database = database.clone();
            tokio::spawn(async move {
                let opened = PostgresStore::open(&database.url, keyring(&[KEY]), database.on_disk(), NEVER).await;
                opened.expect("it opens")
            })
        })
        .collect();
    for (at, started) in starting.into_iter().enumerate() {
        let store = started.await.expect("no panic");
        let id: &'static str = ["a", "b", "c", "d", "e", "f", "g", "h"][at];
        eventually("it is connected", || store.snapshot()).await;
        put(&store, tenant(id)).await.expect("done");
    }
    assert_eq!(shown(&database.open().await).len(), 8);
}
