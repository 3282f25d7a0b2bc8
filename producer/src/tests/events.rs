//! Canonical events over HTTP: what is published, what is refused, and how that is said.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use schemas::{HeaderValue, wire};
use serde_json::json;

use super::fixture::{EVENTS, NOW, OPERATOR, TestIntake, request};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test]
async fn an_event_is_published_byte_for_byte_under_its_id_type_and_key() {
    let intake = TestIntake::new();
    let text = " {\"type\" : \"message.received\",\n\"id\":\"E-1\", \"channel\":{\"id\":7.0e0},\"x\":1.00} ";
    assert_eq!(intake.post(EVENTS, text).await.code(), (422, "invalid_event"), "a channel's id is no 7.0e0");

    let text = text.replace("7.0e0", "7");
    let answer = intake.post(EVENTS, text.clone()).await;
    assert_eq!((answer.status, answer.body), (202, json!({"accepted": [{"id": "E-1"}]})));
    let published = intake.published().await;
    let [incoming] = &published[..] else { panic!("one was published") };
    assert_eq!(incoming.message.body, text.as_bytes());
    assert_eq!((incoming.message.id.as_str(), incoming.message.kind.as_str()), ("E-1", "message.received"));
    assert_eq!(incoming.key, "acme.7.-.message.received");
    let mut headers: Vec<_> = incoming.message.headers.iter().collect();
    headers.sort_by_key(|(name, _)| *name);
    let expected = [
        (wire::ACCEPTED_AT, &HeaderValue::Int(NOW as i64)),
        (wire::REVISION, &HeaderValue::Int(1)),
        (wire::SCHEMA, &HeaderValue::Int(1)),
        (wire::TENANT, &HeaderValue::Text("acme".into())),
    ];
    assert_eq!(headers, expected);
    assert!(intake.counts("carteiro_events_received_total{source=\"canonical\"} 1"));
    assert!(intake.counts("carteiro_intake_requests_in_flight 0"));
}

#[tokio::test]
async fn an_event_is_the_same_in_however_many_chunks_it_comes() {
    const EVENT: &str = r#"{"type":"message.received","id":"E-1","message":{"text":"olá"}}"#;
    let intake = TestIntake::new();
    for size in [1, 7, EVENT.len() - 1, EVENT.len()] {
        let chunks = EVENT.as_bytes().chunks(size).map(|chunk| Ok::<_, std::io::Error>(Bytes::from_static(chunk)));
        let answer = intake.post(EVENTS, Body::from_stream(stream::iter(chunks.collect::<Vec<_>>()))).await;
        assert_eq!(answer.status, 202, "{size}: {}", answer.body);
    }
    let published = intake.published().await;
    assert_eq!(published.iter().map(|incoming| &incoming.message.body[..]).collect::<Vec<_>>(), [EVENT.as_bytes()]);
}

#[tokio::test]
async fn an_event_without_an_id_gets_a_fresh_one_and_stays_as_it_is() {
    let intake = TestIntake::new();
    let answer = intake.post(EVENTS, r#"{"type":"ticket.created"}"#).await;
    let published = intake.published().await;
    let message = &published[0].message;
    assert_eq!(answer.body["accepted"][0]["id"], message.id.as_str());
    assert_eq!((message.id.len(), message.id.as_bytes()[14]), (36, b'7'), "a UUIDv7");
    assert_eq!(&message.body[..], br#"{"type":"ticket.created"}"#);
}

#[tokio::test]
async fn a_well_formed_trace_context_travels_along() {
    let intake = TestIntake::new();
    let traced = || request(EVENTS).header("authorization", "Bearer publisher's").header("tracestate", "a=b");
    intake.send(traced().header("traceparent", PARENT), r#"{"type":"a.b"}"#).await;
    intake.send(traced().header("traceparent", "nonsense"), r#"{"type":"a.b"}"#).await;
    let published = intake.published().await;
    let traces = published.iter().map(|incoming| {
        let headers = &incoming.message.headers;
        (headers.text(wire::TRACEPARENT), headers.text(wire::TRACESTATE))
    });
    assert_eq!(traces.collect::<Vec<_>>(), [(Some(PARENT), Some("a=b")), (None, None)]);
}

#[tokio::test]
async fn a_batch_is_answered_in_its_order() {
    let intake = TestIntake::new();
    let answer =
        intake.post(EVENTS, r#"{"events":[{"type":"a.b","id":"1"}, {"type":"a.c"},{"id":"3","type":"a.d"}]}"#).await;
    assert_eq!(answer.status, 202);
    let published = intake.published().await;
    let ids: Vec<_> = published.iter().map(|incoming| json!({"id": incoming.message.id})).collect();
    assert_eq!(answer.body["accepted"], json!(ids));
    assert_eq!(&published[1].message.body[..], br#"{"type":"a.c"}"#);
    assert_eq!(intake.post(EVENTS, r#"{"events":[]}"#).await.body, json!({"accepted": []}));
}

#[tokio::test]
async fn one_invalid_event_refuses_its_whole_batch_and_all_are_named() {
    let intake = TestIntake::new();
    let body =
        r#"{"events":[{"type":"a.b"},{"type":"A"},3,{"type":"a.b","ticket":{"id":true}},{"id":"a b","type":"a.b"}]}"#;
    let answer = intake.post(EVENTS, body).await;
    assert_eq!(answer.code(), (422, "invalid_event"));
    assert_eq!(answer.pointers(), ["/events/1/type", "/events/2", "/events/3/ticket/id", "/events/4/id"]);
    assert!(intake.nothing_published());
    assert!(intake.counts("carteiro_events_refused_total{code=\"invalid_event\"} 1"));
}

#[tokio::test]
async fn at_most_a_hundred_mistakes_are_listed() {
    let intake = TestIntake::new();
    let answer = intake.post(EVENTS, format!("{{\"events\":[{}]}}", vec!["{}"; 150].join(","))).await;
    assert_eq!(answer.pointers().len(), 100);
    let detail = answer.body["detail"].as_str().unwrap();
    assert_eq!(detail, "150 of 150 events are not valid, nothing was published; the first 100 are listed");
}

#[tokio::test]
async fn a_body_that_is_not_json_is_located_and_not_quoted() {
    let intake = TestIntake::new();
    let answer = intake.post(EVENTS, "{\"type\":\"a.b\",\n\"hunter2\" 5}").await;
    assert_eq!(answer.code(), (422, "malformed_json"));
    assert_eq!(answer.pointers(), [""]);
    let text = answer.body.to_string();
    assert!(text.contains("line 2 column 11") && !text.contains("hunter2"), "{text}");
    assert_eq!(intake.post(EVENTS, "").await.code(), (422, "malformed_json"));
    assert_eq!(intake.post(EVENTS, "[]").await.code(), (422, "malformed_json"));
}

#[tokio::test]
async fn a_wrong_value_is_not_quoted() {
    let intake = TestIntake::new();
    for wrong in
        [r#"{"is_group":"hunter2"}"#, r#"{"tags":"hunter2, expected hunter2"}"#, r#"{"unread_messages":"hunter2"}"#]
    {
        let answer = intake.post(EVENTS, format!(r#"{{"type":"a.b","ticket":{wrong}}}"#)).await;
        assert_eq!(answer.code(), (422, "invalid_event"));
        let text = answer.body.to_string();
        assert!(text.contains("\"message\":\"expected ") && !text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn ids_that_cannot_be_routed_are_refused_where_they_are() {
    let intake = TestIntake::new();
    let long = "x".repeat(250);
    for (event, pointer) in [
        (r#"{"type":"a.b","channel":{"id":""}}"#.to_owned(), "/channel/id"),
        (r#"{"type":"a.b","ticket":{"queue":{"id":""}}}"#.to_owned(), "/ticket/queue/id"),
        (format!(r#"{{"type":"a.b","channel":{{"id":"{long}"}}}}"#), ""),
    ] {
        let answer = intake.post(EVENTS, event).await;
        assert_eq!((answer.code(), answer.pointers()), ((422, "invalid_event"), vec![pointer]));
    }
    assert!(intake.nothing_published());
}

#[tokio::test]
async fn who_may_not_is_told_so() {
    let intake = TestIntake::new();
    for (key, path, expected) in [
        (None, EVENTS, (401, "unauthorized")),
        (Some("Bearer wrong"), EVENTS, (401, "unauthorized")),
        (Some("Basic publisher's"), EVENTS, (401, "unauthorized")),
        (Some("Bearer reader's"), EVENTS, (403, "forbidden")),
        (Some("Bearer zeta's"), EVENTS, (404, "not_found")),
        (Some("Bearer zeta's"), "/v1/tenants/nobody/events", (404, "not_found")),
        (Some("Bearer operator's"), "/v1/tenants/nobody/events", (404, "not_found")),
        (Some("Bearer zeta's"), "/v1/tenants/%ff/events", (404, "not_found")),
    ] {
        let mut request = request(path);
        if let Some(key) = key {
            request = request.header("authorization", key);
        }
        assert_eq!(intake.send(request, r#"{"type":"a.b"}"#).await.code(), expected, "{key:?} {path}");
    }
    assert!(intake.nothing_published());
    for key in [OPERATOR, "new one's"] {
        let request = request(EVENTS).header("authorization", format!("Bearer {key}"));
        assert_eq!(intake.send(request, r#"{"type":"a.b"}"#).await.status, 202, "{key}");
    }
}

#[tokio::test]
async fn while_the_broker_is_away_or_blocked_the_answer_comes_at_once() {
    let intake = TestIntake::new();
    intake.broker.block("alarm at amqp://user:hunter2@host");
    let answer = intake.post(EVENTS, r#"{"type":"a.b"}"#).await;
    assert_eq!((answer.code(), answer.retry_after.as_deref()), ((503, "unavailable"), Some("5")));
    assert!(!answer.body.to_string().contains("hunter2"));
    intake.broker.go_away("restart");
    assert_eq!(intake.post(EVENTS, r#"{"type":"a.b"}"#).await.code(), (503, "unavailable"));
    intake.broker.come_back();
    assert_eq!(intake.post(EVENTS, r#"{"type":"a.b"}"#).await.status, 202);
}

#[tokio::test]
async fn a_batch_that_was_confirmed_in_part_says_so() {
    let intake = TestIntake::new();
    intake.broker.lose_confirm(2);
    intake.broker.nack_confirm(3);
    let answer =
        intake.post(EVENTS, r#"{"events":[{"type":"a.b"},{"type":"a.b"},{"type":"a.b"},{"type":"a.b"}]}"#).await;
    assert_eq!((answer.code(), answer.retry_after.as_deref()), ((503, "unavailable"), Some("5")));
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("2 of 4 events were confirmed; send the whole again: events that bring their ids"),
        "{detail}"
    );
    assert!(intake.counts("carteiro_events_received_total{source=\"canonical\"} 2"));
}

#[tokio::test(start_paused = true)]
async fn the_events_of_a_batch_are_confirmed_side_by_side() {
    let intake = TestIntake::new();
    intake.broker.delay_confirms(Duration::from_secs(1));
    let begun = tokio::time::Instant::now();
    let answer = intake.post(EVENTS, format!("{{\"events\":[{}]}}", vec![r#"{"type":"a.b"}"#; 1_000].join(","))).await;
    assert_eq!((answer.status, intake.published().await.len()), (202, 1_000));
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_confirm_that_does_not_come_is_not_waited_for_for_ever() {
    let intake = TestIntake::new();
    intake.broker.delay_confirms(Duration::from_secs(3_600));
    let begun = tokio::time::Instant::now();
    let answer = intake.post(EVENTS, r#"{"type":"a.b"}"#).await;
    assert_eq!(answer.code(), (503, "unavailable"));
    assert_eq!(begun.elapsed().as_secs(), 15);
}
