//! What a receiver answers, or does instead, and which outcome that is.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use schemas::{Endpoint, OutcomeClass};
use serde_json::json;
use tokio::{net::TcpListener, time::Instant};

use super::{
    config,
    fixture::{START, delivery},
    scripted::{Act, Scripted, answer},
};
use crate::{DelivererConfig, Outcome, Poster, RetryAfter, target::Targets};

/// One POST to this URL; the first byte may take 400 ms, and the whole so long that no test waits for it.
pub(super) async fn post(url: &str, config: &DelivererConfig) -> Outcome {
    post_within("8s", url, config).await
}

async fn post_within(timeout: &str, url: &str, config: &DelivererConfig) -> Outcome {
    let endpoint: Endpoint = serde_json::from_value(json!({"id": "crm", "url": url, "timeout": timeout})).unwrap();
    let target = Targets::default().of("acme", &Arc::new(endpoint));
    let poster = Poster::new(config).unwrap();
    poster.post(&target, &delivery("e1"), Bytes::from_static(b"{}"), START).await
}

/// One POST to a receiver with this script.
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
        // What has no body by its status must not be given one.
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
async fn of_a_body_without_end_a_bounded_part_is_read() {
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
async fn an_answer_that_drips_is_an_answer_and_takes_no_longer_than_the_timeout() {
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
async fn what_is_no_answer_in_http_is_malformed() {
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
async fn nobody_there_is_connect() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let outcome = post(&url, &config()).await;
    assert_eq!((outcome.class, outcome.status), (OutcomeClass::Connect, None));
}

#[tokio::test]
async fn a_name_without_an_address_is_dns() {
    // Longer than a label may be: no name server has to be asked.
    let outcome = post(&format!("http://{}.example/", "x".repeat(64)), &config()).await;
    assert_eq!((outcome.class, outcome.excerpt.as_str()), (OutcomeClass::Dns, "the name cannot be resolved"));
}

#[tokio::test]
async fn what_speaks_no_tls_on_https_is_tls() {
    let receiver = Scripted::new(vec![vec![Act::say("HTTP/1.1 200 OK\r\n\r\n"), Act::Hang]]).await;
    let outcome = post(&format!("https://{}/", receiver.address), &config()).await;
    assert_eq!(outcome.class, OutcomeClass::Tls, "{}", outcome.excerpt);
    assert_eq!(receiver.connections(), 1);
}

/// A handshake with a certificate that nobody vouches for; how it ended for the server.
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
async fn a_certificate_that_nobody_vouches_for_is_tls_and_nothing_is_sent() {
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
    assert_eq!(post(&target.url(), &config()).await.class, OutcomeClass::Success, "it was there all the time");
    assert_eq!(target.request().await.line, "POST /hooks HTTP/1.1");
}
