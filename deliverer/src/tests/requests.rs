//! The request an endpoint gets.

use schemas::{Part, time::rfc3339};
use serde_json::json;

use super::{
    scripted::{Scripted, answer},
    world::{BODY, FAST, START, World, delivery, message, read},
};

#[tokio::test]
async fn a_request_says_what_the_contract_says_and_nothing_else() {
    let mut receiver = Scripted::answering(200).await;
    let world = World::of(&json!([{"id": "crm", "url": receiver.url(), "n8n_api_key": "raw key",
        "headers": {"x-mine": "a b", "Authorization": {"secret": "Basic eDp5"}}}]));
    let delivery = delivery("e1");
    world.publish(&message(&delivery)).await;
    let request = receiver.request().await;
    world.empty(FAST).await;
    assert_eq!(request.line, "POST /hooks HTTP/1.1");
    assert_eq!(request.body, BODY.as_bytes());
    let mut headers = request.headers.clone();
    headers.sort();
    let timestamp = request.header("webhook-timestamp").unwrap().parse::<u64>().unwrap();
    assert!((START / 1_000..START / 1_000 + 60).contains(&timestamp), "{timestamp}");
    let (host, length, id) = (receiver.address.to_string(), BODY.len().to_string(), delivery.id.to_string());
    let (event_time, timestamp) = (rfc3339(START - 500), timestamp.to_string());
    let expected = [
        ("accept", "*/*"),
        ("authorization", "Basic eDp5"),
        ("carteiro-attempt", "1"),
        ("carteiro-delivery-id", &id),
        ("carteiro-event-time", &event_time),
        ("carteiro-event-type", "message.received"),
        ("content-length", &length),
        ("content-type", "application/json"),
        ("host", &host),
        ("user-agent", concat!("carteiro/", env!("CARGO_PKG_VERSION"))),
        ("webhook-id", "e1"),
        ("webhook-timestamp", &timestamp),
        ("x-mine", "a b"),
        ("x-n8n-api-key", "raw key"),
    ];
    assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[tokio::test]
async fn every_attempt_sends_the_same_bytes_under_the_same_id() {
    let mut receiver = Scripted::new(vec![answer(503, "connection: close\r\n", ""), answer(200, "", "")]).await;
    let mut world = World::of(&json!([{"id": "crm", "url": receiver.url()}]));
    world.publish(&message(&schemas::Delivery { part: Part::Shot, ..delivery("e1") })).await;
    let first = receiver.request().await;
    let (_, retry) = world.retry().await;
    // Now, and not only when it is due.
    world.publish(&retry).await;
    let second = receiver.request().await;
    assert_eq!(read(&retry).attempt, 2);
    assert_eq!((first.header("carteiro-attempt"), second.header("carteiro-attempt")), (Some("1"), Some("2")));
    assert_eq!((first.header("webhook-id"), second.header("webhook-id")), (Some("e1_shot"), Some("e1_shot")));
    assert_eq!(first.header("carteiro-delivery-id"), second.header("carteiro-delivery-id"));
    assert_eq!(first.body, second.body);
}

#[tokio::test]
async fn a_changed_endpoint_applies_to_what_is_already_queued() {
    let mut before = Scripted::answering(503).await;
    let mut after = Scripted::answering(200).await;
    let mut world = World::of(&json!([{"id": "crm", "url": before.url(), "n8n_api_key": "old"}]));
    world.publish(&message(&delivery("e1"))).await;
    assert_eq!(before.request().await.header("x-n8n-api-key"), Some("old"));
    let (_, retry) = world.retry().await;
    world.shelf.set(&json!([{"id": "crm", "url": after.url(), "n8n_api_key": "new"}]));
    world.publish(&retry).await;
    assert_eq!(after.request().await.header("x-n8n-api-key"), Some("new"));
}
