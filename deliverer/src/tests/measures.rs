//! The measurements of deliveries: how late they are, and the states of their endpoints.

use std::{sync::Arc, time::Duration};

use broker::{Broker as _, Due, Lane, SessionEnd, Target};
use bytes::Bytes;
use history::Recorder;
use schemas::{Attempt, Delivery, Notice, OutcomeClass, time::rfc3339};
use serde_json::json;
use store::Outbox;
use tokio::time::sleep;

use super::{
    fixture::{Fixture, START, delivery, eventually, message},
    scripted::{Scripted, answer},
};
use crate::{
    DelivererMetrics,
    consume::{ConsumedDelivery, Path},
    report::Reporter,
};

const DUE: u64 = START + 5_000;

/// A retry whose schedule made it due at `due`.
fn retry(due: u64) -> Delivery {
    let last = Attempt {
        number: 1,
        at: rfc3339(START),
        outcome: OutcomeClass::ServerError,
        status: Some(503),
        duration_ms: 7,
        response_excerpt: None,
        next_due: Some(rfc3339(due)),
    };
    Delivery { attempt: 2, due: Some(due), first_at: Some(START), last: Some(last), ..delivery("e1") }
}

#[test]
fn lateness_counts_from_the_time_that_was_waited_for() {
    let first = delivery("e1");
    let deferred = Delivery { deferrals: 1, due: Some(DUE), ..delivery("e1") };
    let of_event_put_aside = Delivery { deferrals: 1, ..delivery("e1") };
    let retry_deferred = Delivery { deferrals: 1, due: Some(DUE), ..retry(START + 2_000) };
    let retry_after_a_deferral = Delivery { deferrals: 1, ..retry(DUE) };
    for (delivery, kind, late, is_first) in [
        (first, "first", 5.5, true),
        (deferred, "deferred", 0.5, true),
        (of_event_put_aside, "none", 0.0, true),
        (retry(DUE), "retry", 0.5, false),
        (retry_deferred, "deferred", 0.5, false),
        (retry_after_a_deferral, "retry", 0.5, false),
    ] {
        let metrics = DelivererMetrics::register(&Default::default()).unwrap();
        let reporter = Reporter::new(metrics.clone(), Arc::new(Outbox::new("p")), Recorder::off());
        let consumed = ConsumedDelivery {
            delivery,
            body: Bytes::new(),
            path: Path::Lane(Lane::Slow),
            redelivered: false,
            session: SessionEnd::default(),
            tenant_created: 0,
        };
        reporter.attempt_begins(&consumed, DUE + 500);
        let delivery = consumed.delivery;
        for each in ["first", "retry", "deferred"] {
            let sum = metrics.lateness.with_label_values(&[each]).get_sample_sum();
            assert!((sum - if each == kind { late } else { 0.0 }).abs() < 1e-9, "{each} of {delivery:?}: {sum}");
        }
        let latency = metrics.delivery_latency.with_label_values(&["slow"]);
        assert_eq!(latency.get_sample_count(), u64::from(is_first), "{delivery:?}");
    }
}

#[tokio::test]
async fn first_attempts_successes_and_their_lateness_are_timed_by_lane() {
    let mut receiver = Scripted::new(vec![answer(503, "connection: close\r\n", ""), answer(200, "", "")]).await;
    let mut fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url()}]));
    fixture.publish(&message(&delivery("e1"))).await;
    receiver.request().await;
    let (_, retry) = fixture.retry().await;
    // The retry comes back as if it were due by now.
    let due = Due { at: (fixture.clock)(), exact: true };
    fixture.memory.publish(&Target::Lane(Lane::Slow, Some(due)), &retry).await.unwrap();
    receiver.request().await;
    let count = |metrics: &service::metrics::HistogramVec, labels: &[&str]| {
        metrics.with_label_values(labels).get_sample_count()
    };
    let metrics = &fixture.metrics;
    eventually(|| count(&metrics.delivery_success, &["slow"]) == 1).await;
    assert!(count(&metrics.attempt_duration, &["fast", "5xx"]) >= 1);
    assert!(count(&metrics.attempt_duration, &["slow", "2xx"]) >= 1);
    assert!(count(&metrics.delivery_latency, &["fast"]) >= 1 && count(&metrics.lateness, &["first"]) >= 1);
    assert!(count(&metrics.lateness, &["retry"]) >= 1);
    assert_eq!((count(&metrics.delivery_latency, &["slow"]), count(&metrics.lateness, &["deferred"])), (0, 0));
}

#[tokio::test]
async fn a_retry_that_is_made_twice_is_counted_as_forked() {
    let receiver = Scripted::answering(503).await;
    let fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url()}]));
    for _ in 0..2 {
        fixture.publish(&message(&Delivery { attempt: 2, ..delivery("e1") })).await;
    }
    eventually(|| fixture.metrics.retry_forks.get() >= 1).await;
}

#[tokio::test(start_paused = true)]
async fn the_disabled_and_paused_endpoints_of_the_snapshot_are_counted_as_they_change() {
    let endpoint = |id: &str, state: &str| json!({"id": id, "url": "https://crm.example/hooks", "state": state});
    let fixture = Fixture::of(&json!([endpoint("a", "disabled"), endpoint("b", "active"), endpoint("c", "disabled")]));
    let counted = |state| fixture.metrics.endpoints.with_label_values(&[state]).get();
    eventually(|| (counted("disabled"), counted("paused")) == (2, 0)).await;
    fixture.set_endpoints_at_revision(
        7,
        &json!([endpoint("a", "paused"), endpoint("b", "active"), endpoint("c", "disabled")]),
    );
    eventually(|| (counted("disabled"), counted("paused")) == (1, 1)).await;
}

#[tokio::test(start_paused = true)]
async fn deliverers_are_counted_on_while_the_broker_carries_no_announcements() {
    let fixture = Fixture::guarded(&json!([]));
    let counted = || fixture.metrics.deliverers.get();
    let announced = async || {
        fixture.memory.announce(
            Notice::Deliverer { process: "another".to_owned(), leaves: false, canaries: vec![], reads_packed: 0 }
                .write()
                .into(),
        );
        sleep(Duration::from_secs(1)).await;
    };
    sleep(Duration::from_secs(1)).await;
    announced().await;
    assert_eq!(counted(), 2);
    fixture.memory.block("alarm");
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(counted(), 2, "a limit stays divided");
    fixture.memory.unblock();
    announced().await;
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(counted(), 1, "the other has gone");
}
