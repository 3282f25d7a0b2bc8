//! What a deliverer tells: what it did for whom, and who is gone.

use schemas::{Counts, Delivery, Fact, Notice};
use serde_json::json;

use super::{
    scripted::{Scripted, answer},
    world::{BODY, FAST, START, World, delivery, message},
};

/// What there is to tell.
fn facts(world: &World) -> Vec<Fact> {
    let facts = world.tally.report(START).into_iter().flat_map(|notice| match notice {
        Notice::Facts { facts, .. } => facts,
        other => panic!("{other:?}"),
    });
    facts.collect()
}

fn usage(counts: Counts) -> Fact {
    let endpoint_id = Some("crm".to_owned());
    Fact::Usage { tenant: "acme".into(), endpoint_id, day: "2026-09-21".into(), counts }
}

#[tokio::test]
async fn attempts_and_how_deliveries_end_are_counted_for_their_endpoint() {
    let close = "connection: close\r\n";
    let receiver = Scripted::new(vec![answer(200, close, ""), answer(503, close, ""), answer(500, close, "")]).await;
    let retry = json!({"schedule": ["5s"], "max_age": "72h"});
    let mut world = World::of(&json!([{"id": "crm", "url": receiver.url(), "retry": retry}]));
    world.publish(&message(&delivery("e1"))).await;
    world.empty(FAST).await;
    world.publish(&message(&delivery("e2"))).await;
    world.retry().await;
    world.publish(&message(&Delivery { attempt: 2, ..delivery("e3") })).await;
    world.dead_letter().await;
    world.empty(FAST).await;
    let bytes = 3 * BODY.len() as u64;
    assert_eq!(facts(&world), [usage(Counts { attempts: 3, delivered: 1, dead: 1, bytes, ..Counts::default() })]);
}

#[tokio::test(start_paused = true)]
async fn what_ends_without_an_attempt_is_counted_as_dead() {
    let mut world = World::of(&json!([{"id": "crm", "url": "http://127.0.0.1:1/", "state": "disabled"}]));
    world.publish(&message(&delivery("e1"))).await;
    world.dead_letter().await;
    world.empty(FAST).await;
    assert_eq!(facts(&world), [usage(Counts { dead: 1, ..Counts::default() })]);
}

#[tokio::test]
async fn that_an_endpoint_said_410_is_told_with_the_version_that_said_so() {
    let receiver = Scripted::new(vec![answer(410, "connection: close\r\n", "")]).await;
    let mut world = World::of(&json!([]));
    world.shelf.share(7, &json!([{"id": "crm", "url": receiver.url()}]));
    world.publish(&message(&delivery("e1"))).await;
    world.dead_letter().await;
    world.empty(FAST).await;
    let gone = Fact::Gone { tenant: "acme".into(), endpoint_id: "crm".into(), version: Some(7) };
    assert!(facts(&world).contains(&gone));
}
