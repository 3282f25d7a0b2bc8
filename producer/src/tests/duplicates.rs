//! An event that is sent again after it was confirmed is not published again; one that was not confirmed is.

use std::time::Duration;

use bytes::Bytes;
use schemas::TraceContext;
use serde_json::json;

use super::fixture::{EVENTS, TestIntake};

const EVENT: &[u8] = br#"{"type":"a.b","id":"E-1"}"#;

#[tokio::test]
async fn an_event_sent_again_is_answered_like_the_first_and_not_published_again() {
    let intake = TestIntake::new();
    for _ in 0..3 {
        let answer = intake.post(EVENTS, EVENT).await;
        assert_eq!((answer.status, answer.body), (202, json!({"accepted": [{"id": "E-1"}]})));
    }
    assert_eq!(intake.published().await.len(), 1);
    assert!(intake.counts("carteiro_events_deduplicated_total{scope=\"intake\"} 2"));
    assert!(intake.counts("carteiro_events_received_total{source=\"canonical\"} 1"));
}

#[tokio::test]
async fn a_batch_with_repeats_is_answered_in_its_order_and_publishes_the_rest() {
    let intake = TestIntake::new();
    intake.post(EVENTS, r#"{"events":[{"type":"a.b","id":"E-2"}]}"#).await;
    let batch = r#"{"events":[{"type":"a.b","id":"E-1"},{"type":"a.b","id":"E-2"},{"type":"a.b","id":"E-3"}]}"#;
    let answer = intake.post(EVENTS, batch).await;
    assert_eq!(answer.body, json!({"accepted": [{"id": "E-1"}, {"id": "E-2"}, {"id": "E-3"}]}));
    let ids: Vec<_> = intake.published().await.iter().map(|incoming| incoming.message.id.clone()).collect();
    assert_eq!(ids, ["E-2", "E-1", "E-3"]);
}

#[tokio::test]
async fn an_unconfirmed_event_is_published_when_it_is_sent_again() {
    let intake = TestIntake::new();
    intake.broker.nack_confirm(1);
    intake.broker.lose_confirm(2);
    assert_eq!(intake.post(EVENTS, EVENT).await.status, 503, "refused");
    assert_eq!(intake.post(EVENTS, EVENT).await.status, 503, "taken, for all anybody knows");
    assert_eq!(intake.post(EVENTS, EVENT).await.status, 202);
    assert_eq!(intake.published().await.len(), 2, "twice rather than never");
}

#[tokio::test]
async fn another_tenants_event_of_the_same_id_is_another_event() {
    let intake = TestIntake::new();
    for tenant in ["acme", "other"] {
        intake.producer.publish(tenant, Bytes::from_static(EVENT), &TraceContext::default()).await.unwrap();
    }
    assert_eq!(intake.published().await.len(), 2);
}

#[tokio::test]
async fn events_without_an_id_are_all_published_and_so_are_repeats_if_none_are_remembered() {
    let intake = TestIntake::new();
    for _ in 0..2 {
        assert_eq!(intake.post(EVENTS, r#"{"type":"a.b"}"#).await.status, 202);
    }
    assert_eq!(intake.published().await.len(), 2);
    let intake =
        TestIntake::with(|config| config.duplicates = service::SeenConfig { ids: 0, window: Duration::from_secs(9) });
    for _ in 0..2 {
        assert_eq!(intake.post(EVENTS, EVENT).await.status, 202);
    }
    assert_eq!(intake.published().await.len(), 2);
}
