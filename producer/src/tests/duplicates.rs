//! An event that is sent again after it was confirmed is not published again; one that was not confirmed is. Another
//! event under its id is refused.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use schemas::Strictness;
use serde_json::json;
use store::{ItemKind, ItemVersion, Snapshot, Store as _, TenantSnapshot};

use super::fixture::{EVENTS, TestIntake, request};
use crate::EventOrigin;

const EVENT: &[u8] = br#"{"type":"a.b","id":"E-1"}"#;
/// Another event with the same id.
const OTHER: &[u8] = br#"{"type":"a.c","id":"E-1"}"#;

#[tokio::test]
async fn an_event_sent_again_is_answered_as_repeated_and_not_published_again() {
    let intake = TestIntake::new();
    let first = intake.post(EVENTS, EVENT).await;
    assert_eq!((first.status, first.body), (202, json!({"accepted": [{"id": "E-1"}]})));
    for _ in 0..2 {
        let answer = intake.post(EVENTS, EVENT).await;
        assert_eq!((answer.status, answer.body), (202, json!({"accepted": [{"id": "E-1", "repeated": true}]})));
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
    assert_eq!(answer.body, json!({"accepted": [{"id": "E-1"}, {"id": "E-2", "repeated": true}, {"id": "E-3"}]}));
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
async fn another_event_under_an_accepted_id_is_refused_with_its_place() {
    let intake = TestIntake::new();
    intake.post(EVENTS, EVENT).await;
    let answer = intake.post(EVENTS, OTHER).await;
    assert_eq!((answer.code(), answer.pointers()), ((409, "event_id_taken"), vec!["/id"]));
    assert_eq!(
        answer.body["detail"],
        "1 of 1 events have the id of another event, which was accepted or is about to be; nothing was published"
    );
    assert!(intake.counts("carteiro_events_refused_total{code=\"event_id_taken\"} 1"));
    assert_eq!(intake.post(EVENTS, EVENT).await.status, 202, "the first one's repeat");
    assert_eq!(intake.published().await.len(), 1);
}

#[tokio::test]
async fn a_batch_with_the_id_of_another_event_is_refused_as_a_whole_and_leaves_its_ids_free() {
    let intake = TestIntake::new();
    intake.post(EVENTS, EVENT).await;
    let batch = r#"{"events":[{"type":"a.b","id":"E-2"},{"type":"a.c","id":"E-1"},{"type":"a.b","id":"E-3"}]}"#;
    let answer = intake.post(EVENTS, batch).await;
    assert_eq!((answer.code(), answer.pointers()), ((409, "event_id_taken"), vec!["/events/1/id"]));
    assert_eq!(intake.post(EVENTS, r#"{"type":"a.d","id":"E-2"}"#).await.status, 202, "it was accepted for nobody");
    let kinds: Vec<_> = intake.published().await.iter().map(|incoming| incoming.message.kind.clone()).collect();
    assert_eq!(kinds, ["a.b", "a.d"]);
}

#[tokio::test]
async fn two_events_of_a_batch_may_have_one_id_only_if_they_are_the_same() {
    let intake = TestIntake::new();
    let answer = intake.post(EVENTS, r#"{"events":[{"type":"a.b","id":"E-1"},{"type":"a.c","id":"E-1"}]}"#).await;
    assert_eq!((answer.code(), answer.pointers()), ((409, "event_id_taken"), vec!["/events/1/id"]));
    assert!(intake.nothing_published());
    let answer = intake.post(EVENTS, r#"{"events":[{"type":"a.b","id":"E-1"}, {"type":"a.b","id":"E-1"} ]}"#).await;
    assert_eq!(answer.status, 202);
    assert_eq!(intake.post(EVENTS, r#"{"type":"a.c","id":"E-1"}"#).await.status, 409);
}

#[tokio::test]
async fn the_same_event_alone_and_in_a_batch_is_a_repeat() {
    let intake = TestIntake::new();
    assert_eq!(intake.post(EVENTS, " {\"type\":\"a.b\",\"id\":\"E-1\"}\n").await.status, 202);
    let answer = intake.post(EVENTS, r#"{"events":[ {"type":"a.b","id":"E-1"} ]}"#).await;
    assert_eq!(answer.body, json!({"accepted": [{"id": "E-1", "repeated": true}]}));
}

#[tokio::test]
async fn a_batch_that_was_accepted_in_part_can_be_sent_again() {
    let intake = TestIntake::new();
    let batch = r#"{"events":[{"type":"a.b","id":"E-1"},{"type":"a.b","id":"E-2"},{"type":"a.b","id":"E-3"}]}"#;
    intake.broker.nack_confirm(2);
    assert_eq!(intake.post(EVENTS, batch).await.status, 503);
    let answer = intake.post(EVENTS, batch).await;
    let expected = json!([{"id": "E-1", "repeated": true}, {"id": "E-2"}, {"id": "E-3", "repeated": true}]);
    assert_eq!((answer.status, &answer.body["accepted"]), (202, &expected));
    assert_eq!(intake.published().await.len(), 3);
}

#[tokio::test]
async fn an_id_whose_event_was_not_confirmed_is_free_for_any_event() {
    let intake = TestIntake::new();
    intake.broker.nack_confirm(1);
    assert_eq!(intake.post(EVENTS, EVENT).await.status, 503);
    assert_eq!(intake.post(EVENTS, OTHER).await.status, 202);
    assert_eq!(intake.post(EVENTS, EVENT).await.code(), (409, "event_id_taken"));
    assert_eq!(intake.published().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn of_two_events_that_come_at_once_under_one_id_only_one_is_accepted() {
    let intake = TestIntake::new();
    intake.broker.delay_confirms(Duration::from_secs(1));
    let (first, other, repeat) =
        tokio::join!(intake.post(EVENTS, EVENT), intake.post(EVENTS, OTHER), intake.post(EVENTS, EVENT));
    assert_eq!((first.status, other.code(), repeat.status), (202, (409, "event_id_taken"), 202));
    assert!(intake.published().await.iter().all(|incoming| incoming.message.body == EVENT));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_ends_before_its_confirm_leaves_its_id_free() {
    let intake = TestIntake::new();
    intake.broker.delay_confirms(Duration::from_secs(10));
    let gone = tokio::time::timeout(Duration::from_secs(1), intake.post(EVENTS, EVENT)).await;
    assert!(gone.is_err(), "the sender is gone");
    assert_eq!(intake.post(EVENTS, OTHER).await.status, 202);
}

#[tokio::test(start_paused = true)]
async fn after_its_window_an_id_is_free_for_any_event() {
    let intake = TestIntake::new();
    intake.post(EVENTS, EVENT).await;
    tokio::time::advance(Duration::from_secs(599)).await;
    assert_eq!(intake.post(EVENTS, OTHER).await.status, 409);
    tokio::time::advance(Duration::from_secs(1_800)).await;
    assert_eq!(intake.post(EVENTS, OTHER).await.status, 202);
    assert_eq!(intake.published().await.len(), 2);
}

#[tokio::test]
async fn another_tenants_event_of_the_same_id_is_another_event() {
    let intake = TestIntake::new();
    for tenant in ["acme", "other"] {
        intake
            .producer
            .publish(tenant, Bytes::from_static(EVENT), &EventOrigin::default(), Strictness::Lenient)
            .await
            .unwrap();
    }
    assert_eq!(intake.published().await.len(), 2);
}

#[tokio::test]
async fn an_event_of_a_tenant_made_anew_is_no_repeat_of_the_former_ones() {
    const VENDOR: &str = r#"{"event":"test","timestamp":"2025-07-18T17:30:22.114Z"}"#;
    let intake = TestIntake::new();
    let vendor = async || intake.send(request("/v1/in/t-main"), VENDOR).await;
    assert_eq!((intake.post(EVENTS, EVENT).await.status, vendor().await.status), (202, 202));
    let mut anew = TenantSnapshot::clone(intake.store.snapshot().unwrap().tenant("acme").unwrap());
    anew.versions.set(ItemKind::Tenant, "acme", ItemVersion { changed: 7, created: 7 });
    intake.store.set_snapshot(Snapshot::new(9, [Arc::new(anew)]));
    for repeated in [false, true] {
        for answer in [intake.post(EVENTS, EVENT).await, vendor().await] {
            let is_repeat = answer.body.to_string().contains(r#""repeated":true"#);
            assert_eq!((answer.status, is_repeat), (202, repeated), "{}", answer.body);
        }
    }
    assert_eq!(intake.published().await.len(), 4);
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
