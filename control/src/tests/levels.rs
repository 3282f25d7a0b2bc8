//! Quotas of dead letters: counted from the log, announced, told to the tenant.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use broker::{Broker, Notices, Queue, memory::Memory};
use schemas::{DeadLetterRetention, Notice, Tenant};
use serde_json::json;
use store::{MemoryStore, Store};

use super::house::{Grave, House, NOW, bury, bury_bare};

/// A control that counts, for a tenant `acme` with this quota and a tenant `free` without.
fn house(quota: u64) -> (House, Arc<MemoryStore>, Notices) {
    let tenants = [json!({"id": "acme", "quota": {"dead_letters": quota}}), json!({"id": "free"})];
    let tenants = tenants.map(|tenant| serde_json::from_value::<Tenant>(tenant).unwrap());
    let store = Arc::new(MemoryStore::new(tenants));
    let house = House::with(Memory::calm(Arc::new(|| NOW)), store.clone());
    let notices = house.broker.notices();
    (house, store, notices)
}

fn count(house: &House) {
    let control = house.control.clone();
    tokio::spawn(async move { control.watch_dead_letters().await });
}

/// The next announcement.
async fn levels(notices: &mut Notices) -> BTreeMap<String, DeadLetterRetention> {
    loop {
        if let Some(Notice::DeadLetterLevels { levels }) = Notice::read(&notices.next().await.unwrap()) {
            return levels;
        }
    }
}

fn acme(level: DeadLetterRetention) -> BTreeMap<String, DeadLetterRetention> {
    BTreeMap::from([("acme".to_owned(), level)])
}

#[tokio::test(start_paused = true)]
async fn a_tenants_dead_letters_are_counted_as_they_die_and_are_replayed() {
    let (house, _, mut notices) = house(2);
    for event in ["e1", "e1", "e2"] {
        bury(&house.broker, &Grave::default().event(event).to("free", "crm")).await;
    }
    bury(&house.broker, &Grave::default().event("e1")).await;
    bury(&house.broker, &Grave::default().event("e1")).await;
    count(&house);
    assert_eq!(levels(&mut notices).await, BTreeMap::new(), "one, twice in the log");
    bury(&house.broker, &Grave::default().event("e2")).await;
    assert_eq!(levels(&mut notices).await, acme(DeadLetterRetention::Records));
    for event in 3..21 {
        bury_bare(&house.broker, &Grave::default().event(&format!("e{event}"))).await;
    }
    assert_eq!(levels(&mut notices).await, acme(DeadLetterRetention::Counts));
    let (to, marker) = broker::records::ReplayMarker::of(&Grave::default().event("e1").delivery, 99, "job", NOW);
    house.broker.publish(&to, &marker).await.unwrap();
    assert_eq!(levels(&mut notices).await, BTreeMap::new(), "one has its body, of nineteen");
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_bit_is_told_once_and_said_again_to_whoever_asks() {
    let (house, _, mut notices) = house(1);
    bury(&house.broker, &Grave::default()).await;
    count(&house);
    let control = house.control.clone();
    tokio::spawn(async move { control.keep_facts().await });
    levels(&mut notices).await;
    let before = tokio::time::Instant::now();
    house.broker.announce(Notice::Hello.write().into());
    assert_eq!(levels(&mut notices).await, acme(DeadLetterRetention::Records));
    assert!(before.elapsed() < Duration::from_secs(1), "at once");
    levels(&mut notices).await;
    let mut told = house.broker.consume(Queue::Ingest, 9);
    let event: serde_json::Value = serde_json::from_slice(&told.next().await.unwrap().message.body).unwrap();
    assert_eq!(event["quota"], json!({"name": "dead_letters", "limit": 1}));
    assert_eq!(house.broker.depth(Queue::Ingest), 1);
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_is_new_counts_what_died_before_it() {
    let (house, store, mut notices) = house(100);
    bury(&house.broker, &Grave::default().to("free", "crm")).await;
    count(&house);
    assert_eq!(levels(&mut notices).await, BTreeMap::new());
    let edit = store::Edit {
        selection: store::TenantSelection::All,
        author: store::Author { name: "operator".into(), address: None },
        at: NOW,
        dry_run: false,
        decision: Box::new(|draft| {
            draft.tenant("free")?.quota.get_or_insert_default().dead_letters = Some(1);
            Ok(())
        }),
    };
    store.edit(edit).await.unwrap();
    assert_eq!(levels(&mut notices).await, BTreeMap::from([("free".to_owned(), DeadLetterRetention::Records)]));
}
