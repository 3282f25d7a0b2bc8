//! Events that are larger than one of the processes or the broker would take by its own settings.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::harness::{Process, Rabbit, Receiver, Site, acme, ids};

/// Publishes an event of at least so many bytes. Returns the answer.
async fn publish(producer: &Process, bytes: usize) -> Response {
    let body = json!({"type": "ticket.created", "text": "x".repeat(bytes)}).to_string();
    let request = producer.api().request(Method::POST, "/v1/tenants/acme/events");
    request.header("content-type", "application/json").body(body).send().await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_as_large_as_its_producer_takes_is_delivered_whatever_the_others_would_take() {
    const LARGE: usize = 5 << 20;
    let receiver = Receiver::accepting().await;
    let site = Site::on_rabbitmq(&acme(&receiver.url("/crm"))).await;
    let producer = site.start_with("producer", &[("producer.max_event_bytes", "8388608")]).await;
    let others = [site.start("router").await, site.start("deliverer").await];
    for process in others.iter().chain([&producer]) {
        process.ready().await;
    }
    assert_eq!(publish(&producer, LARGE).await.status(), 202);
    receiver.until("it is delivered", |recorder| recorder.delivered("/crm") == 1).await;
    assert!(receiver.look(|recorder| recorder.requests("/crm")[0].body.len()) > LARGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_larger_than_the_broker_takes_is_refused_and_smaller_ones_are_accepted() {
    // Channels of 4.x read the limit from the persistent term.
    const LIMIT: &str =
        "application:set_env(rabbit, max_message_size, 100000), persistent_term:put(max_message_size, 100000).";
    let rabbit = Rabbit::start().await;
    rabbit.ctl(&["eval", LIMIT]).await;
    let receiver = Receiver::accepting().await;
    let site = Site::on(rabbit.url(), &acme(&receiver.url("/crm")));
    let standalone = site.start("standalone").await;
    standalone.ready().await;
    let answer = publish(&standalone, 200_000).await;
    assert_eq!(answer.status(), 413);
    let problem: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
    assert_eq!(problem["code"], "payload_too_large");
    let accepted = standalone.api().publish("acme", ids("small", 10)).await;
    receiver.until("the others arrive", |recorder| recorder.has_all("/crm", &accepted)).await;
}
