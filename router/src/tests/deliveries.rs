//! What becomes of an event: whom it goes to, in what shape, and under which ids.

use broker::{Log, Settlement};
use schemas::{DeadLetter, DeadReason, EventId, HeaderValue, Part, delivery_id, wire};
use serde_json::json;

use super::{
    fixture::{Fixture, MAX_PUBLISHED, START, acme, canonical, event, one, received},
    recording::Step,
};

pub(super) const WHATICKET_FILE: &str = include_str!("../../../tests/fixtures/canonical/whaticket-file.json");
const TRANSFER: &str = include_str!("../../../tests/fixtures/canonical/whazing-channel-TransferTicket.json");

fn crm_id(event: &str, part: Part) -> uuid::Uuid {
    delivery_id("acme", &EventId::try_from(event.to_owned()).unwrap(), "crm", part)
}

#[tokio::test(start_paused = true)]
async fn a_delivery_says_all_about_itself_under_an_id_that_its_repeat_will_have() {
    let fixture = Fixture::of(&one());
    fixture.route(&received("e1")).await;
    fixture.route(&received("e1")).await;
    let deliveries = fixture.deliveries().await;
    assert_eq!(deliveries.keys().copied().collect::<Vec<_>>(), [crm_id("e1", Part::First)]);
    let (delivery, message) = &deliveries[&crm_id("e1", Part::First)];
    assert_eq!((message.id.as_str(), message.kind.as_str()), ("e1", "message.received"));
    assert_eq!((delivery.tenant.as_str(), delivery.endpoint_id.as_str()), ("acme", "crm"));
    assert_eq!((delivery.accepted_at, delivery.event_time), (START, START));
    assert_eq!((delivery.attempt, delivery.due, delivery.deferrals, delivery.revision), (1, None, 0, 1));
    assert_eq!(delivery.subscriptions, ["all"]);
    let body: serde_json::Value = serde_json::from_slice(&message.body).unwrap();
    assert_eq!((&body["id"], &body["message"]["body"]), (&json!("e1"), &json!("Olá")));
}

#[tokio::test(start_paused = true)]
async fn an_event_makes_one_delivery_for_each_endpoint_and_part() {
    let endpoints = json!([{"id": "crm"}, {"id": "flow", "format": "whaticket"}, {"id": "idle"}]);
    let fixture = Fixture::of(&acme(
        &endpoints,
        &json!([
            {"id": "a", "endpoint_id": "crm", "event_types": ["message.*"]},
            {"id": "b", "endpoint_id": "flow", "event_types": ["message.received"]},
            {"id": "c", "endpoint_id": "idle", "event_types": ["ticket.*"]},
        ]),
    ));
    fixture.route(&canonical(WHATICKET_FILE)).await;
    let expected = [("crm", ""), ("flow", ""), ("flow", "2")];
    assert_eq!(fixture.addressed().await, expected.map(|(id, part)| (id.to_owned(), part.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn several_subscriptions_of_an_endpoint_make_one_delivery_that_lists_them() {
    let fixture = Fixture::of(&acme(
        &json!([{"id": "crm"}]),
        &json!([
            {"id": "by-channel", "endpoint_id": "crm", "event_types": ["message.*"], "channel_ids": [7]},
            {"id": "by-queue", "endpoint_id": "crm", "event_types": ["*"], "queue_ids": ["-"]},
            {"id": "other", "endpoint_id": "crm", "event_types": ["*"], "channel_ids": [8]},
        ]),
    ));
    fixture.route(&received("e1")).await;
    let deliveries = fixture.deliveries().await;
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[&crm_id("e1", Part::First)].0.subscriptions, ["by-channel", "by-queue"]);
}

#[tokio::test(start_paused = true)]
async fn a_shape_that_several_endpoints_share_is_rendered_once() {
    let endpoints = json!([{"id": "a", "format": "whazing"}, {"id": "b", "format": "whazing"}, {"id": "c"}]);
    let subscriptions =
        ["a", "b", "c"].map(|id| json!({"id": id, "endpoint_id": id, "event_types": ["ticket.transferred"]}));
    let fixture = Fixture::of(&acme(&endpoints, &json!(subscriptions)));
    fixture.route(&canonical(TRANSFER)).await;
    let bodies: std::collections::BTreeMap<_, _> = fixture
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
    let fixture = Fixture::of(&acme(
        &json!([{"id": "desk", "format": "whaticket"}]),
        &json!([{"id": "s", "endpoint_id": "desk", "event_types": ["*"]}]),
    ));
    fixture.route(&event("e1", &json!({"type": "order.paid"}))).await;
    assert!(fixture.deliveries().await.is_empty(), "Whaticket knows no orders");
    assert_eq!((fixture.metrics.unrendered.get(), fixture.metrics.unmatched.get()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_event_without_subscribers_is_settled_and_counted() {
    let fixture = Fixture::of(&acme(
        &json!([{"id": "crm"}]),
        &json!([{"id": "s", "endpoint_id": "crm", "event_types": ["*"], "enabled": false}]),
    ));
    fixture.route(&received("e1")).await;
    assert!(fixture.deliveries().await.is_empty(), "a disabled subscription wants nothing");
    assert_eq!((fixture.metrics.unmatched.get(), fixture.metrics.routed.get()), (1, 0));
    assert!(fixture.parked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_transfer_makes_the_event_and_the_shot_in_a_vendors_shape_and_one_body_in_the_envelopes() {
    let formats = ["whazing", "canonical", "original"];
    let endpoints = formats.map(|format| json!({"id": format, "format": format}));
    let starts = |format: &str, types: &[&str]| {
        json!({"id": format!("{format}-{}", types.len()), "endpoint_id": format, "event_types": types,
            "queue_ids": [9], "start_on_transfer": true})
    };
    let fixture = Fixture::of(&acme(&json!(endpoints), &json!(formats.map(|format| starts(format, &["ticket.*"])))));
    fixture.route(&canonical(TRANSFER)).await;
    let expected = [("canonical", ""), ("original", ""), ("whazing", ""), ("whazing", "shot")];
    assert_eq!(fixture.addressed().await, expected.map(|(id, part)| (id.to_owned(), part.to_owned())));

    fixture.set_tenants(&acme(&json!(endpoints), &json!(formats.map(|format| starts(format, &[])))));
    // Another process has not seen it yet.
    let fixture = fixture.restarted().await;
    fixture.route(&canonical(TRANSFER)).await;
    let expected = [("canonical", ""), ("original", ""), ("whazing", "shot")];
    assert_eq!(fixture.addressed().await, expected.map(|(id, part)| (id.to_owned(), part.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn only_our_own_headers_and_the_trace_context_go_on() {
    let fixture = Fixture::of(&one());
    let mut sent = received("e1");
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (name, value) in [("traceparent", trace), ("x-secret", "S3CRET"), ("carteiro-foreign", "S3CRET")] {
        sent.message.headers.set(name, HeaderValue::Text(value.into()));
    }
    sent.message.headers.set(wire::DEFERRALS, HeaderValue::Int(7));
    sent.message.headers.set(wire::HOPS, HeaderValue::Int(3));
    fixture.route(&sent).await;
    let (delivery, message) = fixture.deliveries().await.into_values().next().unwrap();
    assert_eq!((delivery.traceparent.as_deref(), delivery.deferrals, delivery.hops), (Some(trace), 0, 3));
    let foreign = message.headers.iter().find(|(_, value)| **value == HeaderValue::Text("S3CRET".into()));
    assert_eq!(foreign, None);
}

#[tokio::test(start_paused = true)]
async fn an_acceptance_that_is_missing_or_in_the_future_is_the_routers_clock() {
    let fixture = Fixture::of(&one());
    tokio::time::advance(std::time::Duration::from_secs(5)).await;
    for (at, header) in [None, Some(i64::MAX), Some(-1)].into_iter().enumerate() {
        let mut sent = received(&format!("e{at}"));
        sent.message.headers.remove(wire::ACCEPTED_AT);
        if let Some(header) = header {
            sent.message.headers.set(wire::ACCEPTED_AT, HeaderValue::Int(header));
        }
        fixture.route(&sent).await;
    }
    let deliveries = fixture.deliveries().await;
    assert_eq!(deliveries.len(), 3);
    for (delivery, _) in deliveries.values() {
        assert!((START + 5_000..START + 6_000).contains(&delivery.accepted_at), "{}", delivery.accepted_at);
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_larger_than_the_broker_takes_becomes_a_dead_letter_and_its_event_is_settled_once() {
    let fixture = Fixture::of(&one());
    fixture.publish(&received("e1")).await;
    fixture.memory.take_at_most(10);
    fixture.idle().await;
    let dead = fixture.memory.records(Log::Dead);
    let record: DeadLetter = serde_json::from_str(dead[0].message.headers.text(wire::RECORD).unwrap()).unwrap();
    assert_eq!((dead.len(), record.reason, record.body_withheld), (1, DeadReason::TooLarge, true));
    assert_eq!(fixture.steps().pop(), Some(Step::Settled(Settlement::Done)));
    assert_eq!(fixture.metrics.redeliveries.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_grew_beyond_what_is_published_becomes_a_dead_letter_without_it() {
    let fixture = Fixture::of(&acme(
        &json!([{"id": "crm", "format": "whaticket"}]),
        &json!([{"id": "all", "endpoint_id": "crm", "event_types": ["*"]}]),
    ));
    // Of Whaticket's two bodies the first says the contact's name twice, the second once.
    let mut envelope: serde_json::Value = serde_json::from_str(WHATICKET_FILE).unwrap();
    envelope["id"] = json!("e1");
    envelope["contact"]["name"] = json!("x".repeat(MAX_PUBLISHED * 2 / 3));
    fixture.publish(&event("e1", &envelope)).await;
    fixture.memory.nack_confirm(1);
    fixture.idle().await;
    assert_eq!(fixture.deliveries().await.into_keys().collect::<Vec<_>>(), [crm_id("e1", Part::Second)]);
    let dead = fixture.memory.records(Log::Dead);
    let record: DeadLetter = serde_json::from_str(dead[0].message.headers.text(wire::RECORD).unwrap()).unwrap();
    assert_eq!(
        (record.reason, record.attempts, record.delivery_id),
        (DeadReason::TooLarge, 0, crm_id("e1", Part::First))
    );
    assert_eq!((dead[0].key.as_str(), dead[0].message.body.len()), ("too_large.acme", 0));
    assert_eq!(fixture.metrics.dead_letters.with_label_values(&["too_large"]).get(), dead.len() as u64);
}
