//! The outcome of each response, and of what a receiver does instead of responding.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use schemas::OutcomeClass;
use serde_json::json;
use tokio::{net::TcpListener, time::Instant};

use super::{
    config,
    fixture::delivery,
    poster, prepared,
    scripted::{Act, Scripted, answer},
};
use crate::{
    DelivererConfig,
    outcome::{Outcome, RetryAfter},
    post::Network,
};

/// The outcome of one POST to this URL. The first byte may take 400 ms, and the whole longer than any test waits.
pub(super) async fn post(url: &str, config: &DelivererConfig) -> Outcome {
    post_within("8s", url, config).await
}

async fn post_within(timeout: &str, url: &str, config: &DelivererConfig) -> Outcome {
    let endpoint = prepared(json!({"id": "crm", "url": url, "timeout": timeout}));
    let poster = poster(Network::of_the_system(config), config).unwrap();
    poster.post_now(&endpoint, &delivery("e1"), &Bytes::from_static(b"{}")).await.outcome
}

/// The outcome of one POST to a receiver with this script.
async fn outcome(script: Vec<Act>) -> Outcome {
    let receiver = Scripted::new(vec![script]).await;
    post(&receiver.url(), &config()).await
}

fn text(text: &str) -> Vec<Act> {
    vec![Act::Listen, Act::say(text)]
}

#[tokio::test]
async fn the_status_decides_the_class() {
    let table = [
        (200, OutcomeClass::Success),
        (299, OutcomeClass::Success),
        (300, OutcomeClass::Redirect),
        (304, OutcomeClass::Redirect),
        (400, OutcomeClass::ClientError),
        (404, OutcomeClass::ClientError),
        (410, OutcomeClass::Gone),
        (429, OutcomeClass::TooMany),
        (500, OutcomeClass::ServerError),
        (503, OutcomeClass::ServerError),
        (599, OutcomeClass::ServerError),
        (600, OutcomeClass::Malformed),
    ];
    for (status, class) in table {
        // A response with status 304 must not have a body.
        let body = if status == 304 { "" } else { "why" };
        let outcome = outcome(answer(status, "", body)).await;
        assert_eq!((outcome.class, outcome.status), (class, Some(status)));
        assert_eq!(outcome.excerpt, body);
    }
}

#[tokio::test]
async fn retry_after_is_read_from_any_answer() {
    for status in [302, 404, 429, 503] {
        let outcome = outcome(answer(status, "retry-after: 120\r\n", "")).await;
        assert_eq!(outcome.retry_after, Some(RetryAfter::Delay(120_000)), "{status}");
    }
}

#[tokio::test]
async fn a_body_without_end_is_read_up_to_a_bound() {
    let began = Instant::now();
    let script = vec![
        Act::Listen,
        Act::say("HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n"),
        Act::Repeat(vec![b'x'; 8192]),
    ];
    let outcome = outcome(script).await;
    assert_eq!((outcome.class, outcome.excerpt.len()), (OutcomeClass::Success, 4096));
    assert!(began.elapsed() < Duration::from_secs(8), "it stops at 64 KiB, not at the timeout");
}

#[tokio::test]
async fn an_answer_that_drips_counts_and_takes_no_longer_than_the_timeout() {
    let began = Instant::now();
    let receiver = Scripted::new(vec![vec![Act::Listen, Act::say("HTTP/1.1 200 OK\r\n\r\n"), Act::Drip]]).await;
    let outcome = post_within("800ms", &receiver.url(), &config()).await;
    assert_eq!((outcome.class, outcome.status), (OutcomeClass::Success, Some(200)));
    assert!(outcome.excerpt.starts_with(".."), "{}", outcome.excerpt);
    assert!(began.elapsed() >= Duration::from_millis(800) && began.elapsed() < Duration::from_secs(5));
    assert!((800..5_000).contains(&outcome.duration_ms), "{}", outcome.duration_ms);
}

#[tokio::test]
async fn a_reset_after_the_status_line_changes_nothing() {
    let mut script = text("HTTP/1.1 204 OK\r\ncontent-length: 100\r\n\r\n");
    script.push(Act::Reset);
    assert_eq!(outcome(script).await.class, OutcomeClass::Success);
    let mut script = text("HTTP/1.1 500 Oh\r\ncontent-length: 100\r\n\r\nbroken");
    script.push(Act::Reset);
    assert_eq!(outcome(script).await.class, OutcomeClass::ServerError);
}

#[tokio::test]
async fn a_response_that_is_not_http_is_malformed() {
    let huge = format!("HTTP/1.1 200 OK\r\nx-huge: {}\r\n\r\n", "x".repeat(2 << 20));
    let scripts = [
        ("garbage", text("220 mail.example ESMTP\r\n")),
        ("nothing at all", vec![Act::Listen]),
        ("a reset", vec![Act::Listen, Act::Reset]),
        ("half a status line", text("HTTP/1.1 20")),
        ("headers without an end", text(&huge)),
        ("1xx only", text("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")),
        ("another protocol", text("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n")),
    ];
    for (what, script) in scripts {
        let outcome = outcome(script).await;
        assert_eq!(outcome.class, OutcomeClass::Malformed, "{what}: {}", outcome.excerpt);
        assert_ne!((outcome.status, outcome.excerpt.as_str()), (None, ""), "{what}: it says why");
    }
}

#[tokio::test]
async fn an_answer_after_1xx_counts() {
    let script = text("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(outcome(script).await.status, Some(200));
}

#[tokio::test]
async fn silence_is_a_timeout_after_the_first_bytes_time() {
    for script in [vec![Act::Listen, Act::Hang], text("HTTP/1.1 200 O").into_iter().chain([Act::Hang]).collect()] {
        let outcome = outcome(script).await;
        assert_eq!((outcome.class, outcome.status), (OutcomeClass::Timeout, None));
        assert!((400..8_000).contains(&outcome.duration_ms), "{}", outcome.duration_ms);
    }
}

#[tokio::test]
async fn a_port_without_a_listener_is_connect() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let outcome = post(&url, &config()).await;
    assert_eq!((outcome.class, outcome.status), (OutcomeClass::Connect, None));
}

#[tokio::test]
async fn a_name_without_an_address_is_dns() {
    // The label is longer than labels may be, so no name server has to be asked.
    let outcome = post(&format!("http://{}.example/", "x".repeat(64)), &config()).await;
    assert_eq!((outcome.class, outcome.excerpt.as_str()), (OutcomeClass::Dns, "the name cannot be resolved"));
}

#[tokio::test]
async fn a_receiver_that_speaks_no_tls_on_https_is_tls() {
    let receiver = Scripted::new(vec![vec![Act::say("HTTP/1.1 200 OK\r\n\r\n"), Act::Hang]]).await;
    let outcome = post(&format!("https://{}/", receiver.address), &config()).await;
    assert_eq!(outcome.class, OutcomeClass::Tls, "{}", outcome.excerpt);
    assert_eq!(receiver.connections(), 1);
}

/// Accepts one connection and shakes hands with a certificate that no authority has signed; returns how that ended.
fn self_signed(listener: &std::net::TcpListener) -> std::io::Result<()> {
    let certificate = include_bytes!("self-signed.cert.der").to_vec().into();
    let key = rustls::pki_types::PrivateKeyDer::try_from(include_bytes!("self-signed.key.der").as_slice()).unwrap();
    let server = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let mut connection = rustls::ServerConnection::new(Arc::new(server)).unwrap();
    let (mut stream, _) = listener.accept()?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_certificate_of_no_trusted_authority_is_tls_and_nothing_is_sent() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let server = tokio::task::spawn_blocking(move || self_signed(&listener));
    let outcome = post(&url, &config()).await;
    assert_eq!(outcome.class, OutcomeClass::Tls, "{}", outcome.excerpt);
    assert!(outcome.excerpt.starts_with("invalid peer certificate"), "{}", outcome.excerpt);
    assert!(server.await.unwrap().is_err(), "the handshake was not finished");
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let mut target = Scripted::answering(200).await;
    for status in [301, 302, 303, 307, 308] {
        let script = answer(status, &format!("location: {}\r\n", target.url()), "");
        assert_eq!(outcome(script).await.class, OutcomeClass::Redirect);
    }
    assert_eq!(target.connections(), 0);
    assert_eq!(post(&target.url(), &config()).await.class, OutcomeClass::Success, "the target was there all the time");
    assert_eq!(target.request().await.line, "POST /hooks HTTP/1.1");
}
