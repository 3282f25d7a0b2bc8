//! Deliveries that come back in as events.

use schemas::{Finding, Notice, wire};

use super::fixture::{EVENTS, NOW, TestIntake, request};

const EVENT: &str = r#"{"type":"a.b"}"#;

#[tokio::test]
async fn an_event_is_known_by_how_many_deliveries_it_has_come_through() {
    let intake = TestIntake::new();
    let with = |hops: &str| request(EVENTS).header("authorization", "Bearer publisher's").header(wire::HOPS, hops);
    for hops in ["", "0", "-9", "many", "1", "3"] {
        assert_eq!(intake.send(with(hops), EVENT).await.status, 202, "{hops}");
    }
    assert_eq!(intake.send(request("/v1/in/t-main").header(wire::HOPS, "2"), "{}").await.status, 202);
    for hops in ["4", "99999999999999999999"] {
        assert_eq!(intake.send(with(hops), EVENT).await.code(), (422, "event_loop"));
        let webhook = request("/v1/in/t-main").header(wire::HOPS, hops);
        assert_eq!(intake.send(webhook, "{}").await.code(), (422, "event_loop"));
    }
    let published = intake.published().await;
    let hops: Vec<_> = published.iter().map(|incoming| incoming.message.headers.int(wire::HOPS)).collect();
    assert_eq!(hops, [None, None, None, None, Some(1), Some(3), Some(2)]);
    assert!(intake.counts("carteiro_events_refused_total{code=\"event_loop\"} 4"));
}

#[tokio::test]
async fn a_loop_is_told_once_for_each_source() {
    let intake = TestIntake::new();
    let webhook = |token: &str| request(&format!("/v1/in/{token}")).header(wire::HOPS, "4");
    for token in ["t-main", "t-shop", "t-main", "t-main"] {
        assert_eq!(intake.send(webhook(token), "{}").await.code(), (422, "event_loop"));
    }
    let looping = |source: &str| Finding::EventLoop { tenant: "acme".into(), source_id: Some(source.into()), at: NOW };
    let findings = vec![looping("main"), looping("shop")];
    assert_eq!(intake.outbox.report(NOW), [Notice::Findings { process: "p".into(), sequence: 1, findings }]);
    intake.outbox.noted("p", 1);
    intake.send(webhook("t-main"), "{}").await;
    assert!(intake.outbox.report(NOW).is_empty(), "the hour is the same");
    intake.elapsed_ms.store(3_600_000, std::sync::atomic::Ordering::Relaxed);
    intake.send(webhook("t-main"), "{}").await;
    assert_eq!(intake.outbox.report(NOW + 3_600_000).len(), 1);
}

#[tokio::test]
async fn a_request_without_a_key_is_not_told_to_the_tenant_that_it_names() {
    let intake = TestIntake::new();
    assert_eq!(intake.send(request(EVENTS).header(wire::HOPS, "4"), EVENT).await.code(), (401, "unauthorized"));
    assert!(intake.outbox.report(NOW).is_empty());
}
