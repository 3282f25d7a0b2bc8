//! An event that comes again after its deliveries were confirmed makes none; one that did not get so far makes them all.

use broker::{Lane, Queue, Settlement};
use serde_json::json;

use super::{
    fixture::{Fixture, acme, one, received},
    recording::Step,
};

const FAST: Queue = Queue::Lane(Lane::Fast);

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
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    // The first copy is still being published when the session is lost and the event is handed out again.
    fixture.memory.go_away("cut");
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
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
    tokio::time::sleep(std::time::Duration::from_secs(3_600)).await;
    fixture.route(&received("e1")).await;
    assert_eq!(fixture.deliveries().await.keys().collect::<Vec<_>>(), first.keys().collect::<Vec<_>>());
}
