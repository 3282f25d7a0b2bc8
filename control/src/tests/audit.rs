//! The audit log does not grow for ever.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use broker::memory::Memory;
use schemas::Tenant;
use store::{MemoryStore, UsageAndAudit as _};
use tokio::time::timeout;

use super::fixture::{Fixture, NOW, edit};

const DAY: u64 = 24 * 60 * 60 * 1_000;
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Makes a change, so many days ago.
async fn change(store: &MemoryStore, days_ago: u64) {
    edit(store, "operator", NOW - days_ago * DAY, move |draft| {
        draft.put(Tenant::new(format!("t{days_ago}")));
        Ok(())
    })
    .await;
}

async fn log(store: &MemoryStore) -> Vec<String> {
    store.audit(None, None, 100).await.unwrap().into_iter().map(|entry| entry.tenant).collect()
}

#[tokio::test(start_paused = true)]
async fn audit_entries_that_are_old_enough_are_deleted_at_the_start_and_every_hour() {
    let store = Arc::new(MemoryStore::default());
    let fixture = Fixture::with(Memory::calm(Arc::new(|| NOW)), store.clone());
    change(&store, 365).await;
    change(&store, 31).await;
    let trim = fixture.control.trim_audit();
    tokio::pin!(trim);
    assert!(timeout(Duration::from_secs(1), &mut trim).await.is_err(), "it goes on");
    assert_eq!(log(&store).await, Vec::<String>::new());
    change(&store, 32).await;
    change(&store, 29).await;
    store.set_away(true);
    assert!(timeout(HOUR, &mut trim).await.is_err(), "a store that is away is no end");
    store.set_away(false);
    assert_eq!(log(&store).await, ["t29", "t32"], "it could not be asked");
    assert!(timeout(HOUR, &mut trim).await.is_err());
    assert_eq!(log(&store).await, ["t29"], "30 days are kept");
}

#[tokio::test(start_paused = true)]
async fn audit_entries_are_not_deleted_because_the_clock_was_set_forward_unless_it_stays_so_for_a_day() {
    let store = Arc::new(MemoryStore::default());
    let fixture = Fixture::with(Memory::calm(Arc::new(|| NOW)), store.clone());
    change(&store, 31).await;
    change(&store, 20).await;
    let trim = fixture.control.trim_audit();
    tokio::pin!(trim);
    assert!(timeout(HOUR / 2, &mut trim).await.is_err());
    assert_eq!(log(&store).await, ["t20"]);
    fixture.now.store(NOW + 20 * DAY, Relaxed);
    assert!(timeout(20 * HOUR, &mut trim).await.is_err());
    assert_eq!(log(&store).await, ["t20"]);
    assert!(timeout(6 * HOUR, &mut trim).await.is_err());
    assert_eq!(log(&store).await, Vec::<String>::new());
}
