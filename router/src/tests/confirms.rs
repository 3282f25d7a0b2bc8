//! Nothing is settled before all that follows from it is confirmed.

use std::time::Duration;

use broker::{Lane, Queue, Settlement};
use serde_json::json;

use super::{
    fixture::{Fixture, acme, received},
    recording::Step,
};

const FAST: Queue = Queue::Lane(Lane::Fast);

fn three() -> serde_json::Value {
    let ids = ["a", "b", "c"];
    acme(
        &json!(ids.map(|id| json!({"id": id}))),
        &json!(ids.map(|id| json!({"id": id, "endpoint_id": id, "event_types": ["*"]}))),
    )
}

#[tokio::test(start_paused = true)]
async fn an_event_is_settled_after_the_last_confirm_of_its_deliveries() {
    let fixture = Fixture::of(&three());
    fixture.memory.delay_confirms(Duration::from_millis(100));
    fixture.publish(&received("e1")).await;
    fixture.memory.nack_confirm(2);
    fixture.memory.lose_confirm(3);
    fixture.idle().await;
    let mut steps = fixture.steps();
    assert_eq!(steps.pop(), Some(Step::Settled(Settlement::Done)));
    let mut confirmed: Vec<_> = steps
        .into_iter()
        .map(|step| match step {
            Step::Confirmed(endpoint) => endpoint,
            Step::Settled(settlement) => panic!("settled {settlement:?} before the last confirm"),
        })
        .collect();
    confirmed.sort();
    assert_eq!(confirmed, ["a", "b", "c"], "what was nacked or lost was tried again until it was confirmed");
    assert_eq!(fixture.deliveries().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn while_the_broker_takes_nothing_an_event_waits_unsettled() {
    let fixture = Fixture::of(&three());
    fixture.publish(&received("e1")).await;
    fixture.memory.block("alarm");
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!((fixture.steps(), fixture.memory.depth(Queue::Ingest), fixture.memory.depth(FAST)), (vec![], 1, 0));
    fixture.memory.unblock();
    fixture.idle().await;
    assert_eq!(fixture.deliveries().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn however_many_sessions_are_lost_an_event_is_fanned_out_by_the_last_alone() {
    let fixture = Fixture::of(&three());
    fixture.publish(&received("e1")).await;
    for _ in 0..10 {
        fixture.memory.block("alarm");
        tokio::time::sleep(Duration::from_secs(1)).await;
        fixture.memory.go_away("cut");
        tokio::time::sleep(Duration::from_secs(1)).await;
        fixture.memory.come_back();
    }
    fixture.idle().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let confirmed = fixture.steps().into_iter().filter(|step| matches!(step, Step::Confirmed(_))).count();
    assert_eq!(confirmed, 3, "one of each");
}

#[tokio::test(start_paused = true)]
async fn an_event_fanned_out_halfway_is_given_back_and_redone_with_the_same_ids() {
    let fixture = Fixture::of(&three());
    fixture.publish(&received("e1")).await;
    // The first two are confirmed; the third is refused again and again.
    for nth in 3..100 {
        fixture.memory.nack_confirm(nth);
    }
    while fixture.memory.depth(FAST) < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let half = fixture.deliveries().await;
    assert_eq!(half.len(), 2);
    assert!(!fixture.steps().contains(&Step::Settled(Settlement::Done)));

    let again = fixture.restarted().await;
    assert_eq!(again.memory.depth(Queue::Ingest), 1, "it went back");
    again.idle().await;
    let whole = again.deliveries().await;
    assert_eq!(whole.len(), 3);
    assert!(half.keys().all(|id| whole.contains_key(id)));
}

#[tokio::test(start_paused = true)]
async fn parking_is_confirmed_before_the_event_is_settled() {
    let fixture = Fixture::of(&json!([]));
    fixture.publish(&received("e1")).await;
    fixture.memory.nack_confirm(1);
    fixture.memory.lose_confirm(2);
    fixture.idle().await;
    assert_eq!(fixture.steps(), [Step::Confirmed("record".into()), Step::Settled(Settlement::Done)]);
    assert_eq!(fixture.parked().len(), 2, "the lost confirm's record was there");
}

#[tokio::test(start_paused = true)]
async fn nothing_gets_lost_or_mixed_up_among_many_faults() {
    let fixture = Fixture::of(&three());
    for nth in 1..300_u64 {
        match nth % 7 {
            2 => fixture.memory.nack_confirm(100 + nth),
            5 => fixture.memory.lose_confirm(100 + nth),
            _ => {}
        }
    }
    for n in 0..100 {
        fixture.publish(&received(&format!("e{n}"))).await;
    }
    fixture.idle().await;
    assert_eq!(fixture.deliveries().await.len(), 300);
    let given_back = fixture.steps().contains(&Step::Settled(Settlement::Again));
    assert!(!given_back, "a refused publish is tried again in place");
}
