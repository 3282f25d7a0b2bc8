//! Nothing is sent to an address that is not allowed, however it is written.

use schemas::OutcomeClass;

use super::{
    answers::post,
    config,
    scripted::{Scripted, answer},
};
use crate::DelivererConfig;

fn guarded() -> DelivererConfig {
    DelivererConfig { allow_networks: vec![], ..config() }
}

#[tokio::test]
async fn a_forbidden_address_gets_nothing_whatever_its_spelling() {
    let mut receiver = Scripted::answering(200).await;
    let port = receiver.address.port();
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7F.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "%31%32%37.0.0.1",
        "①②⑦.0.0.1",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[::1]",
        "0.0.0.0",
        "localhost",
        "LOCALHOST",
    ] {
        let outcome = post(&format!("http://{host}:{port}/hooks"), &guarded()).await;
        assert_eq!((outcome.class, outcome.status), (OutcomeClass::BlockedIp, None), "{host}: {}", outcome.excerpt);
    }
    assert_eq!(receiver.connections(), 0);
    for host in ["127.0.0.1", "2130706433"] {
        let outcome = post(&format!("http://{host}:{port}/hooks"), &config()).await;
        assert_eq!(outcome.class, OutcomeClass::Success, "the receiver was there all the time");
        receiver.request().await;
    }
}

#[tokio::test]
async fn tricks_with_the_rest_of_a_url_do_not_hide_its_host() {
    let mut receiver = Scripted::answering(200).await;
    let port = receiver.address.port();
    for (url, class) in [
        ("http://1.1.1.1@127.0.0.1:{port}/", OutcomeClass::BlockedIp),
        ("http://1.1.1.1:80@127.0.0.1:{port}/", OutcomeClass::BlockedIp),
        ("http://1.1.1.1%40127.0.0.1:{port}/", OutcomeClass::Malformed),
        ("http://127.0.0.1:{port}#@1.1.1.1/", OutcomeClass::BlockedIp),
        ("http://127.0.0.1:{port}\\@1.1.1.1/", OutcomeClass::BlockedIp),
        ("http:127.0.0.1:{port}/", OutcomeClass::BlockedIp),
        ("http:///127.0.0.1:{port}/", OutcomeClass::BlockedIp),
        ("ht\ntp://127.0.0.1:{port}/", OutcomeClass::BlockedIp),
        ("http://[fe80::1%25lo]:{port}/", OutcomeClass::Malformed),
        ("http://[fe80::1%lo]:{port}/", OutcomeClass::Malformed),
        ("http://[::1:{port}/", OutcomeClass::Malformed),
        ("http://127.0.0.1%00.example:{port}/", OutcomeClass::Malformed),
        ("http://0x7f000001000000000:{port}/", OutcomeClass::Malformed),
        ("http://127.0.0.256:{port}/", OutcomeClass::Malformed),
        ("http://127.0.0.0.1:{port}/", OutcomeClass::Malformed),
        ("ftp://127.0.0.1:{port}/", OutcomeClass::Malformed),
        ("file:///etc/passwd", OutcomeClass::Malformed),
        ("gopher://127.0.0.1:{port}/", OutcomeClass::Malformed),
    ] {
        let url = url.replace("{port}", &port.to_string());
        let outcome = post(&url, &guarded()).await;
        assert_eq!((outcome.class, outcome.status), (class, None), "{url}: {}", outcome.excerpt);
        assert!(!outcome.excerpt.contains("1.1.1.1"), "{}", outcome.excerpt);
    }
    assert_eq!(receiver.connections(), 0);
    let outcome = post(&format!("http://user:pass@127.0.0.1:{port}/"), &config()).await;
    assert_eq!(outcome.class, OutcomeClass::Success, "the receiver was there all the time");
    let request = receiver.request().await;
    assert_eq!((request.header("host"), request.header("authorization")), (Some(&*format!("127.0.0.1:{port}")), None));
}

#[tokio::test]
async fn a_name_may_lead_to_an_allowed_network() {
    let mut receiver = Scripted::answering(200).await;
    let networks = ["127.0.0.0/8", "::1/128"].map(|network| network.parse().unwrap()).into();
    let config = DelivererConfig { allow_networks: networks, ..config() };
    let outcome = post(&format!("http://localhost:{}/hooks", receiver.address.port()), &config).await;
    assert_eq!(outcome.class, OutcomeClass::Success, "{}", outcome.excerpt);
    receiver.request().await;
}

#[tokio::test]
async fn a_proxy_of_the_operators_own_may_be_anywhere_and_forbidden_literals_do_not_reach_it() {
    let mut proxy = Scripted::new(vec![answer(200, "connection: close\r\n", "")]).await;
    let config = DelivererConfig { proxy: Some(format!("http://localhost:{}", proxy.address.port())), ..guarded() };
    assert_eq!(post("http://10.0.0.1/", &config).await.class, OutcomeClass::BlockedIp);
    assert_eq!(proxy.connections(), 0);
    assert_eq!(post("http://hooks.example/x", &config).await.class, OutcomeClass::Success);
    assert_eq!(proxy.request().await.line, "POST http://hooks.example/x HTTP/1.1");
}
