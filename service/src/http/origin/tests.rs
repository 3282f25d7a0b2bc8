//! Which client a request is attributed to.

use axum::body::Body;
use axum::http::HeaderName;
use proptest::prelude::*;

use super::*;

const PROXY: &str = "10.0.0.1";
const CLIENT: &str = "203.0.113.7";

fn trust() -> TrustedProxies {
    TrustedProxies { proxies: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()], scheme: Scheme::Http }
}

/// The origin of a request from `peer` with these headers.
fn origin(peer: &str, headers: &[(&str, &str)]) -> RequestOrigin {
    let mut request = Request::new(Body::empty());
    request.extensions_mut().insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 4711)));
    request.headers_mut().insert(header::HOST, "api.example".parse().unwrap());
    for (name, value) in headers {
        request.headers_mut().append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    trust().origin(&request).unwrap()
}

fn client(peer: &str, headers: &[(&str, &str)]) -> String {
    origin(peer, headers).client.to_string()
}

#[test]
fn without_a_proxy_the_peer_is_the_client() {
    let direct =
        RequestOrigin { client: CLIENT.parse().unwrap(), scheme: Scheme::Http, host: Some("api.example".into()) };
    assert_eq!(origin(CLIENT, &[]), direct);
    assert_eq!(client("::ffff:203.0.113.7", &[]), CLIENT, "as a listener on [::] sees it");
}

#[test]
fn a_trusted_proxy_names_the_client_the_scheme_and_the_host() {
    let named =
        RequestOrigin { client: CLIENT.parse().unwrap(), scheme: Scheme::Https, host: Some("in.example".into()) };
    let old = [("x-forwarded-for", CLIENT), ("x-forwarded-proto", "https"), ("x-forwarded-host", "in.example")];
    assert_eq!(origin(PROXY, &old), named);
    assert_eq!(origin("::ffff:10.0.0.1", &old), named);
    assert_eq!(origin(PROXY, &[("forwarded", "for=203.0.113.7;proto=https;host=in.example")]), named);
}

#[test]
fn only_the_right_most_address_that_is_not_a_proxy_counts() {
    let table = [
        (vec![("x-forwarded-for", "1.1.1.1, 203.0.113.7, 10.2.2.2")], CLIENT),
        (vec![("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "203.0.113.7")], CLIENT),
        (vec![("forwarded", "for=1.1.1.1, for=203.0.113.7;proto=http, for=\"[fd00::2]:80\"")], CLIENT),
        // A proxy that hides the client: the last known address.
        (vec![("x-forwarded-for", "1.1.1.1, unknown, 10.2.2.2")], "10.2.2.2"),
        (vec![("forwarded", "for=_hidden")], PROXY),
        // One of our own machines asks.
        (vec![("x-forwarded-for", "10.3.3.3, 10.2.2.2")], "10.3.3.3"),
        (vec![("x-forwarded-for", "")], PROXY),
    ];
    for (headers, expected) in table {
        assert_eq!(client(PROXY, &headers), expected, "{headers:?}");
    }
}

#[test]
fn headers_that_disagree_do_not_count() {
    let x = ("x-forwarded-for", CLIENT);
    assert_eq!(client(PROXY, &[x, ("forwarded", "for=1.1.1.1")]), PROXY);
    assert_eq!(client(PROXY, &[x, ("forwarded", "for=203.0.113.7")]), CLIENT);
}

#[test]
fn an_unknown_scheme_does_not_count() {
    assert_eq!(origin(PROXY, &[("x-forwarded-proto", "javascript")]).scheme, Scheme::Http);
    assert_eq!(origin(PROXY, &[("x-forwarded-proto", "http, HTTPS")]).scheme, Scheme::Https);
}

/// A value of a forwarding header, valid or not.
fn header_text() -> impl Strategy<Value = String> {
    let address = prop_oneof![
        any::<std::net::IpAddr>().prop_map(|address| address.to_string()),
        Just("10.0.0.1".to_owned()),
        Just("unknown".to_owned()),
        "[ -~]{0,20}",
    ];
    let element = (prop::sample::select(vec!["", "for=", "For=\"", "proto=", "host="]), address);
    let elements = prop::collection::vec(element.prop_map(|(name, value)| format!("{name}{value}")), 0..5);
    (elements, prop::sample::select(vec![",", ", ", ";", "\","])).prop_map(|(elements, by)| elements.join(by))
}

fn headers() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let names = vec!["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];
    prop::collection::vec((prop::sample::select(names), header_text()), 0..6)
}

fn borrowed<'a>(headers: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    headers.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

proptest! {
    #[test]
    fn an_untrusted_peer_can_never_forge_its_origin(peer: std::net::IpAddr, headers in headers()) {
        prop_assume!(!trust().trusts(peer.to_canonical()));
        let peer = peer.to_string();
        prop_assert_eq!(origin(&peer, &borrowed(&headers)), origin(&peer, &[]));
    }

    /// Behind a proxy that adds the address of its peer to `X-Forwarded-For`, as they do, no client can pass for another:
    /// at most for the proxy.
    #[test]
    fn a_client_behind_a_proxy_can_never_pass_for_another(stranger: std::net::IpAddr, headers in headers()) {
        let stranger = stranger.to_canonical();
        prop_assume!(!trust().trusts(stranger));
        let written = stranger.to_string();
        let mut headers = borrowed(&headers);
        headers.push(("x-forwarded-for", &written));
        let believed = origin(PROXY, &headers).client;
        prop_assert!(believed == stranger || believed.to_string() == PROXY, "{believed} for {stranger}");
    }
}
