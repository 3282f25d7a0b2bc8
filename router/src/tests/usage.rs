//! What is counted of events and deliveries, and what a quota of dead letters leaves of them.

use std::collections::BTreeMap;

use broker::Log;
use schemas::{Counts, DeadLetter, DeadLetterRetention, Finding, Notice, wire};
use serde_json::json;

use super::{
    deliveries::WHATICKET_FILE,
    fixture::{Fixture, MAX_PUBLISHED, START, acme, event, received},
};

/// An event that Whaticket says in two bodies, of which the first is larger than anything that is published.
fn growing(id: &str) -> super::fixture::Sent {
    let mut envelope: serde_json::Value = serde_json::from_str(WHATICKET_FILE).unwrap();
    envelope["id"] = json!(id);
    // The first body has it twice.
    envelope["contact"]["name"] = json!("x".repeat(MAX_PUBLISHED * 2 / 3));
    event(id, &envelope)
}

/// What an outbox has to say, by endpoint.
fn usage(fixture: &Fixture) -> BTreeMap<String, Counts> {
    let mut usage = BTreeMap::new();
    for notice in fixture.outbox.report(START) {
        let Notice::Findings { findings: facts, .. } = notice else { panic!("{notice:?}") };
        for fact in facts {
            let Finding::Usage { tenant, endpoint_id, counts, day } = fact else { panic!("{fact:?}") };
            assert_eq!((tenant.as_str(), day.as_str()), ("acme", "2026-09-21"));
            usage.insert(endpoint_id.unwrap_or_default(), counts);
        }
    }
    usage
}

#[tokio::test(start_paused = true)]
async fn events_are_counted_for_the_tenant_and_deliveries_for_each_endpoint() {
    let fixture = Fixture::of(&acme(
        &json!([{"id": "crm"}, {"id": "bi"}, {"id": "idle"}]),
        &json!([
            {"id": "a", "endpoint_id": "crm", "event_types": ["*"]},
            {"id": "b", "endpoint_id": "bi", "event_types": ["ticket.*"]},
        ]),
    ));
    fixture.route(&received("e1")).await;
    fixture.route(&event("e2", &json!({"type": "ticket.created"}))).await;
    let counts = |events, deliveries| Counts { events, deliveries, ..Counts::default() };
    let expected = [("", counts(2, 0)), ("bi", counts(0, 1)), ("crm", counts(0, 2))];
    assert_eq!(usage(&fixture), expected.map(|(id, counts)| (id.to_owned(), counts)).into());
}

#[tokio::test(start_paused = true)]
async fn a_parked_message_is_counted_for_no_tenant() {
    let fixture = Fixture::of(&acme(&json!([]), &json!([])));
    fixture.route(&event("e1", &json!({"type": 7}))).await;
    assert_eq!(usage(&fixture), BTreeMap::new());
}

#[tokio::test(start_paused = true)]
async fn beyond_ten_times_its_quota_a_dead_letter_is_only_counted() {
    let fixture = Fixture::of(&acme(
        &json!([{"id": "flow", "format": "whaticket"}]),
        &json!([{"id": "a", "endpoint_id": "flow", "event_types": ["*"]}]),
    ));
    fixture.route(&growing("big")).await;
    let [record] = &fixture.memory.records(Log::Dead)[..] else { panic!("one dead letter") };
    let letter: DeadLetter = serde_json::from_str(record.message.headers.text(wire::RECORD).unwrap()).unwrap();
    assert!(letter.body_withheld && record.message.body.is_empty(), "it has no body to be replayed");

    fixture.retention.hear(BTreeMap::from([("acme".to_owned(), DeadLetterRetention::Counts)]), START);
    fixture.route(&growing("bigger")).await;
    assert_eq!(fixture.memory.records(Log::Dead).len(), 1);
    assert_eq!(fixture.metrics.dead_letters.with_label_values(&["too_large"]).get(), 2);
    assert_eq!(fixture.metrics.dead_letters_reduced.with_label_values(&["nothing"]).get(), 1);
    assert_eq!(usage(&fixture)["flow"], Counts { deliveries: 4, dead: 2, ..Counts::default() });
}
