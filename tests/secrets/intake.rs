//! Events and webhooks that are accepted and refused, over HTTP and over AMQP.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::fixture::Fixture;
use crate::harness::{AmqpClient, AmqpMessage};

const EVENTS: &str = "/v1/tenants/acme/events";
const JSON: (&str, &str) = ("content-type", "application/json");

impl Fixture {
    /// A canonical event with sentinels in its fields.
    pub(super) fn event(&self) -> Value {
        let secrets = &self.secrets;
        json!({
            "type": "message.received",
            "ticket": {"id": 1003, "api_config": {"token": secrets.api_config}},
            "contact": {"id": 88, "name": secrets.name, "number": secrets.number},
            "message": {"id": "3EB0", "direction": "inbound", "text": secrets.text},
        })
    }

    /// A vendor's body with sentinels in its fields.
    fn vendors(&self) -> String {
        let fixture = include_str!("../fixtures/vendor/whazing-channel-message.json");
        let mut body: Value = serde_json::from_str(fixture).expect("JSON");
        body["messageBody"] = self.secrets.text.as_str().into();
        body["contact"]["name"] = self.secrets.name.as_str().into();
        body["contact"]["phoneNumber"] = self.secrets.number.as_str().into();
        body["ticket"]["apiConfig"] = json!({"token": self.secrets.api_config});
        body.to_string()
    }

    fn canonical(&self, body: String) -> RequestBuilder {
        self.canonical_by(&self.key, body)
    }

    fn canonical_by(&self, key: &str, body: String) -> RequestBuilder {
        let post = self.producer().anonymous(Method::POST, EVENTS).bearer_auth(key);
        post.header(JSON.0, JSON.1).body(body)
    }

    fn webhook(&self, path: &str, key: &str, body: String) -> RequestBuilder {
        let post = self.producer().anonymous(Method::POST, path).header("x-n8n-api-key", key);
        post.header(JSON.0, JSON.1).body(body)
    }

    /// Publishes two events in each way. Returns how many.
    pub(super) async fn take_in(&self) -> usize {
        let strange = json!({"strange": [self.secrets.text, self.secrets.name]}).to_string();
        let good = [
            self.canonical(self.event().to_string()),
            self.canonical(json!({"events": [self.event()]}).to_string()),
            self.webhook(&self.webhook_path, &self.secrets.sender, self.vendors()),
            self.webhook(
                &format!("{}?token={}", self.webhook_path, self.secrets.guessed),
                &self.secrets.sender,
                strange,
            ),
        ];
        let count = good.len();
        for request in good {
            assert_eq!(request.send().await.expect("it answers").status().as_u16(), 202);
        }
        count
    }

    /// Sends requests that are refused.
    pub(super) async fn refuse_intake(&mut self) {
        let (text, guessed) = (self.secrets.text.clone(), self.secrets.guessed.clone());
        let wrong_type = json!({"type": "message.received", "message": text}).to_string();
        let batch = json!({"events": [self.event(), {"type": text}, {"type": "a.b", "id": format!("an id {text}")}]});
        let large = json!({"type": "ticket.created", "text": text.repeat(100_000)}).to_string();
        let (webhook_path, sender, vendors) = (self.webhook_path.clone(), self.secrets.sender.clone(), self.vendors());
        let requests = [
            ("torn", 422, self.canonical(format!("{{\"type\":\"ticket.created\",\"text\":\"{text}"))),
            ("no type", 422, self.canonical(json!({"text": text}).to_string())),
            ("a wrong type", 422, self.canonical(wrong_type)),
            ("a batch with wrong ones", 422, self.canonical(batch.to_string())),
            ("too large", 413, self.canonical(large.clone())),
            ("compressed", 415, self.canonical(text.clone()).header("content-encoding", "gzip")),
            ("a guessed key", 401, self.canonical_by(&guessed, self.event().to_string())),
            ("a guessed token", 404, self.webhook(&format!("/v1/in/{guessed}"), &sender, vendors.clone())),
            ("a sender's wrong key", 401, self.webhook(&webhook_path, &guessed, vendors)),
            ("a vendor's torn body", 422, self.webhook(&webhook_path, &sender, format!("{{\"messageBody\":\"{text}"))),
            ("a vendor's large body", 413, self.webhook(&webhook_path, &sender, large)),
            ("another method", 405, self.producer().anonymous(Method::PUT, &webhook_path).body(text.clone())),
            (
                "nothing that is there",
                404,
                self.producer().anonymous(Method::POST, &format!("{webhook_path}/{guessed}")),
            ),
        ];
        for (name, status, request) in requests {
            self.refused(name, status, request).await;
        }
    }

    /// Publishes on the broker: two valid events, and some messages that are parked. Returns the numbers of both.
    pub(super) async fn publish(&self, amqp: &AmqpClient) -> (usize, usize) {
        let (event, text) = (self.event().to_string(), &self.secrets.text);
        let key = "acme.-.-.message.received";
        let torn = format!("{{\"type\":\"ticket.created\",\"text\":\"{text}");
        let no_event = json!({"type": text, "message": text}).to_string();
        let wrong_type = json!({"type": "message.received", "message": text}).to_string();
        let another = json!({"id": "another", "type": "message.received", "message": {"text": text}}).to_string();
        let good = AmqpMessage { key, id: Some("good-1"), tenant: None, body: event.as_bytes() };
        let messages = [
            good,
            AmqpMessage { id: Some("good-2"), tenant: Some("acme"), ..good },
            AmqpMessage { id: Some("torn"), body: torn.as_bytes(), ..good },
            AmqpMessage { id: Some("no-event"), body: no_event.as_bytes(), ..good },
            AmqpMessage { id: Some("wrong-type"), body: wrong_type.as_bytes(), ..good },
            AmqpMessage { id: Some("an-id"), body: another.as_bytes(), ..good },
            AmqpMessage { id: None, ..good },
            AmqpMessage { id: Some("of-another"), tenant: Some("another"), ..good },
            AmqpMessage { id: Some("of-nobody"), key: "nobody.-.-.message.received", ..good },
        ];
        for message in &messages {
            amqp.publish(message).await;
        }
        (2, messages.len() - 2)
    }
}
