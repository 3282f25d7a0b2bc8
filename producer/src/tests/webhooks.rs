//! Vendors' webhooks over HTTP.

use std::{
    io,
    sync::{Arc, Mutex, atomic::Ordering},
};

use schemas::wire;
use serde_json::{Value, json};

use super::fixture::{EVENTS, TestIntake, request};

const BODY: &str = r#"{"event":"novidade","apiKey":"hunter2"}"#;

#[tokio::test]
async fn a_body_is_published_as_the_event_it_is() {
    let intake = TestIntake::new();
    let answer = intake.send(request("/v1/in/t-main"), BODY).await;
    assert_eq!(answer.status, 202);
    let published = intake.published().await;
    let [incoming] = &published[..] else { panic!("one was published") };
    assert_eq!(answer.body["id"], incoming.message.id.as_str());
    assert_eq!(incoming.message.headers.text(wire::TENANT), Some("acme"));
    assert_eq!(incoming.key, format!("acme.7.-.{}", incoming.message.kind));
    let envelope: Value = serde_json::from_slice(&incoming.message.body).unwrap();
    assert_eq!((&envelope["type"], &envelope["id"]), (&"vendor.unknown".into(), &answer.body["id"]));
    assert_eq!(envelope["original"], BODY);
    assert!(intake.counts("carteiro_events_received_total{source=\"whazing\"} 1"));
}

#[tokio::test]
async fn a_body_that_identifies_itself_keeps_its_id_when_it_is_sent_again() {
    let intake = TestIntake::new();
    let body = r#"{"event":"test","timestamp":"2025-07-18T17:30:22.114Z"}"#;
    let [first, again] =
        [intake.send(request("/v1/in/t-main"), body).await, intake.send(request("/v1/in/t-main"), body).await];
    assert_eq!(first.body["id"], again.body["id"]);
    let other = intake.send(request("/v1/in/t-shop"), body).await;
    assert_ne!(first.body, other.body, "another source");
}

#[tokio::test]
async fn both_tokens_of_a_rotated_source_are_masked_in_what_its_bodies_echo() {
    let intake = TestIntake::new();
    let body = include_str!("../../../tests/fixtures/vendor/whaticket-message.json");
    for token in ["t-young", "t-aged"] {
        let url = format!("https://hooks.example/v1/in/{token}");
        let body = body.replace("https://en16nq4b2guar.x.pipedream.net/", &url);
        assert!(body.contains(&url));
        assert_eq!(intake.send(request(&format!("/v1/in/{token}")), body).await.status, 202);
    }
    for incoming in intake.published().await {
        let envelope: Value = serde_json::from_slice(&incoming.message.body).unwrap();
        assert_eq!(envelope["channel"]["webhook_url"], "https://hooks.example/v1/in/***");
        assert!(!envelope.to_string().contains("t-aged"), "{envelope}");
    }
}

/// A message of a vendor that does not say when it was sent.
const MESSAGE: &str = r#"{"messageId":"A","ticket":{"id":1}}"#;

#[tokio::test]
async fn a_body_that_a_vendor_sends_again_later_is_a_repeat_also_when_it_tells_no_time() {
    let intake = TestIntake::new();
    let first = intake.send(request("/v1/in/t-main"), MESSAGE).await;
    assert_eq!((first.status, &first.body["repeated"]), (202, &Value::Null));
    intake.elapsed_ms.store(5_000, Ordering::Relaxed);
    let again = intake.send(request("/v1/in/t-main"), MESSAGE).await;
    assert_eq!((again.status, again.body), (202, json!({"id": first.body["id"], "repeated": true})));
    assert_eq!(intake.published().await.len(), 1);
}

#[tokio::test]
async fn a_body_whose_id_another_event_has_is_refused() {
    let id = TestIntake::new().send(request("/v1/in/t-main"), MESSAGE).await.body["id"].take();
    let intake = TestIntake::new();
    assert_eq!(intake.post(EVENTS, json!({"type": "a.b", "id": id}).to_string()).await.status, 202);
    let answer = intake.send(request("/v1/in/t-main"), MESSAGE).await;
    assert_eq!((answer.code(), answer.pointers()), ((409, "event_id_taken"), vec![""]));
    assert_eq!(intake.published().await.len(), 1);
}

#[tokio::test]
async fn an_unknown_token_is_not_found_after_one_look_and_never_quoted() {
    let intake = TestIntake::new();
    let answer = intake.send(request("/v1/in/hunter2"), BODY).await;
    assert_eq!((answer.code(), intake.store.pulls()), ((404, "not_found"), 1));
    assert!(!answer.body.to_string().contains("hunter2"));
    assert_eq!(intake.send(request("/v1/in/%ff"), BODY).await.code(), (404, "not_found"));
    assert!(intake.nothing_published());
}

#[tokio::test]
async fn a_source_that_is_new_is_found_by_looking_once_more() {
    let intake = TestIntake::new();
    assert_eq!(intake.send(request("/v1/in/t-new"), BODY).await.status, 202);
    assert_eq!(intake.send(request("/v1/in/t-new"), BODY).await.status, 202);
    assert_eq!(intake.store.pulls(), 1);
}

#[tokio::test]
async fn a_source_that_expects_a_key_takes_nothing_without_it() {
    let intake = TestIntake::new();
    let keyed = |key: &str| request("/v1/in/t-safe").header("X-N8N-API-KEY", key);
    assert_eq!(intake.send(request("/v1/in/t-safe"), BODY).await.code(), (401, "unauthorized"));
    assert_eq!(intake.send(keyed("wrong"), BODY).await.code(), (401, "unauthorized"));
    assert!(intake.nothing_published());
    assert_eq!(intake.send(keyed("k"), BODY).await.status, 202);
}

#[tokio::test]
async fn a_webhook_that_is_not_json_is_refused_without_quoting_it() {
    let intake = TestIntake::new();
    let answer = intake.send(request("/v1/in/t-main"), "hunter2").await;
    assert_eq!((answer.code(), answer.pointers()), ((422, "malformed_json"), vec![""]));
    assert!(!answer.body.to_string().contains("hunter2"));
    let form = axum::http::Request::post("/v1/in/t-main").header("content-type", "text/plain");
    assert_eq!(intake.send(form, BODY).await.code(), (415, "unsupported_media_type"));
}

/// What was logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_log_line_has_a_token_a_key_or_a_body() {
    let (intake, lines) = (TestIntake::new(), Lines::default());
    let writer = lines.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    let guard = tracing::subscriber::set_default(subscriber.finish());
    for (path, key, body) in [
        ("/v1/in/t-main", "hunter2", BODY),
        ("/v1/in/t-main", "hunter2", "hunter2"),
        ("/v1/in/t-safe", "hunter2", BODY),
        ("/v1/in/hunter2", "k", BODY),
    ] {
        intake.send(request(path).header("x-n8n-api-key", key), body).await;
    }
    drop(guard);
    let logged = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert_eq!(
        (logged.matches("events.accepted").count(), logged.matches("events.refused").count()),
        (1, 3),
        "{logged}"
    );
    assert!(!["hunter2", "t-main", "t-safe"].iter().any(|secret| logged.contains(secret)), "{logged}");
}
