//! How many events a second a tenant may bring in: its quota, here two of the tenant `slow`, and its share while others wait.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use schemas::{Finding, Notice, QuotaName};

use super::fixture::{Answer, EVENTS, NOW, TestIntake, request};

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
async fn a_body_that_is_no_json_counts_as_no_event_and_an_invalid_event_as_one() {
    let intake = TestIntake::new();
    for body in ["", "[]", r#"{"type":"a.b"} {}"#, r#"{"type":"a.b""#, r#"{"events":[1}"#] {
        assert_eq!(slow(&intake, body).await.code(), (422, "malformed_json"), "{body}");
    }
    assert_eq!(slow(&intake, r#"{"type":"a"}"#).await.code(), (422, "invalid_event"));
    assert_eq!(slow(&intake, EVENT).await.status, 202);
    assert_eq!(slow(&intake, r#"{"type":"a"}"#).await.code(), (429, "too_many_requests"));
    assert_eq!(slow(&intake, "[]").await.code(), (422, "malformed_json"));
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

fn announce(intake: &TestIntake, shares: &[(&str, f64)], at: u64) {
    let shares: BTreeMap<_, _> = shares.iter().map(|(tenant, share)| ((*tenant).to_owned(), *share)).collect();
    intake.event_shares.hear("router".to_owned(), shares, at);
}

#[tokio::test(start_paused = true)]
async fn beyond_its_share_a_tenant_is_told_that_others_wait_and_that_it_is_no_quota() {
    let intake = TestIntake::new();
    announce(&intake, &[("acme", 2.0)], NOW);
    for _ in 0..2 {
        assert_eq!(intake.post(EVENTS, EVENT).await.status, 202);
    }
    let answer = intake.post(EVENTS, EVENT).await;
    assert_eq!((answer.code(), answer.retry_after.as_deref()), ((429, "too_many_requests"), Some("1")));
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(detail.contains("2.0 events a second, which is its share and no quota; nothing was published"), "{detail}");
    assert_eq!(intake.send(request("/v1/in/t-main"), "{}").await.code(), (429, "too_many_requests"));
    assert_eq!(intake.published().await.len(), 2);
    let zeta = || request("/v1/tenants/zeta/events").header("authorization", "Bearer zeta's");
    for _ in 0..9 {
        assert_eq!(intake.send(zeta(), EVENT).await.status, 202, "a tenant below its share is not announced");
    }
    tokio::time::advance(Duration::from_millis(500)).await;
    assert_eq!(intake.post(EVENTS, EVENT).await.status, 202);
    assert!(intake.outbox.report(NOW).is_empty(), "no quota was reached");
}

#[tokio::test(start_paused = true)]
async fn a_share_that_is_over_leaves_no_wait_behind() {
    let intake = TestIntake::new();
    announce(&intake, &[("acme", 2.0)], NOW);
    assert_eq!(intake.post(EVENTS, batch(1_000)).await.status, 202, "a batch is never too large");
    assert_eq!(intake.post(EVENTS, EVENT).await.status, 429);
    announce(&intake, &[], NOW);
    assert_eq!(intake.post(EVENTS, batch(1_000)).await.status, 202);
    announce(&intake, &[("acme", 2.0)], NOW);
    assert_eq!(intake.post(EVENTS, EVENT).await.status, 429);
    intake.elapsed_ms.store(3_001, Ordering::Relaxed);
    assert_eq!(intake.post(EVENTS, EVENT).await.status, 202, "no router has said so for three seconds");
}

#[tokio::test(start_paused = true)]
async fn what_a_tenant_has_beyond_a_small_share_does_not_outlast_it() {
    let intake = TestIntake::new();
    announce(&intake, &[("acme", 1.0)], NOW);
    assert_eq!(intake.post(EVENTS, batch(1_000)).await.status, 202);
    let answer = intake.post(EVENTS, EVENT).await;
    assert_eq!((answer.status, answer.retry_after.as_deref()), (429, Some("3")), "shares are soon measured anew");
    announce(&intake, &[("acme", 1_200.0)], NOW);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(intake.post(EVENTS, batch(200)).await.status, 202);
    assert_eq!(intake.post(EVENTS, batch(200)).await.status, 429, "the batch is owed still");
}

#[tokio::test(start_paused = true)]
async fn what_the_quota_refuses_uses_nothing_of_the_share() {
    let intake = TestIntake::new();
    assert_eq!(slow(&intake, &batch(2)).await.status, 202);
    announce(&intake, &[("slow", 1.0)], NOW);
    assert_eq!(slow(&intake, &batch(1_000)).await.status, 429);
    tokio::time::advance(Duration::from_millis(500)).await;
    assert_eq!(slow(&intake, EVENT).await.status, 202);
}

#[tokio::test(start_paused = true)]
async fn a_quota_stays_hard_whatever_the_share() {
    let intake = TestIntake::new();
    announce(&intake, &[("slow", 1_000.0)], NOW);
    let answers = [slow(&intake, EVENT).await, slow(&intake, EVENT).await, slow(&intake, EVENT).await];
    assert_eq!(answers.map(|answer| answer.status), [202, 202, 429]);
}

#[tokio::test(start_paused = true)]
async fn a_share_is_never_less_than_one_event_a_second() {
    let intake = TestIntake::new();
    for share in [0.0, 0.001] {
        announce(&intake, &[("acme", share)], NOW);
        assert_eq!(intake.post(EVENTS, EVENT).await.status, 202);
        assert_eq!(intake.post(EVENTS, EVENT).await.retry_after.as_deref(), Some("1"));
        tokio::time::advance(Duration::from_secs(1)).await;
    }
}
