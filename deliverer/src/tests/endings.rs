//! Deliveries that end without a 2xx: each leaves a dead letter that says why.

use schemas::{DeadReason, Delivery, OutcomeClass};
use serde_json::json;

use super::{
    fixture::{BODY, FAST, Fixture, START, delivery, message, read},
    scripted::{Act, Scripted, answer},
};

#[tokio::test]
async fn a_delivery_without_a_further_step_is_exhausted() {
    let receiver = Scripted::new(vec![answer(500, "connection: close\r\n", "no luck")]).await;
    let retry = json!({"schedule": ["5s", "30s"], "max_age": "72h"});
    let mut fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url(), "retry": retry}]));
    fixture.publish(&message(&Delivery { attempt: 3, ..delivery("e1") })).await;
    let (record, carrier) = fixture.dead_letter().await;
    let last = record.last.expect("a last attempt");
    assert_eq!((record.reason, record.attempts), (DeadReason::Exhausted, 3));
    assert_eq!((record.tenant.as_str(), record.endpoint_id.as_str(), record.event_id.as_str()), ("acme", "crm", "e1"));
    assert_eq!((record.delivery_id, record.event_type.as_str()), (delivery("e1").id, "message.received"));
    assert_eq!((last.number, last.outcome, last.status), (3, OutcomeClass::ServerError, Some(500)));
    assert_eq!((last.response_excerpt.as_deref(), last.next_due), (Some("no luck"), None));
    assert_eq!((read(&carrier).id, carrier.body), (delivery("e1").id, BODY.into()));
    fixture.empty(FAST).await;
    assert_eq!(fixture.metrics.dead_letters.with_label_values(&["exhausted"]).get(), 1);
}

#[tokio::test]
async fn a_delivery_whose_next_attempt_would_be_too_late_has_expired_but_had_one() {
    let mut receiver = Scripted::answering(500).await;
    let mut fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url()}]));
    fixture.publish(&message(&Delivery { accepted_at: START - 100 * 3_600_000, ..delivery("e1") })).await;
    let (record, _) = fixture.dead_letter().await;
    assert_eq!((record.reason, record.attempts), (DeadReason::Expired, 1));
    receiver.request().await;
}

#[tokio::test]
async fn a_record_stays_small_whatever_a_receiver_answers() {
    let nasty = "\u{0}\u{1b}\"\\\u{7f}".repeat(2_000);
    let headers = format!("connection: close\r\ncontent-length: {}\r\n\r\n", nasty.len());
    let script = vec![Act::Listen, Act::say(format!("HTTP/1.1 410 Gone\r\n{headers}{nasty}"))];
    let receiver = Scripted::new(vec![script]).await;
    let mut fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url()}]));
    fixture.publish(&message(&delivery("e1"))).await;
    let (record, _) = fixture.dead_letter().await;
    let excerpt = record.last.unwrap().response_excerpt.unwrap();
    assert!((3_000..=4_096).contains(&excerpt.len()), "{}", excerpt.len());
}

#[tokio::test]
async fn an_endpoint_that_is_gone_gets_no_request_until_it_is_changed() {
    let mut receiver =
        Scripted::new(vec![answer(410, "connection: close\r\n", ""), answer(200, "connection: close\r\n", "")]).await;
    let other = json!({"id": "other", "url": receiver.url()});
    let mut fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url()}, other]));
    fixture.publish(&message(&delivery("e1"))).await;
    let (record, _) = fixture.dead_letter().await;
    assert_eq!((record.reason, record.attempts), (DeadReason::Permanent, 1));
    receiver.request().await;

    for (neighbour, event) in [(other.clone(), "e2"), (json!({"id": "other", "url": "http://127.0.0.1:1"}), "e3")] {
        fixture.set_endpoints(&json!([{"id": "crm", "url": receiver.url()}, neighbour]));
        fixture.publish(&message(&delivery(event))).await;
        let (record, carrier) = fixture.dead_letter().await;
        assert_eq!((record.reason, record.attempts), (DeadReason::EndpointDisabled, 0), "{event}");
        assert_eq!((record.last, carrier.body), (None, BODY.into()));
    }
    assert_eq!(receiver.connections(), 1);

    fixture.set_endpoints(&json!([{"id": "crm", "url": receiver.url(), "name": "changed"}, other]));
    fixture.publish(&message(&delivery("e4"))).await;
    assert_eq!(receiver.request().await.header("webhook-id"), Some("e4"));
}

#[tokio::test]
async fn a_redirect_and_a_refusal_are_tried_for_a_day_only() {
    for status in [302, 404] {
        let receiver = Scripted::answering(status).await;
        let mut fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url()}]));
        fixture.publish(&message(&Delivery { accepted_at: START - 25 * 3_600_000, ..delivery("e1") })).await;
        assert_eq!(fixture.dead_letter().await.0.reason, DeadReason::Expired, "{status}");
    }
}
