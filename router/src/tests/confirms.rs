//! Nothing is settled before all that follows from it is confirmed.

use std::time::Duration;

use broker::{Inlet, Lane, Settlement};
use serde_json::json;

use super::witness::Step;
use super::world::{World, acme, received};

const FAST: Inlet = Inlet::Lane(Lane::Fast);

fn three() -> serde_json::Value {
    let ids = ["a", "b", "c"];
    acme(
        &json!(ids.map(|id| json!({"id": id}))),
        &json!(ids.map(|id| json!({"id": id, "endpoint_id": id, "event_types": ["*"]}))),
    )
}

#[tokio::test(start_paused = true)]
async fn an_event_is_settled_after_the_last_confirm_of_its_deliveries() {
    let world = World::of(&three());
    world.memory.delay_confirms(Duration::from_millis(100));
    world.publish(&received("e1")).await;
    world.memory.nack_confirm(2);
    world.memory.lose_confirm(3);
    world.idle().await;
    let mut steps = world.steps();
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
    assert_eq!(world.deliveries().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn while_the_broker_takes_nothing_an_event_waits_unsettled() {
    let world = World::of(&three());
    world.publish(&received("e1")).await;
    world.memory.block("alarm");
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!((world.steps(), world.memory.depth(Inlet::Ingest), world.memory.depth(FAST)), (vec![], 1, 0));
    world.memory.unblock();
    world.idle().await;
    assert_eq!(world.deliveries().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn however_many_sessions_are_lost_an_event_is_fanned_out_by_the_last_alone() {
    let world = World::of(&three());
    world.publish(&received("e1")).await;
    for _ in 0..10 {
        world.memory.block("alarm");
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.memory.go_away("cut");
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.memory.come_back();
    }
    world.idle().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let confirmed = world.steps().into_iter().filter(|step| matches!(step, Step::Confirmed(_))).count();
    assert_eq!(confirmed, 3, "one of each");
}

#[tokio::test(start_paused = true)]
async fn an_event_fanned_out_halfway_is_given_back_and_redone_with_the_same_ids() {
    let world = World::of(&three());
    world.publish(&received("e1")).await;
    // The first two are taken; whoever insists on the third waits.
    for nth in 3..100 {
        world.memory.nack_confirm(nth);
    }
    while world.memory.depth(FAST) < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let half = world.deliveries().await;
    assert_eq!(half.len(), 2);
    assert!(!world.steps().contains(&Step::Settled(Settlement::Done)));

    let again = world.restarted().await;
    assert_eq!(again.memory.depth(Inlet::Ingest), 1, "it went back");
    again.idle().await;
    let whole = again.deliveries().await;
    assert_eq!(whole.len(), 3);
    assert!(half.keys().all(|id| whole.contains_key(id)));
}

#[tokio::test(start_paused = true)]
async fn parking_is_confirmed_before_the_event_is_settled() {
    let world = World::of(&json!([]));
    world.publish(&received("e1")).await;
    world.memory.nack_confirm(1);
    world.memory.lose_confirm(2);
    world.idle().await;
    assert_eq!(world.steps(), [Step::Confirmed("record".into()), Step::Settled(Settlement::Done)]);
    assert_eq!(world.parked().len(), 2, "the lost confirm's record was there");
}

#[tokio::test(start_paused = true)]
async fn nothing_gets_lost_or_mixed_up_among_many_faults() {
    let world = World::of(&three());
    for nth in 1..300_u64 {
        match nth % 7 {
            2 => world.memory.nack_confirm(100 + nth),
            5 => world.memory.lose_confirm(100 + nth),
            _ => {}
        }
    }
    for n in 0..100 {
        world.publish(&received(&format!("e{n}"))).await;
    }
    world.idle().await;
    assert_eq!(world.deliveries().await.len(), 300);
    let given_back = world.steps().contains(&Step::Settled(Settlement::Again));
    assert!(!given_back, "a refused publish is tried again in place");
}
