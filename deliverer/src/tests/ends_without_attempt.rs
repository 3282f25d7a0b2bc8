//! What happens around attempts, without a socket, under paused time.

use std::time::Duration;

use broker::{Header, Log, Target};
use schemas::{DeadReason, Delivery, OutcomeClass, ParkReason, Parked, wire};
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
