//! What one tenant publishes delays nobody else: large fan-outs, batches of them, and endpoints that are disabled.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use broker::{Broker, Lane, Queue, Target};
use futures_util::future::join_all;
use schemas::{HeaderValue, Notice, wire};
use serde_json::{Value, json};

use super::{
    fixture::{Fixture, START, Sent, acme, of_tenant, received},
    recording::Step,
};

const BATCH: usize = 40;
const ENDPOINTS: usize = 200;
const SLOW: Queue = Queue::IngestSlow;

/// The tenant acme with many endpoints, and beta with one. Each receives everything.
pub(super) fn many_and_one() -> Value {
    let ids: Vec<_> = (0..ENDPOINTS).map(|n| format!("e{n:03}")).collect();
    let endpoints: Vec<_> = ids.iter().map(|id| json!({"id": id})).collect();
    let subscriptions: Vec<_> =
        ids.iter().map(|id| json!({"id": id, "endpoint_id": id, "event_types": ["*"]})).collect();
    let mut tenants = acme(&json!(endpoints), &json!(subscriptions));
    tenants.as_array_mut().unwrap().push(json!({
        "id": "beta",
        "endpoints": [{"id": "crm", "url": "https://receiver.example"}],
        "subscriptions": [{"id": "all", "endpoint_id": "crm", "event_types": ["*"]}],
    }));
    tenants
}

/// A router whose publishes take a while to be confirmed, with a batch of acme's events before it.
async fn batch(events: usize) -> Fixture {
    let fixture = Fixture::calm(&many_and_one());
    for n in 0..events {
        fixture.publish(&received(&format!("e{n}"))).await;
    }
    fixture.memory.delay_confirms(Duration::from_millis(100));
    fixture
}

/// Asserts that each event of the batch has made each of its deliveries.
async fn is_whole(fixture: &Fixture, events: usize) {
    let mut deliveries = fixture.deliveries_in(Lane::Fast).await;
    deliveries.append(&mut fixture.deliveries_in(Lane::Slow).await);
    assert_eq!(deliveries.len(), events * ENDPOINTS);
}

#[tokio::test(start_paused = true)]
async fn an_event_of_another_tenant_does_not_wait_for_a_batch_that_fans_out() {
    let fixture = batch(BATCH).await;
    let single = of_tenant("beta", received("single"));
    tokio::join!(fixture.publish(&single), fixture.idle());
    let confirmed: Vec<_> = fixture.steps().into_iter().filter(|step| matches!(step, Step::Confirmed(_))).collect();
    let at = confirmed.iter().position(|step| *step == Step::Confirmed("crm".to_owned())).expect("it is routed");
    assert!(at < BATCH * ENDPOINTS / 2, "it came after {at} of {} deliveries", BATCH * ENDPOINTS);
    assert!(fixture.metrics.put_aside.get() > 0);
    assert_eq!(confirmed.len() as u64, (BATCH * ENDPOINTS + 1) as u64 + fixture.metrics.put_aside.get(), "once each");

    let fast = fixture.deliveries_in(Lane::Fast).await;
    assert!(fast.values().any(|(delivery, _)| delivery.tenant == "beta"), "its first attempt is in the fast lane");
    let slow = fixture.deliveries_in(Lane::Slow).await;
    assert_eq!(fast.len() + slow.len(), BATCH * ENDPOINTS + 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_put_aside_is_routed_in_full_with_the_time_of_its_acceptance() {
    let fixture = Fixture::calm(&many_and_one());
    fixture.memory.delay_confirms(Duration::from_secs(5));
    let publishing = (0..BATCH).map(|n| {
        let mut sent = received(&format!("e{n}"));
        // As a foreign publisher sends it: the router's clock says when it was accepted.
        sent.message.headers.remove(wire::ACCEPTED_AT);
        let fixture = &fixture;
        async move { fixture.publish(&sent).await }
    });
    join_all(publishing).await;
    fixture.idle().await;
    assert!(fixture.metrics.put_aside.get() > 0);
    let (fast, slow) = (fixture.deliveries_in(Lane::Fast).await, fixture.deliveries_in(Lane::Slow).await);
    let last = fast.values().chain(slow.values()).map(|(delivery, _)| delivery.accepted_at - START).max();
    // The router takes twenty at once, and puts the rest of them aside.
    assert!(last.is_some_and(|last| last < 15_000), "{last:?} ms");
    assert_eq!(fast.len() + slow.len(), BATCH * ENDPOINTS);
    let deferred = fast.values().chain(slow.values()).filter(|(delivery, _)| delivery.deferrals == 1).count();
    assert_eq!(deferred as u64, fixture.metrics.put_aside.get() * ENDPOINTS as u64, "they are not late");
    assert_eq!(fixture.metrics.routing.get_sample_count(), BATCH as u64 - fixture.metrics.put_aside.get());
}

#[tokio::test(start_paused = true)]
async fn events_put_aside_fill_the_window_even_with_ten_endpoints_each() {
    let ids: Vec<_> = (0..10).map(|n| format!("e{n}")).collect();
    let endpoints: Vec<_> = ids.iter().map(|id| json!({"id": id})).collect();
    let wants: Vec<_> = ids.iter().map(|id| json!({"id": id, "endpoint_id": id, "event_types": ["*"]})).collect();
    let fixture = Fixture::calm(&acme(&json!(endpoints), &json!(wants)));
    fixture.memory.delay_confirms(Duration::from_secs(5));
    let sent: Vec<_> = (0..100).map(|n| received(&format!("e{n}"))).collect();
    let target = |key: &str| Target::IngestSlow { key: key.to_owned() };
    let publish = async |sent: &Sent| fixture.memory.publish(&target(&sent.key), &sent.message).await;
    let taken = join_all(sent.iter().map(publish));
    let in_time = tokio::time::timeout(Duration::from_secs(4), taken);
    assert!(in_time.await.is_err(), "the first confirms come after five seconds");
    assert_eq!(fixture.memory.depth(Queue::Lane(Lane::Fast)) + fixture.memory.depth(Queue::Lane(Lane::Slow)), 800);
}

#[tokio::test(start_paused = true)]
async fn events_that_are_being_put_aside_when_the_session_is_lost_make_all_their_deliveries() {
    let fixture = batch(BATCH).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(fixture.memory.depth(SLOW) > 0, "published, and not settled yet");
    fixture.memory.go_away("cut");
    fixture.memory.come_back();
    fixture.idle().await;
    is_whole(&fixture, BATCH).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_the_broker_does_not_take_aside_is_routed_at_once() {
    let fixture = batch(20).await;
    // Four events take the whole window, and the other sixteen come too late. Deliveries are published again.
    (1..=816).for_each(|nth| fixture.memory.nack_confirm(nth));
    fixture.idle().await;
    assert_eq!(fixture.metrics.put_aside.get(), 0);
    is_whole(&fixture, 20).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_deliveries_of_an_event_are_fast_and_the_others_slow() {
    let fixture = Fixture::calm(&many_and_one());
    fixture.route(&received("e1")).await;
    assert_eq!(fixture.deliveries_in(Lane::Fast).await.len(), 50);
    let slow = fixture.deliveries_in(Lane::Slow).await;
    assert_eq!(slow.len(), ENDPOINTS - 50);
    assert!(slow.values().all(|(delivery, _)| (delivery.due, delivery.deferrals) == (None, 0)));
    assert_eq!(fixture.metrics.put_aside.get(), 0, "a tenant that is alone has the whole window");
}

#[tokio::test(start_paused = true)]
async fn a_delivery_to_a_disabled_or_paused_endpoint_is_never_in_front_of_first_attempts() {
    let endpoints = json!([{"id": "crm"}, {"id": "gone", "state": "disabled"}, {"id": "later", "state": "paused"}]);
    let subscriptions = ["crm", "gone", "later"].map(|id| json!({"id": id, "endpoint_id": id, "event_types": ["*"]}));
    let fixture = Fixture::of(&acme(&endpoints, &json!(subscriptions)));
    fixture.route(&received("e1")).await;
    for (lane, expected) in [(Lane::Fast, &["crm"][..]), (Lane::Slow, &["gone", "later"])] {
        let deliveries = fixture.deliveries_in(lane).await;
        let endpoints: BTreeSet<_> = deliveries.values().map(|(delivery, _)| delivery.endpoint_id.as_str()).collect();
        assert_eq!(endpoints.into_iter().collect::<Vec<_>>(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_router_that_is_behind_announces_the_share_of_a_tenant_that_publishes_too_much() {
    let fixture = Fixture::calm(&many_and_one());
    let mut notices = fixture.memory.notices();
    let publish = async |tenant, id: String, age_ms: u64| {
        let mut sent = of_tenant(tenant, received(&id));
        sent.message.headers.set(wire::ACCEPTED_AT, HeaderValue::Int(i64::try_from(START + 5_000 - age_ms).unwrap()));
        fixture.publish(&sent).await;
    };
    tokio::time::sleep(Duration::from_secs(5)).await;
    // In time, and late but alone: nobody has a share.
    for n in 0..10 {
        publish("acme", format!("in-time-{n}"), 0).await;
        publish("beta", format!("in-time-{n}"), 0).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    for n in 0..10 {
        publish("acme", format!("late-{n}"), 0).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    for n in 0..20 {
        publish("beta", format!("too-many-{n}"), 0).await;
    }
    for n in 0..4 {
        publish("acme", format!("few-{n}"), 0).await;
    }
    let notice = notices.next().await.expect("an announcement");
    let by_tenant = BTreeMap::from([("beta".to_owned(), 14.0)]);
    assert_eq!(Notice::read(&notice), Some(Notice::EventShares { process: "p".to_owned(), by_tenant }));
}

#[tokio::test(start_paused = true)]
async fn a_tenant_whose_events_are_put_aside_for_long_has_what_is_routed_of_them_as_its_share() {
    let fixture = batch(200).await;
    // Four events a second.
    fixture.memory.delay_confirms(Duration::from_secs(1));
    let mut notices = fixture.memory.notices();
    let notice = tokio::time::timeout(Duration::from_secs(30), notices.next()).await.expect("in time");
    let notice = notice.expect("an announcement");
    let Some(Notice::EventShares { by_tenant, .. }) = Notice::read(&notice) else { panic!("another notice") };
    let shares: Vec<_> =
        by_tenant.iter().map(|(tenant, share)| (tenant.as_str(), (1.0..6.0).contains(share))).collect();
    assert_eq!(shares, [("acme", true)], "{by_tenant:?}");
    assert!(fixture.memory.depth(SLOW) > 0);
}
