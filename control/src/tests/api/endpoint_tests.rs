//! Tests of endpoints: what is sent, and what is answered.

use broker::{Broker as _, Lane, Queue, Settlement};
use schemas::{Attempt, Delivery, Notice};
use serde_json::{Value, json};

use super::Api;

const CRM: &str = "/v1/tenants/acme/endpoints/crm";

/// Acts as the deliverer: takes one delivery from the lane, and reports an attempt with this outcome.
async fn deliverer(api: &Api, outcome: &str) -> (Delivery, Value) {
    let mut consumer = api.broker.consume(Queue::Lane(Lane::Fast), 1.into());
    let incoming = consumer.next().await.expect("a delivery");
    let message = &incoming.message;
    let delivery = Delivery::from_message(message).expect("a delivery");
    let body = serde_json::from_slice(&message.body).expect("JSON");
    let attempt =
        json!({"number": 1, "at": "2026-11-21T08:00:00.000Z", "outcome": outcome, "status": null, "duration_ms": 5});
    let attempt: Attempt = serde_json::from_value(attempt).unwrap();
    // The report of another delivery comes first.
    for delivery_id in [uuid::Uuid::nil(), delivery.id] {
        api.broker.announce(Notice::Tested { delivery_id, attempt: attempt.clone() }.write().into());
    }
    incoming.settle(Settlement::Done);
    (delivery, body)
}

async fn with(format: &str, state: &str) -> Api {
    let api = Api::new();
    api.put(CRM, json!({"url": "https://crm.example/", "format": format, "state": state})).await.expect(201);
    api
}

#[tokio::test]
async fn the_answer_is_the_attempt_of_a_delivery_that_is_marked_as_a_test() {
    for format in ["whazing", "whaticket", "boticario", "original"] {
        let api = with(format, "disabled").await;
        let (answer, (delivery, body)) =
            tokio::join!(api.call("POST", format!("{CRM}/test")).send(), deliverer(&api, "blocked_ip"));
        let answer = answer.expect(200).body;
        assert_eq!((&answer["attempt"]["outcome"], &answer["attempt"]["number"]), (&json!("blocked_ip"), &json!(1)));
        assert!(delivery.is_test && delivery.attempt == 1);
        assert_eq!((delivery.endpoint_id.as_str(), delivery.event_type.as_str()), ("crm", "webhook.test"));
        let time = body["timestamp"].clone();
        assert_eq!(body, json!({"event": "test", "origin": "webhook-config", "timestamp": time}), "{format}");
        assert!(time.as_str().is_some_and(|time| time.ends_with('Z')), "{format}");
    }
}

#[tokio::test]
async fn a_canonical_endpoint_gets_an_event() {
    let api = with("canonical", "active").await;
    let (answer, (delivery, body)) =
        tokio::join!(api.call("POST", format!("{CRM}/test")).send(), deliverer(&api, "2xx"));
    answer.expect(200);
    assert_eq!((&body["type"], &body["id"]), (&json!("webhook.test"), &json!(delivery.event_id)));
}

#[tokio::test(start_paused = true)]
async fn a_test_without_an_attempt_in_time_answers_its_id_and_more_than_a_few_at_once_are_refused() {
    let api = with("canonical", "active").await;
    let ask = || api.call("POST", format!("{CRM}/test")).send();
    let (first, second, third, fourth, fifth) = tokio::join!(ask(), ask(), ask(), ask(), ask());
    for waits in [first, second, third, fourth] {
        assert!(waits.expect(202).body["delivery_id"].is_string());
    }
    assert_eq!(fifth.code(), (429, "too_many_requests"));
    ask().await.expect(202);
}

#[tokio::test]
async fn an_endpoint_is_tested_only_by_keys_that_may_change_it() {
    let api = with("canonical", "active").await;
    api.call("POST", "/v1/tenants/acme/endpoints/nobody/test").send().await.expect(404);
    api.call("POST", format!("{CRM}/test")).key("reader").send().await.expect(403);
    api.call("POST", format!("{CRM}/test")).key("zeta-all").send().await.expect(404);
    assert_eq!(api.broker.depth(Queue::Lane(Lane::Fast)), 0);
}

#[tokio::test]
async fn a_view_is_tested_at_its_endpoint_and_a_queue_at_its_integrations() {
    let api = Api::new();
    let (channel, bot) = ("/v1/tenants/acme/channels/7/webhook", "/v1/tenants/acme/integrations/bot");
    let queue = "/v1/tenants/acme/queues/12/integration";
    for view in [channel, bot] {
        api.put(view, json!({"url": "https://n8n.example/"})).await.expect(201);
    }
    api.put(queue, json!({"integration_id": "bot"})).await.expect(201);
    for (view, endpoint) in [(channel, "channel-7"), (bot, "integration-bot"), (queue, "integration-bot")] {
        let (answer, (delivery, _)) =
            tokio::join!(api.call("POST", format!("{view}/test")).send(), deliverer(&api, "2xx"));
        assert_eq!(answer.expect(200).body["attempt"]["outcome"], "2xx");
        assert!(delivery.is_test && delivery.endpoint_id == endpoint, "{delivery:?}");
        api.call("POST", format!("{view}/test")).key("reader").send().await.expect(403);
    }
}
