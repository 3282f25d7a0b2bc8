//! A tenant that may bring in two events a second.

use std::time::Duration;

use schemas::{Finding, Notice, QuotaName};

use super::fixture::{Answer, NOW, TestIntake, request};

const EVENT: &str = r#"{"type":"a.b"}"#;

async fn slow(intake: &TestIntake, body: &str) -> Answer {
    let request = request("/v1/tenants/slow/events").header("authorization", "Bearer slow's");
    intake.send(request, body.to_owned()).await
}

fn batch(events: usize) -> String {
    format!(r#"{{"events":[{}]}}"#, vec![EVENT; events].join(","))
}

#[tokio::test(start_paused = true)]
async fn beyond_its_quota_a_tenant_is_told_when_to_come_back_and_nothing_is_published() {
    let intake = TestIntake::new();
    assert_eq!(slow(&intake, EVENT).await.status, 202);
    let whatever = intake.send(request("/v1/in/t-slow"), r#"{"event":"test","timestamp":"x"}"#).await;
    assert_eq!(whatever.status, 202, "a vendor's event is one as well");
    let answer = slow(&intake, EVENT).await;
    assert_eq!((answer.code(), answer.retry_after.as_deref()), ((429, "too_many_requests"), Some("1")));
    assert_eq!(intake.send(request("/v1/in/t-slow"), "{}").await.code(), (429, "too_many_requests"));
    assert_eq!(intake.published().await.len(), 2);
    assert_eq!(intake.post("/v1/tenants/acme/events", EVENT).await.status, 202, "another tenant has no part in it");
    tokio::time::advance(Duration::from_millis(500)).await;
    assert_eq!(slow(&intake, EVENT).await.status, 202);
}

#[tokio::test(start_paused = true)]
async fn a_batch_counts_as_its_events_and_is_never_too_large() {
    let intake = TestIntake::new();
    assert_eq!(slow(&intake, &batch(9)).await.status, 202);
    let answer = slow(&intake, EVENT).await;
    assert_eq!((answer.status, answer.retry_after.as_deref()), (429, Some("4")), "nine are paid for first");
    tokio::time::advance(Duration::from_secs(4)).await;
    assert_eq!(slow(&intake, &batch(2)).await.status, 429);
    assert_eq!(slow(&intake, EVENT).await.status, 202);
}

#[tokio::test(start_paused = true)]
async fn that_a_quota_bit_is_told_once() {
    let intake = TestIntake::new();
    for _ in 0..5 {
        slow(&intake, EVENT).await;
    }
    let reached =
        Finding::QuotaReached { tenant: "slow".into(), quota: QuotaName::EventsPerSecond, limit: 2.0, at: NOW };
    let told = intake.outbox.report(NOW);
    assert_eq!(told, [Notice::Findings { process: "p".into(), sequence: 1, findings: vec![reached] }]);
    intake.outbox.noted("p", 1);
    slow(&intake, EVENT).await;
    assert!(intake.outbox.report(NOW).is_empty(), "the hour is the same");
}
