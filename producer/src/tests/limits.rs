//! How large and how much: what is too large is 413 before anything is published, what is too much for now 429.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;

use super::fixture::{EVENTS, TestIntake, request};

/// An event of exactly this many bytes.
fn event(bytes: usize) -> String {
    let frame = r#"{"type":"a.b","x":""}"#.len();
    format!(r#"{{"type":"a.b","x":"{}"}}"#, "x".repeat(bytes - frame))
}

#[tokio::test]
async fn an_event_may_have_its_limit_and_no_byte_more() {
    let intake = TestIntake::with(|config| config.max_event_bytes = 1_000);
    assert_eq!(intake.post(EVENTS, event(1_000)).await.status, 202);
    let answer = intake.post(EVENTS, event(1_001)).await;
    assert_eq!((answer.code(), answer.pointers()), ((413, "payload_too_large"), vec![""]));
    let answer = intake.post(EVENTS, format!(r#"{{"events":[{{"type":"a.b"}},{}]}}"#, event(1_001))).await;
    assert_eq!((answer.code(), answer.pointers()), ((413, "payload_too_large"), vec!["/events/1"]));
    assert_eq!(intake.published().await.len(), 1);
}

#[tokio::test]
async fn a_batch_may_have_a_thousand_events_and_8_mib() {
    let intake = TestIntake::with(|config| config.max_event_bytes = 12 << 20);
    let answer = intake.post(EVENTS, format!(r#"{{"events":[{}]}}"#, vec![r#"{"type":"a.b"}"#; 1_001].join(","))).await;
    assert_eq!((answer.code(), answer.pointers()), ((422, "invalid_body"), vec!["/events"]));
    let answer = intake.post(EVENTS, format!(r#"{{"events":[{}]}}"#, event(8 << 20))).await;
    assert_eq!(answer.code(), (413, "payload_too_large"));
    assert_eq!(intake.post(EVENTS, event(8 << 20)).await.status, 202, "alone it is within the limit");
    assert_eq!(intake.published().await.len(), 1);
}

#[tokio::test]
async fn a_body_that_is_announced_or_turns_out_too_large_is_not_read_to_its_end() {
    let intake = TestIntake::new();
    let announced = request("/v1/in/t-main").header("content-length", (9 << 20).to_string());
    let unread = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    assert_eq!(intake.send(announced, unread).await.code(), (413, "payload_too_large"));

    let endless = stream::repeat(Bytes::from_static(&[b' '; 65_536])).map(Ok::<_, std::io::Error>);
    let answer = intake.send(request("/v1/in/t-main"), Body::from_stream(endless)).await;
    assert_eq!(answer.code(), (413, "payload_too_large"));
}

#[tokio::test]
async fn an_envelope_that_would_be_too_large_to_publish_is_refused_at_intake() {
    let intake = TestIntake::with(|config| config.max_event_bytes = 12 << 20);
    let body = |two_bytes: &str| format!(r#"{{"event":"novidade","x":"{}"}}"#, two_bytes.repeat(4 << 20));
    assert_eq!(intake.send(request("/v1/in/t-main"), body("xx")).await.status, 202);
    // Escaped for `original`, each of these takes four bytes: 16 MiB together.
    assert_eq!(intake.send(request("/v1/in/t-main"), body("\\\"")).await.code(), (413, "payload_too_large"));
    assert_eq!(intake.published().await.len(), 1);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_refused() {
    let intake = TestIntake::new();
    let broken = stream::iter([Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("reset"))]);
    let answer = intake.send(request("/v1/in/t-main"), Body::from_stream(broken)).await;
    assert_eq!(answer.code(), (422, "malformed_json"));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_gives_its_place_up() {
    let intake = TestIntake::with(|config| config.max_concurrent = 1);
    let begun = tokio::time::Instant::now();
    let silent = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    assert_eq!(intake.send(request("/v1/in/t-main"), silent).await.code(), (422, "malformed_json"));
    assert_eq!(begun.elapsed(), Duration::from_secs(30));
    assert_eq!(intake.post(EVENTS, r#"{"type":"a.b"}"#).await.status, 202);
}

/// A body whose chunks come when the test sends them.
fn dripping() -> (mpsc::UnboundedSender<Bytes>, Body) {
    let (sender, receiver) = mpsc::unbounded_channel::<Bytes>();
    let chunks = stream::unfold(receiver, async |mut receiver| {
        Some((Ok::<_, std::io::Error>(receiver.recv().await?), receiver))
    });
    (sender, Body::from_stream(chunks))
}

#[tokio::test(start_paused = true)]
async fn one_request_too_many_comes_back_later() {
    let intake = TestIntake::with(|config| config.max_concurrent = 1);
    let (sender, body) = dripping();
    let first = intake.send(request("/v1/in/t-main"), body);
    let second = async {
        let answer = intake.post(EVENTS, r#"{"type":"a.b"}"#).await;
        sender.send(Bytes::from_static(b"{}")).unwrap();
        drop(sender);
        answer
    };
    let (first, second) = tokio::join!(biased; first, second);
    assert_eq!((second.code(), second.retry_after.as_deref()), ((429, "too_many_requests"), Some("1")));
    assert_eq!(first.status, 202);
    assert_eq!(intake.post(EVENTS, r#"{"type":"a.b"}"#).await.status, 202);
}

#[tokio::test(start_paused = true)]
async fn bytes_beyond_the_room_come_back_later() {
    let intake = TestIntake::with(|config| config.max_in_flight_bytes = 100);
    let (sender, body) = dripping();
    sender.send(Bytes::from(event(90).into_bytes())).unwrap();
    let first = intake.send(request("/v1/in/t-main"), body);
    let second = async {
        let small = intake.post(EVENTS, r#"{"type":"a.b"}"#).await;
        drop(sender);
        small
    };
    let (first, second) = tokio::join!(biased; first, second);
    assert_eq!((second.code(), second.retry_after.as_deref()), ((429, "too_many_requests"), Some("1")));
    assert_eq!(first.status, 202);
    assert_eq!(intake.post(EVENTS, event(100)).await.status, 202, "all the room is there again");
}
