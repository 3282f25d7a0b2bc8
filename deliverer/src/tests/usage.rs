//! What a deliverer reports to control: the usage of tenants, and endpoints that are gone.

use schemas::{Counts, Delivery, Finding, Notice};
use serde_json::json;

use super::{
    fixture::{BODY, FAST, Fixture, START, delivery, message},
    scripted::{Scripted, answer},
};

/// The findings that are to be reported.
fn findings(fixture: &Fixture) -> Vec<Finding> {
    let findings = fixture.outbox.report(START).into_iter().flat_map(|notice| match notice {
        Notice::Findings { findings, .. } => findings,
        other => panic!("{other:?}"),
    });
    findings.collect()
}

fn usage(counts: Counts) -> Finding {
    let endpoint_id = Some("crm".to_owned());
    Finding::Usage { tenant: "acme".into(), endpoint_id, day: "2026-09-21".into(), counts }
}

#[tokio::test]
async fn attempts_and_how_deliveries_end_are_counted_for_their_endpoint() {
    let close = "connection: close\r\n";
    let receiver = Scripted::new(vec![answer(200, close, ""), answer(503, close, ""), answer(500, close, "")]).await;
    let retry = json!({"schedule": ["5s"], "max_age": "72h"});
    let mut fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url(), "retry": retry}]));
    fixture.publish(&message(&delivery("e1"))).await;
    fixture.empty(FAST).await;
    fixture.publish(&message(&delivery("e2"))).await;
    fixture.retry().await;
    fixture.publish(&message(&Delivery { attempt: 2, ..delivery("e3") })).await;
    fixture.dead_letter().await;
    fixture.empty(FAST).await;
    let bytes = 3 * BODY.len() as u64;
    assert_eq!(findings(&fixture), [usage(Counts { attempts: 3, delivered: 1, dead: 1, bytes, ..Counts::default() })]);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_ends_without_an_attempt_is_counted_as_dead() {
    let mut fixture = Fixture::of(&json!([{"id": "crm", "url": "http://127.0.0.1:1/", "state": "disabled"}]));
    fixture.publish(&message(&delivery("e1"))).await;
    fixture.dead_letter().await;
    fixture.empty(FAST).await;
    assert_eq!(findings(&fixture), [usage(Counts { dead: 1, ..Counts::default() })]);
}

#[tokio::test]
async fn an_endpoint_that_answered_410_is_reported_with_the_version_that_did() {
    let receiver = Scripted::new(vec![answer(410, "connection: close\r\n", "")]).await;
    let mut fixture = Fixture::of(&json!([]));
    fixture.set_endpoints_at_revision(7, &json!([{"id": "crm", "url": receiver.url()}]));
    fixture.publish(&message(&delivery("e1"))).await;
    fixture.dead_letter().await;
    fixture.empty(FAST).await;
    let gone = Finding::Gone { tenant: "acme".into(), endpoint_id: "crm".into(), version: Some(7) };
    assert!(findings(&fixture).contains(&gone));
}
