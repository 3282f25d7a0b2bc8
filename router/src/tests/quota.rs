//! A tenant's quota of events a second, for events that no intake could refuse.

use std::time::Duration;

use broker::{Lane, Log};
use schemas::{DeadLetter, DeadReason, Finding, HeaderValue, Notice, QuotaName, wire};
use serde_json::{Value, json};

use super::fixture::{Fixture, START, Sent, one, received};

/// What comes at once, whatever the quota.
const BURST: u64 = 1_000;

fn quota(events_per_second: f64) -> Value {
    let mut tenants = one();
    tenants[0]["quota"] = json!({"events_per_second": events_per_second});
    tenants
}

/// An event that was accepted so many milliseconds after the start.
fn accepted(id: u64, at_ms: u64) -> Sent {
    let mut sent = received(&format!("e{id}"));
    sent.message.headers.set(wire::ACCEPTED_AT, HeaderValue::Int(i64::try_from(START + at_ms).unwrap()));
    sent
}

/// The findings about reached quotas.
fn reached(fixture: &Fixture) -> Vec<Finding> {
    let notices = fixture.outbox.report_findings(START).into_iter();
    notices
        .flat_map(|notice| match notice {
            Notice::Findings { findings, .. } => findings,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn events_beyond_the_quota_wait_for_their_turn_outside_of_the_router_and_the_tenant_is_told() {
    let fixture = Fixture::calm(&quota(10.0));
    for id in 0..BURST + 3 {
        fixture.publish(&accepted(id, 0)).await;
    }
    fixture.idle().await;
    let now = START + u64::try_from(Duration::from_millis(10).as_millis()).unwrap();
    assert_eq!(fixture.deliveries_in(Lane::Fast).await.len() as u64, BURST);
    let waiting = fixture.deliveries_in(Lane::Slow).await;
    let mut dues: Vec<_> = waiting.values().map(|(delivery, _)| delivery.due.expect("a due time")).collect();
    dues.sort_unstable();
    assert_eq!(dues, [100, 200, 300].map(|ms| START + ms), "one each tenth of a second, from {now}");
    assert!(waiting.values().all(|(delivery, _)| (delivery.attempt, delivery.deferrals) == (1, 1)));
    let found = reached(&fixture);
    let [Finding::QuotaReached { tenant, quota, limit, .. }] = &found[..] else { panic!("{found:?}") };
    assert_eq!((tenant.as_str(), *quota, *limit), ("acme", QuotaName::EventsPerSecond, 10.0));
}

#[tokio::test(start_paused = true)]
async fn events_that_waited_for_the_router_are_counted_at_the_time_of_their_acceptance() {
    let fixture = Fixture::calm(&quota(10.0));
    tokio::time::sleep(Duration::from_secs(200)).await;
    for id in 0..2_000 {
        fixture.publish(&accepted(id, id * 100)).await;
    }
    fixture.idle().await;
    assert_eq!(fixture.deliveries_in(Lane::Fast).await.len(), 2_000, "the intake let them through at the quota");
    assert_eq!(reached(&fixture), []);
}

#[tokio::test(start_paused = true)]
async fn events_of_a_tenant_that_is_an_hour_ahead_end_as_dead_letters() {
    let fixture = Fixture::calm(&quota(0.001));
    for id in 0..BURST + 5 {
        fixture.publish(&accepted(id, 0)).await;
    }
    fixture.idle().await;
    let dead = fixture.memory.records(Log::Dead);
    assert_eq!(dead.len(), 2, "they would be due after 4,000 s");
    let letter: DeadLetter = serde_json::from_str(dead[0].message.headers.text(wire::RECORD).unwrap()).unwrap();
    assert_eq!((letter.reason, letter.attempts, letter.body_withheld), (DeadReason::Overflow, 0, false));
    assert!(!dead[0].message.body.is_empty(), "it can be replayed");
    assert_eq!(fixture.metrics.dead_letters.with_label_values(&["overflow"]).get(), 2);
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(fixture.deliveries_in(Lane::Slow).await.len(), 3);
}
