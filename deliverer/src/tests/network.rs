//! The client connects to checked addresses and nothing else, wherever names lead meanwhile.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use h2::server::SendResponse;
use schemas::OutcomeClass;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use super::{
    defaults,
    memory_network::{
        MemoryNetwork, Receiver,
        Step::{Hang, Read, Send},
        read_head, script,
    },
    poster, prepared_of,
};
use crate::{
    DelivererConfig,
    post::{Found, LookUp, Network},
};

pub(super) const PUBLIC: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(1, 1, 1, 1));
const PRIVATE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
const NAME: &str = "http://hooks.example/";

/// The nth look-up of a name returns the nth of these, and every later one the last.
pub(super) fn leading_to(answers: Vec<Vec<IpAddr>>) -> LookUp {
    let asked = AtomicUsize::new(0);
    Arc::new(move |_| {
        let nth = asked.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
        let found = Found { addresses: answers[nth].clone(), ttl: Duration::from_secs(30), is_half: false };
        async { Ok(found) }.boxed()
    })
}

/// Answers 204 to every request of a connection.
pub(super) fn keeps_alive() -> Receiver {
    Arc::new(|mut stream| {
        async move {
            while read_head(&mut stream).await.starts_with("POST") {
                _ = stream.write_all(b"HTTP/1.1 204 OK\r\n\r\n").await;
            }
        }
        .boxed()
    })
}

async fn class(network: &MemoryNetwork, url: &str) -> OutcomeClass {
    network.post(url).await.0.class
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_bound_to_a_private_address_later_leads_nowhere() {
    let closing = script(&[Read, Send("HTTP/1.1 204 OK\r\nconnection: close\r\n\r\n")]);
    let network = MemoryNetwork::with_names(
        closing,
        leading_to(vec![vec![PUBLIC], vec![PRIVATE], vec![PUBLIC, PRIVATE]]),
        &defaults(),
    );
    for _ in 0..2 {
        assert_eq!(class(&network, NAME).await, OutcomeClass::Success);
        tokio::time::sleep(Duration::from_secs(31)).await;
    }
    for _ in 0..3 {
        assert_eq!(class(&network, NAME).await, OutcomeClass::BlockedIp);
        tokio::time::sleep(Duration::from_secs(31)).await;
    }
    assert_eq!(network.dialled(), [PUBLIC; 2], "only the address that was checked is dialled");
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_is_to_the_checked_address_and_checked_again_after_a_minute_idle() {
    let network = MemoryNetwork::with_names(keeps_alive(), leading_to(vec![vec![PUBLIC], vec![PRIVATE]]), &defaults());
    for _ in 0..3 {
        assert_eq!(class(&network, NAME).await, OutcomeClass::Success);
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(class(&network, NAME).await, OutcomeClass::BlockedIp);
    assert_eq!(network.dialled(), [PUBLIC]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_never_idle_is_checked_again_after_ten_minutes() {
    let network = MemoryNetwork::with_names(keeps_alive(), leading_to(vec![vec![PUBLIC], vec![PRIVATE]]), &defaults());
    let mut half_minutes = 0;
    while class(&network, NAME).await == OutcomeClass::Success {
        tokio::time::sleep(Duration::from_secs(30)).await;
        half_minutes += 1;
        assert!(half_minutes < 60, "still the old address");
    }
    assert!((20..=23).contains(&half_minutes), "{half_minutes} half minutes");
    assert_eq!(network.dialled(), [PUBLIC]);
}

#[tokio::test(start_paused = true)]
async fn each_address_of_a_name_has_to_be_allowed() {
    let networks = DelivererConfig { allow_networks: vec!["10.0.0.0/24".parse().unwrap()], ..defaults() };
    let metadata = "169.254.169.254".parse().unwrap();
    for (answer, expected) in [
        (vec![PUBLIC, PRIVATE], OutcomeClass::Success),
        (vec![PRIVATE], OutcomeClass::Success),
        (vec![PRIVATE, metadata], OutcomeClass::BlockedIp),
        (vec![PUBLIC, "::1".parse().unwrap()], OutcomeClass::BlockedIp),
        (vec![], OutcomeClass::Dns),
    ] {
        let network = MemoryNetwork::with_names(keeps_alive(), leading_to(vec![answer.clone()]), &networks);
        assert_eq!(class(&network, NAME).await, expected, "{answer:?}");
        assert_eq!(network.dialled().is_empty(), expected != OutcomeClass::Success);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_timed_out_takes_its_connection_with_it() {
    let network = MemoryNetwork::with_names(script(&[Read, Hang]), leading_to(vec![vec![PUBLIC]]), &defaults());
    for nth in 1..4 {
        assert_eq!(class(&network, NAME).await, OutcomeClass::Timeout);
        assert_eq!(network.dialled().len(), nth);
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_names_that_nobody_answers_for_hold_up_no_other_tenants_post() {
    let look_up: LookUp = Arc::new(|name| match name.ends_with("silent.example") {
        true => std::future::pending().boxed(),
        false => async { Ok(Found { addresses: vec![PUBLIC], ttl: Duration::from_secs(30), is_half: false }) }.boxed(),
    });
    let network = Arc::new(MemoryNetwork::with_names(keeps_alive(), look_up, &defaults()));
    let post = |tenant: &str, host: &str| {
        let endpoint = prepared_of(tenant, json!({"id": "crm", "url": format!("http://{host}/")}));
        let network = network.clone();
        tokio::spawn(async move { network.post_to(&endpoint, Bytes::from_static(b"{}")).await })
    };
    let flood: Vec<_> = (0..1_000).map(|nth| post("flood", &format!("{nth}.silent.example"))).collect();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let (outcome, elapsed) = post("acme", "hooks.example").await.unwrap();
    assert_eq!(outcome.class, OutcomeClass::Success, "{}", outcome.excerpt);
    assert!(elapsed <= Duration::from_millis(50), "{elapsed:?}");
    for posted in flood {
        let (outcome, elapsed) = posted.await.unwrap();
        assert_eq!(outcome.class, OutcomeClass::Dns, "{}", outcome.excerpt);
        assert!(elapsed < defaults().connect_timeout.0, "{elapsed:?}");
    }
}

fn through_proxy() -> DelivererConfig {
    DelivererConfig { proxy: Some("http://me:p%40ss@10.0.0.9:3128".into()), ..defaults() }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_is_asked_for_a_tunnel_and_its_refusal_means_no_connection() {
    let (sender, mut heads) = tokio::sync::mpsc::unbounded_channel();
    let receiver: Receiver = Arc::new(move |mut stream| {
        let sender = sender.clone();
        async move {
            _ = sender.send(read_head(&mut stream).await);
            _ = stream.write_all(b"HTTP/1.1 403 No\r\n\r\n").await;
        }
        .boxed()
    });
    let network = MemoryNetwork::with_names(receiver, leading_to(vec![vec![PRIVATE]]), &through_proxy());
    let (outcome, _) = network.post("https://hooks.example/x?key=S3CRET").await;
    assert_eq!((outcome.class, outcome.excerpt.as_str()), (OutcomeClass::Connect, "the proxy answered 403"));
    let expected = "CONNECT hooks.example:443 HTTP/1.1\r\nhost: hooks.example:443\r\n\
        proxy-authorization: Basic bWU6cEBzcw==\r\n\r\n";
    assert_eq!(heads.recv().await.unwrap(), expected, "nothing of the url");
    assert_eq!(network.dialled(), ["10.0.0.9".parse::<IpAddr>().unwrap()]);
    assert_eq!(class(&network, "https://169.254.169.254/").await, OutcomeClass::BlockedIp);
    assert_eq!(class(&network, "http://127.0.0.1/").await, OutcomeClass::BlockedIp);
    assert_eq!(network.dialled().len(), 1, "a forbidden literal does not reach it");
}

#[tokio::test(start_paused = true)]
async fn a_hostile_proxy_costs_what_a_hostile_receiver_does() {
    use super::memory_network::Step::Flood;
    for (steps, expected) in [
        (&[Flood("x")][..], OutcomeClass::Connect),
        (&[Send("SSH-2.0-x\r\n\r\n")], OutcomeClass::Connect),
        (&[], OutcomeClass::Connect),
        (&[Hang], OutcomeClass::Timeout),
    ] {
        let network = MemoryNetwork::with_names(script(steps), leading_to(vec![vec![PUBLIC]]), &through_proxy());
        let (outcome, elapsed) = network.post("https://hooks.example/").await;
        assert_eq!(outcome.class, expected, "{}", outcome.excerpt);
        assert!(elapsed <= Duration::from_millis(3_002) && network.bytes_read() <= 8 * 1024);
    }
}

/// How a receiver answers the nth request over HTTP/2.
pub(super) type Answers = fn(usize, http::Version, SendResponse<Bytes>);

/// A receiver that speaks HTTP/2 over TLS, and the file with the certificate of its authority.
pub(super) fn over_tls(answers: Answers) -> (Receiver, tempfile::NamedTempFile) {
    let made = rcgen::generate_simple_self_signed(["hooks.example".to_owned(), "*.hooks.example".to_owned()]).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), made.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut server = server.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    server.alpn_protocols = vec![b"h2".to_vec()];
    let (acceptor, asked) = (tokio_rustls::TlsAcceptor::from(Arc::new(server)), Arc::new(AtomicUsize::new(0)));
    let receiver: Receiver = Arc::new(move |stream| {
        let (acceptor, asked) = (acceptor.clone(), asked.clone());
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let Ok(mut connection) = h2::server::handshake(stream).await else { return };
            while let Some(Ok((request, respond))) = connection.accept().await {
                answers(asked.fetch_add(1, Ordering::Relaxed), request.version(), respond);
            }
        }
        .boxed()
    });
    (receiver, file)
}

/// Answers 200, with the version of HTTP as the body.
pub(super) fn answer(_: usize, version: http::Version, mut respond: SendResponse<Bytes>) {
    let mut body = respond.send_response(http::Response::new(()), false).unwrap();
    body.send_data(format!("{version:?}").into(), true).unwrap();
}

pub(super) fn trusting(authority: &tempfile::NamedTempFile) -> DelivererConfig {
    DelivererConfig { ca_file: Some(authority.path().to_str().unwrap().to_owned()), ..defaults() }
}

#[tokio::test(start_paused = true)]
async fn the_operators_own_authority_is_trusted_http_2_is_spoken_and_the_connection_kept() {
    let (receiver, authority) = over_tls(answer);
    let look_up = leading_to(vec![vec![PUBLIC]]);
    let network = MemoryNetwork::with_names(receiver.clone(), look_up.clone(), &trusting(&authority));
    for _ in 0..3 {
        let (outcome, _) = network.post("https://hooks.example/").await;
        assert_eq!((outcome.status, outcome.excerpt.as_str()), (Some(200), "HTTP/2.0"));
    }
    assert_eq!(network.dialled().len(), 1);
    let (outcome, _) = network.post("https://other.example/S3CRET").await;
    let why = "invalid peer certificate: it is not for this name";
    assert_eq!((outcome.class, outcome.excerpt.as_str()), (OutcomeClass::Tls, why));

    let strict = MemoryNetwork::with_names(receiver, look_up, &defaults());
    assert_eq!(class(&strict, "https://hooks.example/").await, OutcomeClass::Tls, "no other authority has signed it");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_the_receiver_has_not_processed_is_sent_once_more_and_only_once() {
    fn refuse(nth: usize, version: http::Version, mut respond: SendResponse<Bytes>) {
        match nth {
            0 | 2 | 3 => respond.send_reset(h2::Reason::REFUSED_STREAM),
            4 => respond.send_reset(h2::Reason::INTERNAL_ERROR),
            _ => answer(nth, version, respond),
        }
    }
    let (receiver, authority) = over_tls(refuse);
    let network = MemoryNetwork::with_names(receiver, leading_to(vec![vec![PUBLIC]]), &trusting(&authority));
    for expected in [Some(200), None, None, Some(200)] {
        let (outcome, _) = network.post("https://hooks.example/").await;
        assert_eq!(outcome.status, expected, "{}", outcome.excerpt);
        assert_eq!(outcome.class == OutcomeClass::Malformed, expected.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_over_http_2_is_read_up_to_a_bound_too() {
    fn flood(_: usize, _: http::Version, mut respond: SendResponse<Bytes>) {
        let mut body = respond.send_response(http::Response::new(()), false).unwrap();
        body.send_data(vec![b'x'; 8 << 20].into(), true).unwrap();
    }
    fn huge(_: usize, _: http::Version, mut respond: SendResponse<Bytes>) {
        let answer = http::Response::builder().header("x-huge", "x".repeat(1 << 20)).body(()).unwrap();
        _ = respond.send_response(answer, true);
    }
    for (answers, class) in [(flood as Answers, OutcomeClass::Success), (huge, OutcomeClass::Malformed)] {
        let (receiver, authority) = over_tls(answers);
        let network = MemoryNetwork::with_names(receiver, leading_to(vec![vec![PUBLIC]]), &trusting(&authority));
        let (outcome, elapsed) = network.post("https://hooks.example/").await;
        assert_eq!((outcome.class, elapsed), (class, Duration::ZERO), "{}", outcome.excerpt);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(network.bytes_read() <= 512 * 1024, "{} bytes", network.bytes_read());
    }
}

#[test]
fn a_file_without_certificates_is_an_error() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    for path in [empty.path().to_str().unwrap().to_owned(), "nowhere.pem".to_owned()] {
        let config = DelivererConfig { ca_file: Some(path), ..defaults() };
        let error = poster(Network::of_the_system(&config), &config).err().unwrap();
        assert_eq!(error.to_string(), "deliverer.ca_file");
    }
}
