//! The request that an endpoint gets.

use schemas::{
    OutcomeClass, Part,
    signature::{Signature, SigningKey, VerifyingKey, check},
    time::rfc3339,
};
use serde_json::json;

use super::{
    fixture::{BODY, FAST, Fixture, START, delivery, message, read},
    scripted::{Request, Scripted, answer},
};

#[tokio::test]
async fn a_request_says_what_the_contract_says_and_nothing_else() {
    let mut receiver = Scripted::answering(200).await;
    let fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url(), "n8n_api_key": "raw key",
        "headers": {"x-mine": "a b", "Authorization": {"secret": "Basic eDp5"}}}]));
    let delivery = delivery("e1");
    fixture.publish(&message(&delivery)).await;
    let request = receiver.request().await;
    fixture.empty(FAST).await;
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
        ("carteiro-hops", "1"),
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
    let mut fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url()}]));
    fixture.publish(&message(&schemas::Delivery { part: Part::Shot, hops: 2, ..delivery("e1") })).await;
    let first = receiver.request().await;
    let (_, retry) = fixture.retry().await;
    // The retry is published at once, and not only when it is due.
    fixture.publish(&retry).await;
    let second = receiver.request().await;
    assert_eq!(read(&retry).attempt, 2);
    assert_eq!((first.header("carteiro-attempt"), second.header("carteiro-attempt")), (Some("1"), Some("2")));
    assert_eq!((first.header("carteiro-hops"), second.header("carteiro-hops")), (Some("3"), Some("3")));
    assert_eq!((first.header("webhook-id"), second.header("webhook-id")), (Some("e1_shot"), Some("e1_shot")));
    assert_eq!(first.header("carteiro-delivery-id"), second.header("carteiro-delivery-id"));
    assert_eq!(first.body, second.body);
}

#[tokio::test]
async fn a_changed_endpoint_applies_to_what_is_already_queued() {
    let mut before = Scripted::answering(503).await;
    let mut after = Scripted::answering(200).await;
    let mut fixture = Fixture::of(&json!([{"id": "crm", "url": before.url(), "n8n_api_key": "old"}]));
    fixture.publish(&message(&delivery("e1"))).await;
    assert_eq!(before.request().await.header("x-n8n-api-key"), Some("old"));
    let (_, retry) = fixture.retry().await;
    fixture.set_endpoints(&json!([{"id": "crm", "url": after.url(), "n8n_api_key": "new"}]));
    fixture.publish(&retry).await;
    assert_eq!(after.request().await.header("x-n8n-api-key"), Some("new"));
}

/// True when a receiver with these keys trusts a request.
fn is_trusted(request: &Request, keys: &[&str]) -> bool {
    let keys: Vec<_> = keys.iter().map(|key| VerifyingKey::parse(key).unwrap()).collect();
    check(&keys, |name| request.header(name), &request.body, START / 1_000).is_ok()
}

#[tokio::test]
async fn every_attempt_is_signed_with_every_secret_and_its_own_time() {
    let mut receiver = Scripted::answering(503).await;
    let secrets = [1, 2].map(|seed| SigningKey::write(Signature::V1, [seed; 32]));
    let mut fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url(), "secrets": secrets}]));
    fixture.publish(&message(&delivery("e1"))).await;
    let first = receiver.request().await;
    let (_, retry) = fixture.retry().await;
    fixture.publish(&retry).await;
    for request in [first, receiver.request().await] {
        for secret in &secrets {
            assert!(is_trusted(&request, &[secret]), "{request:?}");
        }
        assert!(!is_trusted(&request, &[&SigningKey::write(Signature::V1, [3; 32])]));
        let changed = Request { body: b"{}".to_vec(), ..request };
        assert!(!is_trusted(&changed, &[&secrets[0]]), "only the bytes that were sent are signed");
    }
}

#[tokio::test]
async fn a_v1a_signature_is_verified_by_the_public_key() {
    let mut receiver = Scripted::answering(200).await;
    let private = SigningKey::write(Signature::V1a, [7; 32]);
    let endpoint = json!({"id": "crm", "url": receiver.url(), "signature": "v1a", "secrets": [private]});
    let fixture = Fixture::of(&json!([endpoint]));
    fixture.publish(&message(&delivery("e1"))).await;
    let public = SigningKey::parse(&private).unwrap().public().unwrap();
    assert!(is_trusted(&receiver.request().await, &[&public]));
}

#[tokio::test]
async fn a_secret_that_cannot_be_used_sends_nothing_and_says_so() {
    let receiver = Scripted::answering(200).await;
    let mut fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url(), "secrets": ["whsec_S3CRET"]}]));
    fixture.publish(&message(&delivery("e1"))).await;
    let (_, retry) = fixture.retry().await;
    let last = read(&retry).last.unwrap();
    assert_eq!((last.outcome, receiver.connections()), (OutcomeClass::Malformed, 0));
}
