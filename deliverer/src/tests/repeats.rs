//! A delivery that comes again after it succeeded is not posted again; one that did not succeed is.

use schemas::Delivery;
use serde_json::json;

use super::{
    scripted::{Scripted, answer},
    world::{FAST, World, delivery, message},
};

const CLOSE: &str = "connection: close\r\n";

#[tokio::test]
async fn a_delivery_that_comes_again_after_its_2xx_is_settled_without_a_post() {
    let mut receiver = Scripted::answering(200).await;
    let mut world = World::of(&json!([{"id": "crm", "url": receiver.url()}]));
    world.publish(&message(&delivery("e1"))).await;
    receiver.request().await;
    world.empty(FAST).await;
    let before = world.metrics.deduplicated.get();
    // Also a retry that was forked before, and whatever became of its endpoint.
    world.shelf.set(&json!([{"id": "crm", "url": receiver.url(), "state": "disabled"}]));
    for attempt in [1, 2] {
        world.publish(&message(&Delivery { attempt, ..delivery("e1") })).await;
        world.empty(FAST).await;
    }
    assert!(world.metrics.deduplicated.get() >= before + 2);
    assert_eq!(receiver.connections(), 1);
    assert!(world.nothing_published(), "no dead letter for what was delivered");
}

#[tokio::test]
async fn a_delivery_whose_attempt_failed_is_posted_when_it_comes_again() {
    let mut receiver = Scripted::new(vec![answer(503, CLOSE, ""), answer(200, CLOSE, "")]).await;
    let mut world = World::of(&json!([{"id": "crm", "url": receiver.url()}]));
    world.publish(&message(&delivery("e1"))).await;
    receiver.request().await;
    let (_, retry) = world.retry().await;
    world.publish(&retry).await;
    receiver.request().await;
    world.empty(FAST).await;
}

#[tokio::test]
async fn a_replay_of_what_succeeded_is_posted() {
    let mut receiver = Scripted::answering(200).await;
    let world = World::of(&json!([{"id": "crm", "url": receiver.url()}]));
    for replay in [None, Some("r1"), Some("r2")] {
        world.publish(&message(&Delivery { replay: replay.map(Into::into), ..delivery("e1") })).await;
        receiver.request().await;
        world.empty(FAST).await;
    }
    assert_eq!(receiver.connections(), 3);
}
