//! What happens around attempts, without a socket, under paused time.

use std::time::Duration;

use broker::{Header, Log, Target};
use schemas::{DeadLetterLevel, DeadReason, Delivery, OutcomeClass, ParkReason, Parked, wire};
use serde_json::json;

use super::{
    config,
    world::{BODY, FAST, SLOW, START, World, delivery, message, read},
};

/// Where nothing may be sent to: attempts end at once, and without a socket.
fn forbidden() -> serde_json::Value {
    json!([{"id": "crm", "url": "http://127.0.0.1:1/"}])
}

#[tokio::test(start_paused = true)]
async fn a_disabled_endpoints_deliveries_end_at_once_and_can_be_replayed() {
    let mut world = World::of(&json!([{"id": "crm", "url": "http://127.0.0.1:1/", "state": "disabled"}]));
    world.publish(&message(&delivery("e1"))).await;
    let (record, carrier) = world.dead_letter().await;
    assert_eq!((record.reason, record.attempts, record.last), (DeadReason::EndpointDisabled, 0, None));
    assert_eq!(carrier.body, BODY);
    world.empty(FAST).await;
}

#[tokio::test(start_paused = true)]
async fn a_delivery_to_an_unknown_endpoint_is_put_aside_twelve_times_then_its_endpoint_is_gone() {
    let mut world = World::guarded(&json!([]));
    world.publish(&message(&delivery("e1"))).await;
    for parks in 1..=12 {
        let (target, later) = world.published().await;
        let Target::Lane(broker::Lane::Fast, Some(due)) = target else { panic!("{target:?}") };
        assert_eq!(due.at, (world.clock)() + 5_000);
        assert_eq!((read(&later).parks, read(&later).attempt), (parks, 1), "no attempt was made");
    }
    let (record, carrier) = world.dead_letter().await;
    assert_eq!((record.reason, record.attempts), (DeadReason::EndpointGone, 0));
    assert_eq!(carrier.body, BODY);
    assert_eq!((world.clock)() / 1_000, (START + 60_000) / 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_put_aside_goes_out_once_its_endpoint_is_known() {
    let mut world = World::guarded(&json!([]));
    world.publish(&message(&delivery("e1"))).await;
    world.published().await;
    world.shelf.set(&forbidden());
    let (_, retry) = world.retry().await;
    let next = read(&retry);
    assert_eq!((next.attempt, next.parks, next.last.unwrap().outcome), (2, 1, OutcomeClass::BlockedIp));
}

#[tokio::test(start_paused = true)]
async fn while_publishing_is_blocked_a_failed_delivery_is_held_for_a_minute_then_given_back() {
    let world = World::guarded(&forbidden());
    world.publish(&message(&delivery("e1"))).await;
    world.memory.block("alarm");
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!((world.metrics.redeliveries.get(), world.memory.depth(FAST)), (0, 1), "held");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((world.metrics.redeliveries.get(), world.memory.depth(FAST)), (1, 1), "handed out again");
    world.memory.unblock();
    world.empty(FAST).await;
    assert_eq!(world.memory.depth(SLOW), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_could_not_be_written_is_counted_once_it_was() {
    let mut disabled = forbidden();
    disabled[0]["state"] = json!("disabled");
    let world = World::guarded(&disabled);
    world.publish(&message(&delivery("e1"))).await;
    world.memory.block("alarm");
    tokio::time::sleep(Duration::from_secs(150)).await;
    let counted = world.metrics.dead_letters.with_label_values(&["endpoint_disabled"]);
    assert_eq!(counted.get(), 0);
    world.memory.unblock();
    world.empty(FAST).await;
    assert_eq!((counted.get(), world.memory.records(Log::Dead).len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn at_shutdown_a_failed_delivery_that_cannot_be_published_is_given_back_at_once() {
    let world = World::guarded(&forbidden());
    world.publish(&message(&delivery("e1"))).await;
    world.memory.block("alarm");
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.ask_to_stop();
    let memory = world.stopped().await;
    assert_eq!(memory.depth(FAST), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_delivery_is_parked_readable_and_whole() {
    let mut world = World::guarded(&forbidden());
    let table = [
        (wire::SCHEMA, Header::Int(9)),
        (wire::DELIVERY_ID, Header::Text("x".into())),
        (wire::ATTEMPT, Header::Int(0)),
    ];
    for (name, value) in table {
        let mut bad = message(&delivery("e1"));
        bad.headers.set(name, value);
        world.publish(&bad).await;
        let (target, carrier) = world.published().await;
        assert_eq!(target, Target::Log(Log::Parked, "schema.acme".into()));
        let record: Parked = serde_json::from_str(carrier.headers.text(wire::RECORD).unwrap()).unwrap();
        assert_eq!((record.reason, record.event_id.as_deref()), (ParkReason::Schema, Some("e1")));
        assert!(record.detail.unwrap().contains(name));
        assert_eq!(carrier.body, BODY);
        world.empty(FAST).await;
    }
    assert_eq!(world.metrics.parked.with_label_values(&["schema"]).get(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_deliverer_without_a_snapshot_does_not_consume() {
    let mut world = World::without_snapshot(&config());
    world.publish(&message(&Delivery { parks: 12, ..delivery("e1") })).await;
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert!(world.nothing_published());
    world.shelf.set(&json!([]));
    assert_eq!(world.dead_letter().await.0.reason, DeadReason::EndpointGone);
}

#[tokio::test(start_paused = true)]
async fn where_revisions_are_shared_a_deleted_endpoint_is_gone_at_once() {
    let mut world = World::guarded(&json!([]));
    world.shelf.share(7, &json!([]));
    world.publish(&message(&Delivery { revision: 7, ..delivery("e1") })).await;
    assert_eq!(world.dead_letter().await.0.reason, DeadReason::EndpointGone);
    world.publish(&message(&Delivery { tenant: "deleted".into(), revision: 3, ..delivery("e2") })).await;
    assert_eq!(world.dead_letter().await.0.reason, DeadReason::EndpointGone);
    assert_eq!((world.clock)() / 1_000, START / 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_from_a_later_revision_waits_for_it_however_long_that_takes() {
    let mut world = World::guarded(&json!([]));
    world.shelf.share(7, &json!([]));
    world.publish(&message(&Delivery { revision: 8, ..delivery("e1") })).await;
    for parks in 1..=13 {
        let (target, later) = world.published().await;
        let Target::Lane(broker::Lane::Fast, Some(due)) = target else { panic!("{target:?}") };
        assert_eq!(due.at - (world.clock)(), if parks <= 12 { 5_000 } else { 60_000 });
        assert_eq!(read(&later).parks, parks);
    }
    world.shelf.share(8, &forbidden());
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.retry().await;
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_never_comes_is_waited_for_as_long_as_anything_is_tried() {
    let mut world = World::guarded(&json!([]));
    world.shelf.share(7, &json!([]));
    let old = Delivery { revision: 8, accepted_at: START - 73 * 3_600_000, ..delivery("e1") };
    world.publish(&message(&old)).await;
    assert_eq!(world.dead_letter().await.0.reason, DeadReason::EndpointGone);
}

#[tokio::test(start_paused = true)]
async fn what_was_accepted_before_a_cancel_ends_without_an_attempt_and_what_came_later_does_not() {
    let mut endpoint = forbidden();
    endpoint[0]["cancelled_before"] = json!(schemas::time::rfc3339(START + 10));
    let mut world = World::guarded(&endpoint);
    for (event, accepted_at) in [("e1", START), ("e2", START + 10)] {
        world.publish(&message(&Delivery { accepted_at, attempt: 3, ..delivery(event) })).await;
        let (record, carrier) = world.dead_letter().await;
        assert_eq!((record.reason, record.attempts), (DeadReason::Cancelled, 2));
        assert_eq!(carrier.body, BODY, "it can be replayed");
    }
    world.publish(&message(&Delivery { accepted_at: START + 11, ..delivery("e3") })).await;
    world.retry().await;
}

#[tokio::test(start_paused = true)]
async fn a_cancel_meets_what_waits_for_a_retry_when_it_wakes() {
    let mut world = World::guarded(&forbidden());
    world.publish(&message(&delivery("e1"))).await;
    world.retry().await;
    let mut cancelled = forbidden();
    cancelled[0]["cancelled_before"] = json!(schemas::time::rfc3339(START + 1_000));
    world.shelf.set(&cancelled);
    assert_eq!(world.dead_letter().await.0.reason, DeadReason::Cancelled);
    assert!((world.clock)() >= START + 5_000, "it slept through it");
}

#[tokio::test(start_paused = true)]
async fn beyond_a_quota_a_dead_letter_loses_its_body_and_beyond_ten_times_that_it_is_only_counted() {
    let mut disabled = forbidden();
    disabled[0]["state"] = json!("disabled");
    let mut world = World::guarded(&disabled);
    let hear = |world: &World, level| {
        world.levels.hear(std::collections::BTreeMap::from([("acme".to_owned(), level)]), (world.clock)());
    };
    hear(&world, DeadLetterLevel::Records);
    world.publish(&message(&delivery("e1"))).await;
    let (record, carrier) = world.dead_letter().await;
    assert!(record.body_withheld && carrier.body.is_empty());
    world.empty(FAST).await;

    hear(&world, DeadLetterLevel::Counts);
    world.publish(&message(&delivery("e2"))).await;
    world.empty(FAST).await;
    assert!(world.nothing_published());
    let reduced = |kept| world.metrics.dead_letters_reduced.with_label_values(&[kept]).get();
    assert_eq!((reduced("record"), reduced("nothing")), (1, 1));
    assert_eq!(world.metrics.dead_letters.with_label_values(&["endpoint_disabled"]).get(), 2);
}
