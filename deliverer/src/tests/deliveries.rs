//! What follows from an attempt: done, or a retry. A delivery that succeeded is not posted again.

use std::{sync::Arc, time::Duration};

use broker::{Due, Lane, Target};
use schemas::{Delivery, Message, OutcomeClass, time::rfc3339};
use serde_json::json;
use store::{ItemKind, ItemVersion, Snapshot, Store as _, TenantSnapshot};
use tokio::sync::watch;

use super::{
    config,
    fixture::{BODY, FAST, Fixture, SLOW, START, delivery, eventually, message, read},
    scripted::{Act, Scripted, answer},
};
use crate::DelivererConfig;

#[tokio::test]
async fn a_delivery_answered_2xx_is_done() {
    let mut receiver = Scripted::answering(204).await;
    let mut fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url()}]));
    fixture.publish(&message(&delivery("e1"))).await;
    receiver.request().await;
    fixture.empty(FAST).await;
    assert!(fixture.nothing_published());
    assert_eq!(fixture.metrics.attempts.with_label_values(&["2xx", "fast"]).get(), 1);
}

#[tokio::test]
async fn a_delivery_answered_503_is_tried_again_after_its_due_time() {
    let receiver = Scripted::new(vec![answer(503, "connection: close\r\n", "down for repair")]).await;
    let mut fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url()}]));
    fixture.publish(&message(&delivery("e1"))).await;
    let (due, retry) = fixture.retry().await;
    let now = (fixture.clock)();
    assert!(!due.exact);
    assert!((START + 4_000..=now + 6_000).contains(&due.at), "5 s give or take a fifth: {}", due.at - START);
    let next = read(&retry);
    let last = next.last.clone().expect("a last attempt");
    assert_eq!((next.attempt, next.accepted_at, next.id), (2, START, delivery("e1").id));
    assert!((START..=now).contains(&next.first_at.unwrap()));
    assert_eq!((last.number, last.outcome, last.status), (1, OutcomeClass::ServerError, Some(503)));
    assert_eq!((last.next_due, last.response_excerpt), (Some(rfc3339(due.at)), None), "headers are short");
    assert_eq!(retry.body, BODY);
    fixture.empty(FAST).await;
    assert_eq!(fixture.memory.depth(SLOW), 1);
}

#[tokio::test]
async fn retry_after_is_honoured_exactly_in_both_forms() {
    let date = jiff::Timestamp::from_millisecond(i64::try_from(START).unwrap() + 600_000).unwrap();
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&date).unwrap();
    for asked in ["600", &date] {
        let receiver = Scripted::new(vec![answer(429, &format!("retry-after: {asked}\r\n"), "")]).await;
        let mut fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url()}]));
        fixture.publish(&message(&delivery("e1"))).await;
        let (Due { at, exact }, _) = fixture.retry().await;
        // A date has whole seconds, and the wait until then is shorter by the duration of the attempt.
        assert!((START + 599_000..START + 610_000).contains(&at), "{asked}: {}", at - START);
        assert!(exact);
    }
}

#[tokio::test]
async fn an_endpoints_own_schedule_replaces_the_default() {
    let receiver = Scripted::answering(500).await;
    let retry = json!({"schedule": ["1h"], "max_age": "72h"});
    let mut fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url(), "retry": retry}]));
    fixture.publish(&message(&delivery("e1"))).await;
    let (due, _) = fixture.retry().await;
    assert!((START + 3_600_000..START + 3_610_000).contains(&due.at), "{}", due.at - START);
}

#[tokio::test]
async fn a_retry_whose_confirm_got_lost_is_published_again_before_the_first_is_settled() {
    let receiver = Scripted::answering(503).await;
    let mut fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url()}]));
    // Publish 1 is the delivery itself.
    fixture.memory.lose_confirm(2);
    fixture.memory.nack_confirm(3);
    fixture.publish(&message(&delivery("e1"))).await;
    let (_, lost) = fixture.retry().await;
    assert_eq!(fixture.memory.depth(FAST), 1, "not settled");
    let (_, nacked) = fixture.retry().await;
    let (_, confirmed) = fixture.retry().await;
    fixture.empty(FAST).await;
    assert_eq!((&lost, &nacked), (&nacked, &confirmed));
    assert_eq!(fixture.memory.depth(SLOW), 2, "twice rather than never");
    assert_eq!(receiver.connections(), 1, "the POST is not repeated");
}

#[tokio::test]
async fn a_stopped_deliverer_finishes_what_is_under_way_and_gives_back_what_is_unread() {
    let (go, signal) = watch::channel(false);
    let mut script = answer(200, "connection: close\r\n", "");
    script.insert(1, Act::Wait(signal));
    let receiver = Scripted::new(vec![script]).await;
    let endpoint = json!([{"id": "crm", "url": receiver.url()}]);
    let config = DelivererConfig {
        slots: 3,
        slow_slots: 1,
        first_byte_timeout: schemas::Span(Duration::from_secs(10)),
        ..config()
    };
    let fixture = Fixture::with(&endpoint, &config);
    for n in 0..30 {
        fixture.publish(&message(&delivery(&format!("e{n}")))).await;
    }
    eventually(|| receiver.connections() >= 3).await;
    fixture.ask_to_stop();
    go.send_replace(true);
    let memory = fixture.stopped().await;
    let left = memory.depth(FAST) + memory.depth(SLOW);
    assert_eq!(left, 30 - receiver.connections());
    assert!(left >= 18, "six of each lane may have been in hand, and nothing new was begun: {left}");
}

#[tokio::test]
async fn retries_do_not_wait_behind_first_attempts_nor_these_behind_them() {
    let black_hole = Scripted::new(vec![vec![Act::Listen, Act::Hang]]).await;
    let mut receiver = Scripted::answering(200).await;
    let endpoints =
        json!([{"id": "crm", "url": receiver.url()}, {"id": "dead", "url": black_hole.url(), "timeout": "10s"}]);
    let slow = DelivererConfig {
        slots: 3,
        slow_slots: 1,
        first_byte_timeout: schemas::Span(Duration::from_secs(10)),
        ..config()
    };
    let fixture = Fixture::with(&endpoints, &slow);
    let dead = schemas::Delivery { endpoint_id: "dead".into(), attempt: 2, ..delivery("e0") };
    for _ in 0..5 {
        let target = Target::Lane(Lane::Slow, None);
        broker::Broker::publish(&fixture.memory, &target, &message(&dead)).await.unwrap();
    }
    eventually(|| black_hole.connections() == 1).await;
    fixture.publish(&message(&delivery("e1"))).await;
    assert_eq!(receiver.request().await.header("webhook-id"), Some("e1"));
}

#[tokio::test]
async fn bodies_beyond_the_budget_wait_for_their_turn() {
    let (go, signal) = watch::channel(false);
    let mut script = answer(200, "connection: close\r\n", "");
    script.insert(1, Act::Wait(signal));
    let mut receiver = Scripted::new(vec![script]).await;
    let tight = DelivererConfig {
        max_in_flight_bytes: u32::try_from(BODY.len()).unwrap() + 1,
        first_byte_timeout: schemas::Span(Duration::from_secs(10)),
        ..config()
    };
    let fixture = Fixture::with(&json!([{"id": "crm", "url": receiver.url()}]), &tight);
    for n in 0..3 {
        fixture.publish(&message(&delivery(&format!("e{n}")))).await;
    }
    receiver.request().await;
    assert_eq!(receiver.connections(), 1);
    go.send_replace(true);
    fixture.empty(FAST).await;
    assert!(receiver.connections() >= 3);
}

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
async fn another_body_under_the_id_of_a_delivered_one_is_posted() {
    let mut receiver = Scripted::answering(200).await;
    let fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url()}]));
    for body in [r#"{"type":"a.b"}"#, r#"{"type":"a.c"}"#] {
        fixture.publish(&Message { body: body.into(), ..message(&delivery("e1")) }).await;
        assert_eq!(receiver.request().await.body, body.as_bytes());
        fixture.empty(FAST).await;
    }
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test]
async fn a_delivery_of_a_tenant_made_anew_is_no_repeat_of_the_former_ones() {
    let mut receiver = Scripted::answering(200).await;
    let fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url()}]));
    for created in [2, 7] {
        let mut tenant = TenantSnapshot::clone(fixture.store.snapshot().unwrap().tenant("acme").unwrap());
        tenant.versions.set(ItemKind::Tenant, "acme", ItemVersion { changed: created, created });
        fixture.store.set_snapshot(Snapshot::new(created, [Arc::new(tenant)]));
        fixture.publish(&message(&Delivery { revision: created, ..delivery("e1") })).await;
        receiver.request().await;
        fixture.empty(FAST).await;
    }
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test]
async fn a_delivery_whose_attempt_failed_is_posted_when_it_comes_again() {
    let mut receiver =
        Scripted::new(vec![answer(503, "connection: close\r\n", ""), answer(200, "connection: close\r\n", "")]).await;
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
