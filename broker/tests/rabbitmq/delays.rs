//! The ladder of delays on a real broker: docs/rabbitmq.md#delays

use std::time::Duration;

use broker::{Broker, Due, Lane, Log, Queue, Settlement, Target};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use schemas::{HeaderValue, wire::DUE};

use crate::fixture::{Fixture, clock, message, next, take_all};

/// Milliseconds after which a message is too late to have left its level by itself.
const TOLERANCE: u64 = 5_000;

fn slow(after: Duration) -> Target {
    let at = clock()() + u64::try_from(after.as_millis()).expect("fits");
    Target::Lane(Lane::Slow, Some(Due { at, exact: false }))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_on_a_level_leaves_by_itself_when_its_time_has_come() {
    let fixture = Fixture::start().await;
    let due = clock()() + 1000;
    fixture.broker.publish(&slow(Duration::from_secs(1)), &message("e1")).await.expect("confirmed");
    let mut consumer = fixture.broker.consume(Queue::Lane(Lane::Slow), 10.into());
    let incoming = next(&mut consumer).await;
    let now = clock()();
    assert!((due - 50..due + TOLERANCE).contains(&now), "{} ms after it was due", now as i64 - due as i64);
    assert!(incoming.message.headers.int(DUE).is_some_and(|header| header.abs_diff(due as i64) < 1000));
    incoming.settle(Settlement::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_far_off_does_not_hold_up_what_is_due_soon() {
    let fixture = Fixture::start().await;
    fixture.broker.publish(&slow(Duration::from_secs(600)), &message("far")).await.expect("confirmed");
    fixture.broker.publish(&slow(Duration::from_secs(1)), &message("near")).await.expect("confirmed");
    let mut consumer = fixture.broker.consume(Queue::Lane(Lane::Slow), 10.into());
    assert_eq!(next(&mut consumer).await.message.id, "near");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_that_a_message_brings_along_is_not_taken_on_to_the_next_level() {
    let fixture = Fixture::start().await;
    let mut death = FieldTable::default();
    death.insert("reason".into(), AMQPValue::LongString("expired".into()));
    death.insert("queue".into(), AMQPValue::LongString(fixture.name("delay.1s").as_str().into()));
    let mut headers = FieldTable::default();
    headers.insert("x-death".into(), AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::FieldTable(death)])));
    headers.insert("x-first-death-reason".into(), AMQPValue::LongString("expired".into()));
    fixture.publish_foreign("deliver", "slow", "e1", headers).await;
    let mut consumer = fixture.broker.consume(Queue::Lane(Lane::Slow), 10.into());
    for _ in 0..3 {
        let incoming = next(&mut consumer).await;
        let mut again = incoming.message.clone();
        again.headers.set("x-death", HeaderValue::Text("copied by hand".into()));
        fixture.broker.publish(&slow(Duration::from_secs(1)), &again).await.expect("confirmed");
        incoming.settle(Settlement::Done);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_wakes_without_a_route_is_parked_and_does_not_stop_its_level() {
    let fixture = Fixture::start().await;
    fixture.unbind("deliver.slow", "wake", "*.slow").await;
    // 32 is the prefetch of the broker's dead-letter worker: as many without a route would stop the level for ever.
    for n in 0..40 {
        fixture.broker.publish(&slow(Duration::from_secs(1)), &message(&format!("lost-{n}"))).await.expect("confirmed");
    }
    let fast = Target::Lane(Lane::Fast, Some(Due { at: clock()() + 1000, exact: false }));
    fixture.broker.publish(&fast, &message("good")).await.expect("confirmed");
    let mut consumer = fixture.broker.consume(Queue::Lane(Lane::Fast), 10.into());
    take_all(&mut consumer, ["good".to_owned()]).await;
    let parked = fixture.read(Log::Parked, 0).await;
    assert_eq!(parked.len(), 40, "the good one came after all of them");
    assert!(parked.iter().all(|record| record.key == "1s.slow"));
    assert_eq!(parked[0].message.headers.text("x-last-death-reason"), Some("expired"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_between_two_levels_is_climbed_down_unseen() {
    let fixture = Fixture::start().await;
    let begin = clock()();
    let exact = Target::Lane(Lane::Slow, Some(Due { at: begin + 3_500, exact: true }));
    fixture.broker.publish(&exact, &message("e1")).await.expect("confirmed");
    let mut consumer = fixture.broker.consume(Queue::Lane(Lane::Slow), 10.into());
    let incoming = next(&mut consumer).await;
    let waited = clock()() - begin;
    assert!((3_500..3_500 + TOLERANCE).contains(&waited), "{waited} ms");
    assert_eq!((incoming.message.id.as_str(), incoming.key.as_str()), ("e1", "slow"));
}
