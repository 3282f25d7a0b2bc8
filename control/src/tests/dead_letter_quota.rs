//! Quotas of dead letters: counted from the log, announced, and published to the tenant as an event.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use broker::{Broker, Notices, Queue, memory::Memory};
use schemas::{DeadLetterRetention, Notice, Tenant};
use serde_json::json;
use store::MemoryStore;

use super::fixture::{DeadDelivery, Fixture, NOW, append, append_without_body, edit};

/// A control that counts, for a tenant `acme` with this quota and a tenant `free` without.
fn fixture(quota: u64) -> (Fixture, Arc<MemoryStore>, Notices) {
    let tenants = [json!({"id": "acme", "quota": {"dead_letters": quota}}), json!({"id": "free"})];
    let tenants = tenants.map(|tenant| serde_json::from_value::<Tenant>(tenant).unwrap());
    let store = Arc::new(MemoryStore::new(tenants));
    let fixture = Fixture::with(Memory::calm(Arc::new(|| NOW)), store.clone());
    let notices = fixture.broker.notices();
    (fixture, store, notices)
}

fn count(fixture: &Fixture) {
    let control = fixture.control.clone();
    tokio::spawn(async move { control.watch_dead_letters().await });
}

/// The next announcement.
async fn levels(notices: &mut Notices) -> BTreeMap<String, DeadLetterRetention> {
    loop {
        if let Some(Notice::DeadLetterRetention { by_tenant }) = Notice::read(&notices.next().await.unwrap()) {
            return by_tenant;
        }
    }
}

fn acme(level: DeadLetterRetention) -> BTreeMap<String, DeadLetterRetention> {
    BTreeMap::from([("acme".to_owned(), level)])
}

#[tokio::test(start_paused = true)]
async fn a_tenants_dead_letters_are_counted_as_they_die_and_are_replayed() {
    let (fixture, _, mut notices) = fixture(2);
    for event in ["e1", "e1", "e2"] {
        append(&fixture.broker, &DeadDelivery::default().event(event).to("free", "crm")).await;
    }
    append(&fixture.broker, &DeadDelivery::default().event("e1")).await;
    append(&fixture.broker, &DeadDelivery::default().event("e1")).await;
    count(&fixture);
    assert_eq!(levels(&mut notices).await, BTreeMap::new(), "one, twice in the log");
    append(&fixture.broker, &DeadDelivery::default().event("e2")).await;
    assert_eq!(levels(&mut notices).await, acme(DeadLetterRetention::Records));
    for event in 3..21 {
        append_without_body(&fixture.broker, &DeadDelivery::default().event(&format!("e{event}"))).await;
    }
    assert_eq!(levels(&mut notices).await, acme(DeadLetterRetention::Counts));
    let (to, marker) = broker::records::ReplayMarker::of(&DeadDelivery::default().event("e1").delivery, 99, "job", NOW);
    fixture.broker.publish(&to, &marker).await.unwrap();
    assert_eq!(levels(&mut notices).await, BTreeMap::new(), "one has its body, of nineteen");
}

#[tokio::test(start_paused = true)]
async fn a_reached_quota_makes_one_event_and_is_announced_again_to_new_listeners() {
    let (fixture, _, mut notices) = fixture(1);
    append(&fixture.broker, &DeadDelivery::default()).await;
    count(&fixture);
    let control = fixture.control.clone();
    tokio::spawn(async move { control.keep_findings().await });
    levels(&mut notices).await;
    let before = tokio::time::Instant::now();
    fixture.broker.announce(Notice::Hello.write().into());
    assert_eq!(levels(&mut notices).await, acme(DeadLetterRetention::Records));
    assert!(before.elapsed() < Duration::from_secs(1), "at once");
    levels(&mut notices).await;
    let mut told = fixture.broker.consume(Queue::Ingest, 9.into());
    let event: serde_json::Value = serde_json::from_slice(&told.next().await.unwrap().message.body).unwrap();
    assert_eq!(event["quota"], json!({"name": "dead_letters", "limit": 1}));
    assert_eq!(fixture.broker.depth(Queue::Ingest), 1);
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_is_new_counts_what_died_before_it() {
    let (fixture, store, mut notices) = fixture(100);
    append(&fixture.broker, &DeadDelivery::default().to("free", "crm")).await;
    count(&fixture);
    assert_eq!(levels(&mut notices).await, BTreeMap::new());
    edit(&*store, "operator", NOW, |draft| {
        draft.tenant("free")?.quota.get_or_insert_default().dead_letters = Some(1);
        Ok(())
    })
    .await;
    assert_eq!(levels(&mut notices).await, BTreeMap::from([("free".to_owned(), DeadLetterRetention::Records)]));
}
