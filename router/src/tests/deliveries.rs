//! What becomes of an event: whom it goes to, in what shape, and under which ids.

use broker::{Header, Log};
use schemas::{DeadLetter, DeadReason, EventId, Part, delivery_id, wire};
use serde_json::json;

use super::world::{MAX_PUBLISHED, START, World, acme, event, fixture, one, received};

pub(super) const WHATICKET_FILE: &str = include_str!("../../../tests/fixtures/canonical/whaticket-file.json");
const TRANSFER: &str = include_str!("../../../tests/fixtures/canonical/whazing-channel-TransferTicket.json");

fn crm_id(event: &str, part: Part) -> uuid::Uuid {
    delivery_id("acme", &EventId::try_from(event.to_owned()).unwrap(), "crm", part)
}

#[tokio::test(start_paused = true)]
async fn a_delivery_says_all_about_itself_under_an_id_that_its_repeat_will_have() {
    let world = World::of(&one());
    world.route(&received("e1")).await;
    world.route(&received("e1")).await;
    let deliveries = world.deliveries().await;
    assert_eq!(deliveries.keys().copied().collect::<Vec<_>>(), [crm_id("e1", Part::First)]);
    let (delivery, message) = &deliveries[&crm_id("e1", Part::First)];
    assert_eq!((message.id.as_str(), message.kind.as_str()), ("e1", "message.received"));
    assert_eq!((delivery.tenant.as_str(), delivery.endpoint_id.as_str()), ("acme", "crm"));
    assert_eq!((delivery.accepted_at, delivery.event_time), (START, START));
    assert_eq!((delivery.attempt, delivery.due, delivery.parks, delivery.revision), (1, None, 0, 1));
    assert_eq!(delivery.subscriptions, ["all"]);
    assert_eq!(delivery.ticket.as_deref(), Some("42"));
    let body: serde_json::Value = serde_json::from_slice(&message.body).unwrap();
    assert_eq!((&body["id"], &body["message"]["body"]), (&json!("e1"), &json!("Olá")));
}

#[tokio::test(start_paused = true)]
async fn an_event_makes_one_delivery_for_each_endpoint_and_part() {
    let endpoints = json!([{"id": "crm"}, {"id": "flow", "format": "whaticket"}, {"id": "idle"}]);
    let world = World::of(&acme(
        &endpoints,
        &json!([
            {"id": "a", "endpoint_id": "crm", "event_types": ["message.*"]},
            {"id": "b", "endpoint_id": "flow", "event_types": ["message.received"]},
            {"id": "c", "endpoint_id": "idle", "event_types": ["ticket.*"]},
        ]),
    ));
    world.route(&fixture(WHATICKET_FILE)).await;
    let expected = [("crm", ""), ("flow", ""), ("flow", "2")];
    assert_eq!(world.addressed().await, expected.map(|(id, part)| (id.to_owned(), part.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn several_subscriptions_of_an_endpoint_make_one_delivery_that_lists_them() {
    let world = World::of(&acme(
        &json!([{"id": "crm"}]),
        &json!([
            {"id": "by-channel", "endpoint_id": "crm", "event_types": ["message.*"], "channel_ids": [7]},
            {"id": "by-queue", "endpoint_id": "crm", "event_types": ["*"], "queue_ids": ["-"]},
            {"id": "other", "endpoint_id": "crm", "event_types": ["*"], "channel_ids": [8]},
        ]),
    ));
    world.route(&received("e1")).await;
    let deliveries = world.deliveries().await;
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[&crm_id("e1", Part::First)].0.subscriptions, ["by-channel", "by-queue"]);
}

#[tokio::test(start_paused = true)]
async fn a_shape_that_several_endpoints_share_is_rendered_once() {
    let endpoints = json!([{"id": "a", "format": "whazing"}, {"id": "b", "format": "whazing"}, {"id": "c"}]);
    let subscriptions =
        ["a", "b", "c"].map(|id| json!({"id": id, "endpoint_id": id, "event_types": ["ticket.transferred"]}));
    let world = World::of(&acme(&endpoints, &json!(subscriptions)));
    world.route(&fixture(TRANSFER)).await;
    let bodies: std::collections::BTreeMap<_, _> = world
        .deliveries()
        .await
        .into_values()
        .map(|(delivery, message)| (delivery.endpoint_id, message.body))
        .collect();
    assert_eq!(bodies["a"].as_ptr(), bodies["b"].as_ptr(), "the very same bytes, in one place");
    assert_ne!(bodies["a"], bodies["c"]);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_the_wanted_format_does_not_have_is_counted_apart() {
    let world = World::of(&acme(
        &json!([{"id": "desk", "format": "whaticket"}]),
        &json!([{"id": "s", "endpoint_id": "desk", "event_types": ["*"]}]),
    ));
    world.route(&event("e1", &json!({"type": "order.paid"}))).await;
    assert!(world.deliveries().await.is_empty(), "Whaticket knows no orders");
    assert_eq!((world.metrics.unrendered.get(), world.metrics.unmatched.get()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_nobody_wants_is_settled_and_counted() {
    let world = World::of(&acme(
        &json!([{"id": "crm"}]),
        &json!([{"id": "s", "endpoint_id": "crm", "event_types": ["*"], "enabled": false}]),
    ));
    world.route(&received("e1")).await;
    assert!(world.deliveries().await.is_empty(), "a disabled subscription wants nothing");
    assert_eq!((world.metrics.unmatched.get(), world.metrics.routed.get()), (1, 0));
    assert!(world.parked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_transfer_makes_the_event_and_the_shot_in_a_vendors_shape_and_one_body_in_the_envelopes() {
    let formats = ["whazing", "canonical", "original"];
    let endpoints = formats.map(|format| json!({"id": format, "format": format}));
    let starts = |format: &str, types: &[&str]| {
        json!({"id": format!("{format}-{}", types.len()), "endpoint_id": format, "event_types": types,
            "queue_ids": [9], "start_on_transfer": true})
    };
    let world = World::of(&acme(&json!(endpoints), &json!(formats.map(|format| starts(format, &["ticket.*"])))));
    world.route(&fixture(TRANSFER)).await;
    let expected = [("canonical", ""), ("original", ""), ("whazing", ""), ("whazing", "shot")];
    assert_eq!(world.addressed().await, expected.map(|(id, part)| (id.to_owned(), part.to_owned())));

    world.shelf.set(&acme(&json!(endpoints), &json!(formats.map(|format| starts(format, &[])))));
    // Another process has not seen it yet.
    let world = world.restarted().await;
    world.route(&fixture(TRANSFER)).await;
    let expected = [("canonical", ""), ("original", ""), ("whazing", "shot")];
    assert_eq!(world.addressed().await, expected.map(|(id, part)| (id.to_owned(), part.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn only_our_own_headers_and_the_trace_context_go_on() {
    let world = World::of(&one());
    let mut sent = received("e1");
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (name, value) in [("traceparent", trace), ("x-secret", "S3CRET"), ("carteiro-foreign", "S3CRET")] {
        sent.message.headers.set(name, Header::Text(value.into()));
    }
    sent.message.headers.set(wire::PARKS, Header::Int(7));
    world.route(&sent).await;
    let (delivery, message) = world.deliveries().await.into_values().next().unwrap();
    assert_eq!((delivery.traceparent.as_deref(), delivery.parks), (Some(trace), 0));
    let foreign = message.headers.iter().find(|(_, value)| **value == Header::Text("S3CRET".into()));
    assert_eq!(foreign, None);
}

#[tokio::test(start_paused = true)]
async fn an_acceptance_that_is_missing_or_in_the_future_is_the_routers_clock() {
    let world = World::of(&one());
    tokio::time::advance(std::time::Duration::from_secs(5)).await;
    for (at, header) in [None, Some(i64::MAX), Some(-1)].into_iter().enumerate() {
        let mut sent = received(&format!("e{at}"));
        sent.message.headers.remove(wire::ACCEPTED_AT);
        if let Some(header) = header {
            sent.message.headers.set(wire::ACCEPTED_AT, Header::Int(header));
        }
        world.route(&sent).await;
    }
    let deliveries = world.deliveries().await;
    assert_eq!(deliveries.len(), 3);
    for (delivery, _) in deliveries.values() {
        assert!((START + 5_000..START + 6_000).contains(&delivery.accepted_at), "{}", delivery.accepted_at);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_grew_beyond_what_is_published_becomes_a_dead_letter_without_it() {
    let world = World::of(&acme(
        &json!([{"id": "crm", "format": "whaticket"}]),
        &json!([{"id": "all", "endpoint_id": "crm", "event_types": ["*"]}]),
    ));
    // Of Whaticket's two bodies the first says the contact's name twice, the second once.
    let mut envelope: serde_json::Value = serde_json::from_str(WHATICKET_FILE).unwrap();
    envelope["id"] = json!("e1");
    envelope["contact"]["name"] = json!("x".repeat(MAX_PUBLISHED * 2 / 3));
    world.publish(&event("e1", &envelope)).await;
    world.memory.nack_confirm(1);
    world.idle().await;
    assert_eq!(world.deliveries().await.into_keys().collect::<Vec<_>>(), [crm_id("e1", Part::Second)]);
    let dead = world.memory.records(Log::Dead);
    let record: DeadLetter = serde_json::from_str(dead[0].message.headers.text(wire::RECORD).unwrap()).unwrap();
    assert_eq!(
        (record.reason, record.attempts, record.delivery_id),
        (DeadReason::TooLarge, 0, crm_id("e1", Part::First))
    );
    assert_eq!((dead[0].key.as_str(), dead[0].message.body.len()), ("too_large.acme", 0));
    assert_eq!(world.metrics.dead_letters.with_label_values(&["too_large"]).get(), dead.len() as u64);
}
