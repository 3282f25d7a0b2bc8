//! A delivery that is handed out again after it succeeded is not posted again; one that did not succeed is.

use schemas::Delivery;
use serde_json::json;

use super::{
    fixture::{FAST, Fixture, delivery, message},
    scripted::{Scripted, answer},
};

const CLOSE: &str = "connection: close\r\n";

#[tokio::test]
async fn a_delivery_that_comes_again_after_its_2xx_is_settled_without_a_post() {
    let mut receiver = Scripted::answering(200).await;
    let mut fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url()}]));
    fixture.publish(&message(&delivery("e1"))).await;
    receiver.request().await;
    fixture.empty(FAST).await;
    let before = fixture.metrics.deduplicated.get();
    // A retry that was forked before counts too, and so does one whose endpoint has been disabled since.
    fixture.set_endpoints(&json!([{"id": "crm", "url": receiver.url(), "state": "disabled"}]));
    for attempt in [1, 2] {
        fixture.publish(&message(&Delivery { attempt, ..delivery("e1") })).await;
        fixture.empty(FAST).await;
    }
    assert!(fixture.metrics.deduplicated.get() >= before + 2);
    assert_eq!(receiver.connections(), 1);
    assert!(fixture.nothing_published(), "no dead letter for what was delivered");
}

#[tokio::test]
async fn a_delivery_whose_attempt_failed_is_posted_when_it_comes_again() {
    let mut receiver = Scripted::new(vec![answer(503, CLOSE, ""), answer(200, CLOSE, "")]).await;
    let mut fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url()}]));
    fixture.publish(&message(&delivery("e1"))).await;
    receiver.request().await;
    let (_, retry) = fixture.retry().await;
    fixture.publish(&retry).await;
    receiver.request().await;
    fixture.empty(FAST).await;
}

#[tokio::test]
async fn a_replay_of_a_delivery_that_succeeded_is_posted() {
    let mut receiver = Scripted::answering(200).await;
    let fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url()}]));
    for replay in [None, Some("r1"), Some("r2")] {
        fixture.publish(&message(&Delivery { replay: replay.map(Into::into), ..delivery("e1") })).await;
        receiver.request().await;
        fixture.empty(FAST).await;
    }
    assert_eq!(receiver.connections(), 3);
}
