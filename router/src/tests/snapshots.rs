//! The router decides by the snapshot that is in force, and does nothing without one.

use std::{sync::Arc, time::Duration};

use broker::{Broker, Lane, Queue, Target};
use schemas::{HeaderValue, ParkReason, wire};
use serde_json::json;
use store::{ItemKind, ItemVersion, Pulled, Snapshot, Store as _, StoreError, TenantSnapshot};

use super::fixture::{Fixture, Sent, acme, one, received, second_snapshot};

/// An event that was accepted with this revision.
fn accepted_at_revision(id: &str, revision: i64) -> Sent {
    let mut sent = received(id);
    sent.message.headers.set(wire::REVISION, HeaderValue::Int(revision));
    sent
}

#[tokio::test(start_paused = true)]
async fn a_router_without_a_snapshot_does_not_consume() {
    let fixture = Fixture::without_snapshot();
    fixture.publish(&received("e1")).await;
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!((fixture.memory.depth(Queue::Ingest), fixture.steps().len()), (1, 0));
    fixture.set_tenants(&one());
    fixture.idle().await;
    assert_eq!(fixture.deliveries().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_router_that_waits_for_its_first_snapshot_can_be_stopped() {
    let fixture = Fixture::without_snapshot();
    fixture.publish(&received("e1")).await;
    let memory = fixture.stop().await;
    assert_eq!(memory.depth(Queue::Ingest), 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_takes_effect_with_the_next_event() {
    let fixture = Fixture::of(&one());
    fixture.route(&received("e1")).await;
    let other = json!([{"id": "all", "endpoint_id": "flow", "event_types": ["*"]}]);
    fixture.set_tenants(&acme(&json!([{"id": "flow"}]), &other));
    fixture.route(&received("e2")).await;
    let deliveries = fixture.deliveries().await;
    let mut decided: Vec<_> = deliveries
        .values()
        .map(|(delivery, _)| (delivery.event_id.as_str(), delivery.endpoint_id.as_str(), delivery.revision))
        .collect();
    decided.sort_unstable();
    assert_eq!(decided, [("e1", "crm", 1), ("e2", "flow", 2)]);
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_later_revision_waits_for_it_while_the_store_is_away() {
    let fixture = Fixture::of(&acme(&json!([{"id": "crm"}]), &json!([])));
    fixture.store.when_pulled(|| Pulled::Failure(StoreError("away".to_owned())));
    fixture.route(&accepted_at_revision("e0", 1)).await;
    fixture.publish(&accepted_at_revision("e1", 2)).await;
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(fixture.memory.depth(Queue::Ingest), 1, "no subscription that it knows matches, but there may be one");
    let second = second_snapshot(&one());
    fixture.store.when_pulled(move || Pulled::Snapshot(second.clone()));
    fixture.idle().await;
    let deliveries = fixture.deliveries().await;
    let decided = deliveries.values().map(|(delivery, _)| (delivery.event_id.as_str(), delivery.revision));
    assert_eq!(decided.collect::<Vec<_>>(), [("e1", 2)]);
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_revision_that_the_store_no_longer_has_is_routed_by_what_it_has() {
    let fixture = Fixture::of(&one());
    fixture.route(&accepted_at_revision("e1", 9)).await;
    assert!(fixture.store.pulls() >= 1, "the store was asked");
    assert_eq!(fixture.deliveries().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_deleted_tenant_is_not_routed_for_another_one_of_its_id() {
    let fixture = Fixture::of(&one());
    let mut anew = TenantSnapshot::clone(fixture.store.snapshot().unwrap().tenant("acme").unwrap());
    let version = ItemVersion { changed: 7, created: 7 };
    anew.versions.set(ItemKind::Tenant, "acme", version);
    fixture.store.set_snapshot(Snapshot::new(9, [Arc::new(anew)]));
    fixture.route(&accepted_at_revision("e1", 6)).await;
    fixture.route(&accepted_at_revision("e2", 7)).await;
    fixture.route(&received("e3")).await;
    let deliveries = fixture.deliveries().await;
    let mut routed: Vec<_> = deliveries.values().map(|(delivery, _)| delivery.event_id.as_str()).collect();
    routed.sort_unstable();
    assert_eq!(routed, ["e2", "e3"]);
    let (parked, _) = fixture.parked().remove(0);
    assert_eq!((parked.reason, parked.event_id.as_deref()), (ParkReason::Tenant, Some("e1")));
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_tenant_made_anew_is_no_repeat_of_the_former_ones() {
    let fixture = Fixture::of(&one());
    fixture.route(&received("e1")).await;
    assert_eq!(fixture.deliveries().await.len(), 1);
    let mut anew = TenantSnapshot::clone(fixture.store.snapshot().unwrap().tenant("acme").unwrap());
    anew.versions.set(ItemKind::Tenant, "acme", ItemVersion { changed: 7, created: 7 });
    fixture.store.set_snapshot(Snapshot::new(9, [Arc::new(anew)]));
    fixture.route(&received("e1")).await;
    assert_eq!(fixture.deliveries().await.len(), 1);
    fixture.route(&received("e1")).await;
    assert_eq!(fixture.deliveries().await.len(), 0, "the second one's own repeat");
}

#[tokio::test(start_paused = true)]
async fn deliveries_have_no_revision_where_each_process_counts_for_itself() {
    let fixture = Fixture::of(&one());
    let own = fixture.store.snapshot().unwrap().tenants().cloned().collect::<Vec<_>>();
    fixture.store.set_snapshot(Snapshot::local(5, own));
    fixture.route(&accepted_at_revision("e1", 9)).await;
    let deliveries = fixture.deliveries().await;
    assert_eq!(deliveries.values().map(|(delivery, _)| delivery.revision).collect::<Vec<_>>(), [0]);
}

#[tokio::test(start_paused = true)]
async fn tenants_do_not_meet() {
    let mut tenants = one();
    let mut beta = tenants[0].clone();
    beta["id"] = json!("beta");
    tenants.as_array_mut().unwrap().push(beta);
    let fixture = Fixture::of(&tenants);
    fixture.route(&received("e1")).await;
    let deliveries = fixture.deliveries().await;
    assert_eq!(deliveries.len(), 1);
    assert!(deliveries.values().all(|(delivery, _)| delivery.tenant == "acme"));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_router_finishes_what_is_under_way_and_gives_back_what_is_unread() {
    let fixture = Fixture::of(&one());
    fixture.memory.delay_confirms(Duration::from_secs(5));
    for n in 0..50 {
        let target = Target::Ingest { key: received("x").key };
        let message = received(&format!("e{n}")).message;
        // Its confirm comes later than this test waits.
        let _ = tokio::time::timeout(Duration::ZERO, Broker::publish(&fixture.memory, &target, &message)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let memory = fixture.stop().await;
    let (unread, done) = (memory.depth(Queue::Ingest), memory.depth(Queue::Lane(Lane::Fast)));
    assert!((30..50).contains(&unread), "its prefetch is 20: {unread}");
    assert_eq!(unread + done, 50, "what was under way was finished");
}
