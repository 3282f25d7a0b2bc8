//! What is taken over from the router of the same process, and how it ends.

use broker::{SessionEnd, Settlement};
use bytes::Bytes;
use schemas::Delivery;
use serde_json::json;
use tokio::{sync::watch, task::JoinHandle};

use super::{
    fixture::{BODY, FAST, Fixture, SLOW, delivery, message, read},
    scripted::{Act, LONG, Scripted, answer},
};

const CLOSE: &str = "connection: close\r\n";

impl Fixture {
    fn offer(&self, delivery: &Delivery) -> Option<JoinHandle<Settlement>> {
        self.deliverer.direct().offer(delivery, &Bytes::from(BODY), &SessionEnd::default())
    }

    fn is_prompt(&self, delivery: &Delivery) -> bool {
        self.deliverer.direct().is_prompt(delivery, &Bytes::from(BODY))
    }

    /// Delivers one event over the fast lane, so that the endpoint is known to answer.
    async fn known(&self, receiver: &mut Scripted) {
        self.publish(&message(&delivery("known"))).await;
        receiver.request().await;
        self.empty(FAST).await;
    }
}

/// A receiver whose second request is answered once `given`, and a fixture that waits for it.
async fn held(given: watch::Receiver<bool>) -> (Scripted, Fixture) {
    let held = vec![Act::Listen, Act::Wait(given), Act::say("HTTP/1.1 204 No\r\nconnection: close\r\n\r\n")];
    let mut receiver = Scripted::new(vec![answer(204, CLOSE, ""), held]).await;
    let config = crate::DelivererConfig { first_byte_timeout: schemas::Span(LONG), ..super::config() };
    let fixture = Fixture::with(&json!([{"id": "crm", "url": receiver.url()}]), &config);
    fixture.known(&mut receiver).await;
    (receiver, fixture)
}

async fn settled(attempt: JoinHandle<Settlement>) -> Settlement {
    tokio::time::timeout(LONG, attempt).await.expect("an end").expect("no panic")
}

#[tokio::test]
async fn a_delivery_to_an_endpoint_that_answers_is_posted_without_the_broker() {
    let mut receiver = Scripted::answering(204).await;
    let mut fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url()}]));
    fixture.known(&mut receiver).await;
    let attempt = fixture.offer(&delivery("e1")).expect("it is taken over");
    assert_eq!(settled(attempt).await, Settlement::Done);
    let request = receiver.request().await;
    assert_eq!((request.header("webhook-id"), request.body.as_slice()), (Some("e1"), BODY.as_bytes()));
    assert!(fixture.nothing_published());
    assert_eq!(fixture.metrics.attempts.with_label_values(&["2xx", "direct"]).get(), 1);
}

#[tokio::test]
async fn an_endpoint_that_this_process_has_not_posted_to_gets_nothing_directly() {
    let mut receiver = Scripted::answering(204).await;
    let fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url()}]));
    assert!(fixture.offer(&delivery("e1")).is_none());
    fixture.known(&mut receiver).await;
    assert!(fixture.offer(&delivery("e1")).is_some());
}

#[tokio::test]
async fn a_delivery_answered_503_waits_in_the_slow_lane_before_it_is_settled() {
    let scripts = vec![answer(204, CLOSE, ""), answer(503, CLOSE, "")];
    let mut receiver = Scripted::new(scripts).await;
    let mut fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url()}]));
    fixture.known(&mut receiver).await;
    let attempt = fixture.offer(&delivery("e1")).expect("it is taken over");
    assert_eq!(settled(attempt).await, Settlement::Done);
    let (_, retry) = fixture.retry().await;
    assert_eq!((read(&retry).attempt, fixture.memory.depth(SLOW)), (2, 1));
}

#[tokio::test]
async fn a_delivery_answered_410_is_a_dead_letter_before_it_is_settled() {
    let scripts = vec![answer(204, CLOSE, ""), answer(410, CLOSE, "")];
    let mut receiver = Scripted::new(scripts).await;
    let mut fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url()}]));
    fixture.known(&mut receiver).await;
    let attempt = fixture.offer(&delivery("e1")).expect("it is taken over");
    assert_eq!(settled(attempt).await, Settlement::Done);
    let (record, letter) = fixture.dead_letter().await;
    assert_eq!((record.event_id.as_str(), letter.body), ("e1", Bytes::from(BODY)));
}

#[tokio::test]
async fn an_endpoint_that_took_longer_than_a_second_gets_nothing_directly() {
    let (signal, given) = watch::channel(false);
    let (mut receiver, fixture) = held(given).await;
    let attempt = fixture.offer(&delivery("e1")).expect("it is taken over");
    receiver.request().await;
    super::fixture::eventually(|| !fixture.is_prompt(&delivery("e2"))).await;
    signal.send(true).expect("it waits");
    assert_eq!(settled(attempt).await, Settlement::Done);
    assert!(fixture.offer(&delivery("e2")).is_none(), "not before the next one was quick");
}

#[tokio::test]
async fn a_large_body_takes_its_lane() {
    let mut receiver = Scripted::answering(204).await;
    let fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url()}]));
    fixture.known(&mut receiver).await;
    let body = Bytes::from(vec![b'x'; (64 << 10) + 1]);
    assert!(fixture.deliverer.direct().offer(&delivery("e1"), &body, &SessionEnd::default()).is_none());
}

#[tokio::test]
async fn what_was_delivered_here_is_not_taken_over_again() {
    let mut receiver = Scripted::answering(204).await;
    let fixture = Fixture::of(&json!([{"id": "crm", "url": receiver.url()}]));
    fixture.known(&mut receiver).await;
    assert!(fixture.offer(&delivery("known")).is_none());
}

#[tokio::test]
async fn a_stopping_deliverer_takes_nothing_over_and_finishes_what_it_has() {
    let (signal, given) = watch::channel(false);
    let (mut receiver, fixture) = held(given).await;
    let attempt = fixture.offer(&delivery("e1")).expect("it is taken over");
    receiver.request().await;
    fixture.ask_to_stop();
    assert!(fixture.offer(&delivery("e2")).is_none());
    signal.send(true).expect("it waits");
    fixture.stopped().await;
    assert!(attempt.is_finished());
}
