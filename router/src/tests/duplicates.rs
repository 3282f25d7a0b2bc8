//! An event that comes again after its deliveries were confirmed makes none; one that did not get so far makes them all.

use broker::{Inlet, Lane, Settlement};
use serde_json::json;

use super::witness::Step;
use super::world::{World, acme, one, received};

const FAST: Inlet = Inlet::Lane(Lane::Fast);

fn suppressed(world: &World) -> u64 {
    world.metrics.deduplicated.with_label_values(&["router"]).get()
}

#[tokio::test(start_paused = true)]
async fn an_event_that_comes_again_is_settled_and_makes_no_deliveries() {
    let world = World::of(&one());
    world.route(&received("e1")).await;
    let (before, made) = (suppressed(&world), world.memory.depth(FAST));
    world.route(&received("e1")).await;
    assert!(suppressed(&world) > before);
    assert_eq!(world.memory.depth(FAST), made);
    assert_eq!(world.steps().last(), Some(&Step::Settled(Settlement::Done)));
    world.route(&received("e2")).await;
    assert_eq!(world.deliveries().await.len(), 2, "others are");
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_deliveries_were_not_confirmed_makes_them_when_it_comes_again() {
    let world = World::of(&one());
    world.publish(&received("e1")).await;
    world.memory.block("alarm");
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    // Its first copy is under way, insisting. The session is lost, and the event handed out again.
    world.memory.go_away("cut");
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(world.memory.depth(FAST), 0);
    world.memory.come_back();
    world.idle().await;
    assert_eq!(world.deliveries().await.len(), 1, "the try that failed had not been noted");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_parked_is_routed_when_it_comes_again() {
    let world = World::of(&json!([]));
    world.route(&received("e1")).await;
    assert!(!world.parked().is_empty());
    world.shelf.set(&one());
    world.route(&received("e1")).await;
    assert_eq!(world.deliveries().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_nobody_wanted_may_be_wanted_when_it_comes_again() {
    let world = World::of(&acme(&json!([{"id": "crm"}]), &json!([])));
    world.route(&received("e1")).await;
    world.shelf.set(&one());
    world.route(&received("e1")).await;
    assert_eq!(world.deliveries().await.len(), 1);
    assert_eq!(suppressed(&world), 0);
}

#[tokio::test(start_paused = true)]
async fn after_its_window_an_event_is_routed_anew_under_the_same_ids() {
    let world = World::of(&one());
    world.route(&received("e1")).await;
    let first = world.deliveries().await;
    tokio::time::sleep(std::time::Duration::from_secs(3_600)).await;
    world.route(&received("e1")).await;
    assert_eq!(world.deliveries().await.keys().collect::<Vec<_>>(), first.keys().collect::<Vec<_>>());
}
