//! Deliveries that the test button made.

use broker::{Broker, Notices};
use schemas::{Attempt, Delivery, Notice, OutcomeClass};
use serde_json::json;

use tokio::sync::watch;

use super::{
    fixture::{FAST, Fixture, delivery, eventually, message},
    scripted::{Act, LONG, Scripted, answer},
};

/// A delivery that the test button made.
fn test_delivery() -> Delivery {
    Delivery { is_test: true, ..delivery("e1") }
}

/// The attempt that is announced for the test delivery.
async fn announced(notices: &mut Notices) -> Attempt {
    let tested = async {
        loop {
            match Notice::read(&notices.next().await.expect("a broker")) {
                Some(Notice::Tested { delivery_id, attempt }) => {
                    assert_eq!(delivery_id, test_delivery().id);
                    return attempt;
                }
                _ => continue,
            }
        }
    };
    tokio::time::timeout(LONG, tested).await.expect("an announcement")
}

#[tokio::test]
async fn a_test_is_attempted_once_announced_and_forgotten_however_it_went() {
    for status in [200, 410, 503] {
        let mut receiver = Scripted::new(vec![answer(status, "retry-after: 1\r\nconnection: close\r\n", "why")]).await;
        let mut fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url()}]));
        let mut notices = fixture.memory.notices();
        fixture.publish(&message(&test_delivery())).await;
        let attempt = announced(&mut notices).await;
        assert_eq!((attempt.number, attempt.status, attempt.next_due), (1, Some(status), None));
        assert_eq!(attempt.response_excerpt.as_deref(), Some("why"));
        assert_eq!(receiver.request().await.header("carteiro-attempt"), Some("1"));
        fixture.empty(FAST).await;
        assert!(fixture.nothing_published(), "no retry, no dead letter");
        fixture.publish(&message(&delivery("e2"))).await;
        assert_eq!(receiver.request().await.header("webhook-id"), Some("e2"), "a 410 to a test disables nothing");
    }
}

#[tokio::test]
async fn a_tenant_has_a_few_tests_in_hand_at_most_and_further_ones_are_dropped() {
    let (signal, given) = watch::channel(false);
    let script = [vec![Act::Listen, Act::Wait(given)], answer(200, "connection: close\r\n", "")[1..].to_vec()].concat();
    let mut receiver = Scripted::new(vec![script]).await;
    let fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url()}]));
    let mut notices = fixture.memory.notices();
    for _ in 0..50 {
        fixture.publish(&message(&test_delivery())).await;
    }
    for _ in 0..16 {
        receiver.request().await;
    }
    eventually(|| fixture.memory.depth(FAST) == 16).await;
    assert_eq!(receiver.connections(), 16);
    signal.send(true).unwrap();
    fixture.empty(FAST).await;
    for _ in 0..16 {
        announced(&mut notices).await;
    }
    fixture.publish(&message(&test_delivery())).await;
    announced(&mut notices).await;
}

#[tokio::test]
async fn a_disabled_or_paused_endpoint_can_be_tested_and_is_not_delivered_to() {
    for state in ["disabled", "paused"] {
        let mut receiver = Scripted::answering(200).await;
        let mut fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url(), "state": state}]));
        let mut notices = fixture.memory.notices();
        fixture.publish(&message(&test_delivery())).await;
        assert_eq!(announced(&mut notices).await.outcome, OutcomeClass::Success, "{state}");
        receiver.request().await;
        fixture.publish(&message(&delivery("e2"))).await;
        fixture.published().await;
        fixture.empty(FAST).await;
        assert_eq!(receiver.connections(), 1, "{state}");
    }
}

#[tokio::test]
async fn a_forbidden_address_is_announced_with_the_reason() {
    let receiver = Scripted::answering(200).await;
    let mut fixture = Fixture::guarded(&json!([{"id": "crm", "url": receiver.url()}]));
    let mut notices = fixture.memory.notices();
    fixture.publish(&message(&test_delivery())).await;
    let attempt = announced(&mut notices).await;
    assert_eq!((attempt.outcome, attempt.status), (OutcomeClass::BlockedIp, None));
    assert_eq!(attempt.response_excerpt.as_deref(), Some("the address is not allowed"));
    assert_eq!(receiver.connections(), 0);
    fixture.empty(FAST).await;
    assert!(fixture.nothing_published());
}

#[tokio::test]
async fn a_test_of_an_endpoint_that_was_deleted_meanwhile_leaves_nothing() {
    let mut fixture = Fixture::without_snapshot(&super::config());
    fixture.set_endpoints_at_revision(5, &json!([]));
    fixture.publish(&message(&test_delivery())).await;
    fixture.empty(FAST).await;
    assert!(fixture.nothing_published());
}
