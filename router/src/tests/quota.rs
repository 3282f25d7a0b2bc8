//! A tenant's quota of events a second, for events that no intake could refuse.

use std::{collections::BTreeSet, time::Duration};

use broker::{Broker, Lane, Log, Target};
use schemas::{Finding, HeaderValue, Notice, QuotaName, wire};
use serde_json::{Value, json};

use super::{
    fixture::{Fixture, START, Sent, event, one, received},
    isolation::many_and_one,
};

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
async fn events_of_a_tenant_that_is_an_hour_ahead_wait_for_an_hour_and_none_ends() {
    let fixture = Fixture::calm(&quota(0.001));
    for id in 0..BURST + 5 {
        fixture.publish(&accepted(id, 0)).await;
    }
    fixture.idle().await;
    assert_eq!(fixture.deliveries_in(Lane::Fast).await.len() as u64, BURST);
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    let waiting = fixture.deliveries_in(Lane::Slow).await;
    let mut dues: Vec<_> = waiting.values().map(|(delivery, _)| delivery.due.expect("a due time")).collect();
    dues.sort_unstable();
    let due = |seconds: u64| START + seconds * 1_000;
    assert_eq!(dues[..3], [1_000, 2_000, 3_000].map(due));
    assert!(dues.len() == 5 && dues[3..].iter().all(|at| (due(3_600)..due(3_601)).contains(at)), "{dues:?}");
    assert_eq!(fixture.memory.records(Log::Dead).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_put_aside_is_not_counted_again() {
    let fixture = Fixture::calm(&quota(0.001));
    for id in 0..BURST {
        fixture.publish(&accepted(id, 0)).await;
    }
    fixture.idle().await;
    let Sent { key, message } = accepted(BURST, 0);
    fixture.memory.publish(&Target::IngestSlow { key }, &message).await.unwrap();
    fixture.idle().await;
    assert_eq!(fixture.deliveries_in(Lane::Fast).await.len() as u64, BURST);
    let aside = fixture.deliveries_in(Lane::Slow).await;
    let dues: Vec<_> = aside.values().map(|(delivery, _)| delivery.due).collect();
    assert_eq!(dues, [None], "it was within the quota");
    assert_eq!(reached(&fixture), []);
}

#[tokio::test(start_paused = true)]
async fn an_event_is_counted_before_it_is_put_aside_and_not_put_aside_if_it_has_to_wait() {
    let mut tenants = many_and_one();
    tenants[0]["quota"] = json!({"events_per_second": 0.001});
    tenants[0]["subscriptions"].as_array_mut().unwrap().iter_mut().skip(1).for_each(|subscription| {
        subscription["event_types"] = json!(["message.*"]);
    });
    let fixture = Fixture::calm(&tenants);
    for id in 0..BURST - 10 {
        fixture.publish(&event(&format!("single-{id}"), &json!({"type": "order.paid"}))).await;
    }
    fixture.idle().await;
    fixture.memory.delay_confirms(Duration::from_millis(100));
    let many: Vec<_> = (0..13).map(|id| accepted(id, 0)).collect();
    futures_util::future::join_all(many.iter().map(|sent| fixture.publish(sent))).await;
    fixture.idle().await;
    assert_eq!(fixture.metrics.put_aside.get(), 6, "four of the ten within the quota take the whole window");
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    let slow = fixture.deliveries_in(Lane::Slow).await;
    let delayed = slow.values().filter(|(delivery, _)| delivery.due.is_some());
    let events: BTreeSet<_> = delayed.map(|(delivery, _)| delivery.event_id.to_string()).collect();
    assert_eq!(events, ["e10", "e11", "e12"].map(str::to_owned).into());
}
