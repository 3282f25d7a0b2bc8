//! Deliveries to an endpoint that is paused: they wait, without an attempt and without an end.

use std::time::Duration;

use broker::{Lane, Target};
use schemas::{DeadReason, Delivery, Finding, Notice, OutcomeClass};
use serde_json::{Value, json};
use tokio::{sync::watch, time::sleep};

use super::{
    fixture::{FAST, Fixture, SLOW, START, delivery, eventually, message, read},
    scripted::{Act, Scripted, answer},
};

const HOUR: u64 = 3_600_000;
/// Longer than any wait between two looks.
const A_WHILE: Duration = Duration::from_secs(600);
/// Longest wait, in ms, until an endpoint with few deliveries is looked at again.
const LONGEST_WAIT_MS: u64 = 120_000;

/// An endpoint with a forbidden address, so that attempts end at once and without a socket, beside one that is active.
fn endpoints(state: &str) -> Value {
    let url = "http://127.0.0.1:1/";
    json!([{"id": "crm", "url": url, "state": state, "max_backlog": 3}, {"id": "other", "url": url}])
}

impl Fixture {
    /// The next publish, which must be a deferral: its wait in ms, and the delivery.
    async fn deferral(&mut self) -> (u64, Delivery) {
        let (target, message) = self.published_within(A_WHILE).await;
        let Target::Lane(Lane::Slow, Some(due)) = target else { panic!("no deferral: {target:?}") };
        (due.at - (self.clock)(), read(&message))
    }

    /// The first dead letter after any number of deferrals: its reason, its attempts, and the outcome of the last of these.
    async fn end(&mut self) -> (DeadReason, u32, Option<OutcomeClass>) {
        loop {
            let (target, message) = self.published_within(A_WHILE).await;
            if matches!(target, Target::Log(..)) {
                let record = message.headers.text(schemas::wire::RECORD).expect("a record");
                let record: schemas::DeadLetter = serde_json::from_str(record).expect("a dead letter");
                return (record.reason, record.attempts, record.last.map(|last| last.outcome));
            }
        }
    }

    fn attempts(&self) -> u64 {
        let of = |path| self.metrics.attempts.with_label_values(&["blocked_ip", path]).get();
        of("fast") + of("slow")
    }

    fn deferrals(&self) -> u64 {
        self.metrics.deferrals.with_label_values(&["paused"]).get()
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_to_a_paused_endpoint_waits_longer_and_longer_and_is_attempted_once_the_endpoint_is_enabled() {
    let mut fixture = Fixture::calm(&endpoints("paused"));
    fixture.publish(&message(&delivery("e1"))).await;
    for (times, wait_ms) in [7_500, 15_000, 45_000, 120_000, 120_000].into_iter().enumerate() {
        let (waits_ms, deferred) = fixture.deferral().await;
        assert_eq!((waits_ms, deferred.found_paused as usize, deferred.attempt), (wait_ms, times + 1, 1));
    }
    let other = Delivery { endpoint_id: "other".into(), attempt: 11, ..delivery("e2") };
    fixture.publish(&message(&other)).await;
    assert_eq!(
        fixture.end().await,
        (DeadReason::Exhausted, 11, Some(OutcomeClass::BlockedIp)),
        "the other is posted to"
    );
    fixture.set_endpoints(&endpoints("active"));
    let (_, next) = fixture.deferral().await;
    assert_eq!((next.attempt, next.last.unwrap().outcome), (2, OutcomeClass::BlockedIp));
    assert_eq!((next.found_paused, next.deferrals), (0, 5), "the attempt was made");
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_grew_too_old_while_its_endpoint_was_paused_still_gets_an_attempt() {
    let endpoints = |state: &str| {
        let mut all = endpoints(state);
        all[0]["retry"] = json!({"max_age": "10m"});
        all
    };
    let mut fixture = Fixture::calm(&endpoints("paused"));
    fixture.publish(&message(&delivery("e1"))).await;
    sleep(Duration::from_millis(HOUR)).await;
    assert_eq!(
        (fixture.attempts(), fixture.memory.depth(SLOW)),
        (0, 1),
        "it waits, after {} looks",
        fixture.deferrals()
    );
    let enabled = (fixture.clock)();
    fixture.set_endpoints(&endpoints("active"));
    // Nobody expects a second attempt of what is older than the policy says.
    assert_eq!(fixture.end().await, (DeadReason::Expired, 1, Some(OutcomeClass::BlockedIp)));
    assert!((fixture.clock)() - enabled <= LONGEST_WAIT_MS);
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_grew_too_old_waits_for_the_rate_after_the_pause_instead_of_expiring() {
    let endpoints = |state: &str| {
        let mut all = endpoints(state);
        all[0]["retry"] = json!({"schedule": vec!["1s"; 5], "max_age": "30s"});
        all[0]["rate_limit"] = json!({"per_second": 0.01});
        all
    };
    let mut fixture = Fixture::calm(&endpoints("paused"));
    for event in ["e1", "e2"] {
        fixture.publish(&message(&Delivery { attempt: 2, ..delivery(event) })).await;
    }
    sleep(Duration::from_millis(HOUR)).await;
    fixture.set_endpoints(&endpoints("active"));
    for _ in 0..2 {
        let (reason, attempts, last) = fixture.end().await;
        assert_eq!((reason, attempts, last.is_some()), (DeadReason::Expired, 2, true), "attempted, and then too old");
    }
    let by_rate = fixture.metrics.deferrals.with_label_values(&["rate"]).get();
    assert!(by_rate > 0, "the second had to wait for the rate");
    assert_eq!(fixture.attempts(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_paused_endpoint_is_no_more_than_its_backlog_and_keeps_its_place() {
    let mut fixture = Fixture::calm(&endpoints("paused"));
    for event in ["e1", "e2", "e3"] {
        fixture.publish(&message(&delivery(event))).await;
        fixture.deferral().await;
    }
    fixture.publish(&message(&delivery("e4"))).await;
    assert_eq!(fixture.end().await, (DeadReason::Overflow, 0, None));
    sleep(Duration::from_millis(HOUR)).await;
    assert_eq!(fixture.memory.depth(SLOW), 3, "those that wait are looked at again and again");
    fixture.publish(&message(&delivery("e5"))).await;
    assert_eq!(fixture.end().await, (DeadReason::Overflow, 0, None));
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_paused_endpoint_ends_when_it_is_cancelled_disabled_or_deleted() {
    let mut cancelled = endpoints("paused");
    cancelled[0]["cancelled_before"] = json!(schemas::time::rfc3339(START + 1_000));
    for (then, revision, reason) in [
        (cancelled, 3, DeadReason::Cancelled),
        (endpoints("disabled"), 3, DeadReason::EndpointDisabled),
        (json!([]), 3, DeadReason::EndpointGone),
    ] {
        let mut fixture = Fixture::calm(&json!([]));
        fixture.set_endpoints_at_revision(2, &endpoints("paused"));
        fixture.publish(&message(&Delivery { revision: 2, ..delivery("e1") })).await;
        fixture.deferral().await;
        fixture.set_endpoints_at_revision(revision, &then);
        assert_eq!(fixture.end().await, (reason, 0, None));
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_paused_deliveries_are_looked_at_thirty_times_in_an_hour() {
    let mut all = endpoints("paused");
    all[0]["max_backlog"] = json!(100_000);
    let fixture = Fixture::calm(&all);
    for nth in 0..100 {
        fixture.publish(&message(&delivery(&format!("e{nth}")))).await;
    }
    sleep(Duration::from_millis(HOUR)).await;
    let before = fixture.deferrals();
    sleep(Duration::from_millis(HOUR)).await;
    let looks = fixture.deferrals() - before;
    assert!((2_900..=3_100).contains(&looks), "{looks}: the chance of the fixture takes the longer wait");
    assert_eq!(fixture.attempts(), 0);
}

#[tokio::test]
async fn a_410_that_comes_after_the_pause_is_reported_and_one_after_another_change_is_not() {
    for (change, is_reported) in
        [(json!({"state": "paused"}), true), (json!({"state": "paused", "name": "new"}), false)]
    {
        let (signal, given) = watch::channel(false);
        let gone = answer(410, "connection: close\r\n", "").remove(1);
        let mut receiver = Scripted::new(vec![vec![Act::Listen, Act::Wait(given), gone]]).await;
        let url = receiver.url();
        let config =
            crate::DelivererConfig { first_byte_timeout: schemas::Span(super::scripted::LONG), ..super::config() };
        let mut fixture = Fixture::with(&json!([]), &config);
        fixture.set_endpoints_at_revision(2, &json!([{"id": "crm", "url": url}]));
        fixture.publish(&message(&Delivery { revision: 2, ..delivery("e1") })).await;
        receiver.request().await;
        let mut changed = change.clone();
        (changed["id"], changed["url"]) = (json!("crm"), json!(url));
        fixture.set_endpoints_at_revision(3, &json!([changed]));
        signal.send(true).expect("it waits");
        let (record, _) = fixture.dead_letter().await;
        assert_eq!((record.reason, record.attempts), (DeadReason::Permanent, 1));
        fixture.empty(FAST).await;
        let reports = fixture.outbox.report(START);
        let gone = reports.into_iter().find_map(|notice| match notice {
            Notice::Findings { findings, .. } => {
                findings.into_iter().find(|finding| matches!(finding, Finding::Gone { .. }))
            }
            _ => None,
        });
        let expected = Finding::Gone { tenant: "acme".into(), endpoint_id: "crm".into(), version: Some(3) };
        assert_eq!(gone, is_reported.then_some(expected), "{change}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_paused_gets_nothing_directly() {
    let mut receiver = Scripted::answering(204).await;
    let at = |state: &str| json!([{"id": "crm", "url": receiver.url(), "state": state}]);
    let (active, paused) = (at("active"), at("paused"));
    let fixture = Fixture::of(&active);
    fixture.publish(&message(&delivery("known"))).await;
    receiver.request().await;
    fixture.empty(FAST).await;
    let is_prompt = || fixture.deliverer.direct().is_prompt(&delivery("e1"), &bytes::Bytes::from_static(b"{}"));
    eventually(is_prompt).await;
    fixture.set_endpoints(&paused);
    assert!(!is_prompt());
}
