//! The store in memory.

use std::sync::Arc;

use store::{EditError, MemoryStore, Store};

use crate::{
    fixture::Fixture,
    story::{put, shown, tenant},
};

struct InMemory(Arc<MemoryStore>);

impl Fixture for InMemory {
    async fn start() -> Self {
        Self(Arc::new(MemoryStore::default()))
    }

    fn store(&self) -> Arc<dyn Store> {
        self.0.clone()
    }

    async fn reopen(&mut self) {}
}

crate::suite::contract!(InMemory);

#[tokio::test]
async fn while_it_is_away_its_snapshot_stays_and_nothing_is_changed() {
    let store = MemoryStore::new([tenant("acme")]);
    store.set_away(true);
    assert!(matches!(put(&store, tenant("beta")).await, Err(EditError::Away(_))));
    let before = store.sync_status();
    assert!(store.pull().await.is_err());
    let after = store.sync_status();
    assert_eq!((after.synced_at, after.failures), (before.synced_at, before.failures + 1));
    assert_eq!(shown(&store).len(), 1);
    store.set_away(false);
    put(&store, tenant("beta")).await.expect("it is back");
}
