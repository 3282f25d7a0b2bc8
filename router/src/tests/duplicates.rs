//! An event that comes again after its deliveries were confirmed makes none; one that did not get so far makes them
//! all. Another event under its id is parked.

use std::{collections::BTreeSet, time::Duration};

use broker::{Lane, Queue, Settlement};
use schemas::ParkReason;
use serde_json::json;

use super::{
    fixture::{Fixture, Sent, acme, event, one, received},
    recording::Step,
};

const FAST: Queue = Queue::Lane(Lane::Fast);

/// Another event than `received` makes under the same id.
fn other(id: &str) -> Sent {
    event(id, &json!({"type": "ticket.created", "ticket": {"id": 43}}))
}

/// The types of the events that deliveries were made of.
async fn delivered_types(fixture: &Fixture) -> BTreeSet<String> {
    let deliveries = fixture.deliveries().await.into_values();
    deliveries.map(|(delivery, _)| delivery.event_type.to_string()).collect()
}

fn suppressed(fixture: &Fixture) -> u64 {
    fixture.metrics.deduplicated.with_label_values(&["router"]).get()
}

#[tokio::test(start_paused = true)]
async fn an_event_that_comes_again_is_settled_and_makes_no_deliveries() {
    let fixture = Fixture::of(&one());
    fixture.route(&received("e1")).await;
    let (before, made) = (suppressed(&fixture), fixture.memory.depth(FAST));
    fixture.route(&received("e1")).await;
    assert!(suppressed(&fixture) > before);
    assert_eq!(fixture.memory.depth(FAST), made);
    assert_eq!(fixture.steps().last(), Some(&Step::Settled(Settlement::Done)));
    fixture.route(&received("e2")).await;
    assert_eq!(fixture.deliveries().await.len(), 2, "others are");
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_deliveries_were_not_confirmed_makes_them_when_it_comes_again() {
    let fixture = Fixture::of(&one());
    fixture.publish(&received("e1")).await;
    fixture.memory.block("alarm");
    tokio::time::sleep(Duration::from_secs(5)).await;
    // The first copy is still being published when the session is lost and the event is handed out again.
    fixture.memory.go_away("cut");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(fixture.memory.depth(FAST), 0);
    fixture.memory.come_back();
    fixture.idle().await;
    assert_eq!(fixture.deliveries().await.len(), 1, "the try that failed had not been noted");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_parked_is_routed_when_it_comes_again() {
    let fixture = Fixture::of(&json!([]));
    fixture.route(&received("e1")).await;
    assert!(!fixture.parked().is_empty());
    fixture.set_tenants(&one());
    fixture.route(&received("e1")).await;
    assert_eq!(fixture.deliveries().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_without_subscribers_may_have_one_when_it_is_repeated() {
    let fixture = Fixture::of(&acme(&json!([{"id": "crm"}]), &json!([])));
    fixture.route(&received("e1")).await;
    fixture.set_tenants(&one());
    fixture.route(&received("e1")).await;
    assert_eq!(fixture.deliveries().await.len(), 1);
    assert_eq!(suppressed(&fixture), 0);
}

#[tokio::test(start_paused = true)]
async fn after_its_window_an_event_is_routed_anew_under_the_same_ids() {
    let fixture = Fixture::of(&one());
    fixture.route(&received("e1")).await;
    let first = fixture.deliveries().await;
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    fixture.route(&received("e1")).await;
    assert_eq!(fixture.deliveries().await.keys().collect::<Vec<_>>(), first.keys().collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn another_event_under_the_id_of_a_routed_one_is_parked_whole_as_identity() {
    let fixture = Fixture::of(&one());
    fixture.route(&received("e1")).await;
    fixture.route(&other("e1")).await;
    assert_eq!(fixture.deliveries().await.len(), 1);
    let parked = fixture.parked();
    assert!(!parked.is_empty());
    for (record, carrier) in parked {
        assert_eq!((record.reason, record.event_id.as_deref()), (ParkReason::Identity, Some("e1")));
        let expected = "message_id: another event came under this id lately, with other bytes";
        assert_eq!(record.detail.as_deref(), Some(expected));
        assert_eq!(carrier.message.body, other("e1").message.body);
    }
    let parked = fixture.parked().len();
    fixture.route(&received("e1")).await;
    assert_eq!(fixture.parked().len(), parked, "the first one's repeat is none");
    assert!(suppressed(&fixture) > 0);
}

#[tokio::test(start_paused = true)]
async fn a_parked_event_is_parked_again_while_its_id_is_known_and_routed_after_that() {
    let fixture = Fixture::of(&one());
    fixture.route(&received("e1")).await;
    fixture.route(&other("e1")).await;
    let (_, carrier) = fixture.parked().remove(0);
    // As a requeue by hand publishes it.
    let requeued = Sent { key: other("e1").key, message: carrier.message };
    let parked = fixture.parked().len();
    fixture.route(&requeued).await;
    assert!(fixture.parked().len() > parked);
    let parked = fixture.parked().len();
    fixture.deliveries().await;
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    fixture.route(&requeued).await;
    assert_eq!(fixture.parked().len(), parked);
    assert_eq!(delivered_types(&fixture).await, BTreeSet::from(["ticket.created".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn of_two_events_that_come_at_once_under_one_id_one_is_routed_and_the_other_parked() {
    let fixture = Fixture::of(&one());
    fixture.memory.delay_confirms(Duration::from_secs(1));
    let (first, second) = (received("e1"), other("e1"));
    tokio::join!(fixture.publish(&first), fixture.publish(&second));
    fixture.idle().await;
    let delivered = delivered_types(&fixture).await;
    let parked = fixture.parked().into_iter().map(|(_, carrier)| carrier.message.kind);
    let parked: BTreeSet<_> = parked.collect();
    assert_eq!((delivered.len(), parked.len()), (1, 1));
    let all: BTreeSet<_> = delivered.union(&parked).map(String::as_str).collect();
    assert_eq!(all, BTreeSet::from(["message.received", "ticket.created"]));
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_predecessor_made_no_deliveries_is_routed_under_its_id() {
    let fixture = Fixture::of(&json!([]));
    fixture.route(&received("e1")).await;
    let parked = fixture.parked().len();
    assert!(parked > 0, "there is no such tenant");
    fixture.set_tenants(&acme(&json!([{"id": "crm"}]), &json!([])));
    fixture.route(&received("e1")).await;
    fixture.set_tenants(&one());
    fixture.route(&other("e1")).await;
    assert_eq!(delivered_types(&fixture).await, BTreeSet::from(["ticket.created".to_owned()]));
    assert_eq!(fixture.parked().len(), parked);
}
