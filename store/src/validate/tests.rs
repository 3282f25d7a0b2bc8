//! Tables of refused values, and of values that must be accepted.

mod patterns;
mod retiring;

use schemas::{
    Endpoint, Key, KeyHash, Scope, Secret, SourceConfig, Subscription, Tenant,
    signature::{Signature, SigningKey},
};

use super::{endpoint, key, source, subscription, tenants};
use crate::InvalidField;

fn an_endpoint() -> Endpoint {
    serde_json::from_str(r#"{"id": "crm", "url": "https://crm.example/hooks?a=b#c"}"#).unwrap()
}

fn a_subscription() -> Subscription {
    serde_json::from_str(r#"{"id": "all", "endpoint_id": "crm"}"#).unwrap()
}

fn a_source(token: &str) -> SourceConfig {
    serde_json::from_value(serde_json::json!({"id": "main", "dialect": "whazing", "token": token})).unwrap()
}

fn a_tenant(id: &str) -> Tenant {
    serde_json::from_value(serde_json::json!({"id": id})).unwrap()
}

/// Pointers of the problems, in order.
fn paths(problems: &[InvalidField]) -> Vec<String> {
    problems.iter().map(|problem| problem.path.to_string()).collect()
}

/// Where an endpoint has problems once it is changed.
fn changed(change: impl FnOnce(&mut Endpoint)) -> Vec<String> {
    let mut changed = an_endpoint();
    change(&mut changed);
    paths(&endpoint(&changed))
}

fn with_json(json: &serde_json::Value) -> Vec<String> {
    let mut whole = serde_json::json!({"id": "crm", "url": "https://crm.example"});
    whole.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
    paths(&endpoint(&serde_json::from_value(whole).unwrap()))
}

#[test]
fn what_is_plain_is_valid() {
    assert_eq!(endpoint(&an_endpoint()), []);
    assert_eq!(subscription(&a_subscription()), []);
    assert_eq!(source(&a_source("12345678")), []);
    assert_eq!(tenants(&[a_tenant("acme"), a_tenant("0")]), []);
}

#[test]
fn an_id_is_of_the_grammar_or_a_views_own() {
    let longest = "a".repeat(63);
    let earlier = ["queue-A%2Eb", "integration-Ümlaut", "channel-5511@c%2Eus"];
    for id in ["a", "0-_", &longest, "channel-7", "queue-A.b", "channel-a%2Fb"].into_iter().chain(earlier) {
        assert_eq!(changed(|endpoint| endpoint.id = id.to_owned()), [""; 0], "{id}");
    }
    let too_long = "a".repeat(64);
    for id in [
        "",
        "-a",
        "_a",
        "A",
        "a.b",
        "a b",
        "ü",
        &too_long,
        "channel-A*b",
        "channel-A b",
        "queue-A%2",
        "queue-A%zz",
        "tenant-A",
    ] {
        assert_eq!(changed(|endpoint| endpoint.id = id.to_owned()), ["id"], "{id}");
    }
    let no_view = Tenant { id: "channel-A".into(), ..a_tenant("") };
    assert_eq!(paths(&tenants(&[no_view])), ["tenants[0].id"]);
}

#[test]
fn an_endpoints_url_can_be_posted_to_and_holds_no_credentials() {
    let refused = [
        "",
        "crm.example",
        "ftp://crm.example",
        "mailto:a@b",
        "http://",
        "https://me:hunter2@crm.example",
        "https://me@crm.example",
    ];
    for url in refused {
        let mut with = an_endpoint();
        with.url = url.to_owned();
        let problems = endpoint(&with);
        assert!(problems.iter().all(|problem| problem.path.to_string() == "url"), "{url}");
        assert!(!problems.is_empty(), "{url}");
        assert!(problems.iter().all(|problem| !problem.message.contains("hunter2")), "{url}");
    }
    for url in ["http://127.0.0.1:8080", "https://[::1]/x", "https://crm.example/?key=value"] {
        assert_eq!(changed(|endpoint| endpoint.url = url.to_owned()), [""; 0], "{url}");
    }
}

#[test]
fn headers_that_belong_to_the_connection_or_to_us_are_refused_in_any_case() {
    let refused = [
        "Host",
        "Content-Length",
        "content-type",
        "CONNECTION",
        "Transfer-Encoding",
        "TE",
        "upgrade",
        "keep-alive",
        "Webhook-Id",
        "webhook-signature",
        "Carteiro-Attempt",
        "User-Agent",
        "Accept-Encoding",
        "expect",
        "Content-Digest",
        "Date",
        "signature",
        "",
        "a b",
        "a:b",
        "é",
    ];
    for name in refused {
        assert_eq!(with_json(&serde_json::json!({"headers": {name: "x"}})), [format!("headers.{name}")], "{name}");
    }
    for name in ["Authorization", "X-Webhook-Id", "x-n8n-api-key", "Cookie"] {
        assert_eq!(with_json(&serde_json::json!({"headers": {name: "x"}})), [""; 0], "{name}");
    }
}

#[test]
fn headers_have_sendable_values_and_no_second_of_their_kind() {
    for value in ["a\r\nb: c", "\0", "é", " a", "a\t"] {
        assert_eq!(with_json(&serde_json::json!({"headers": {"a": value}})), ["headers.a"], "{value:?}");
        assert_eq!(with_json(&serde_json::json!({"headers": {"a": {"secret": value}}})), ["headers.a"], "{value:?}");
        assert_eq!(with_json(&serde_json::json!({"n8n_api_key": value})), ["n8n_api_key"], "{value:?}");
    }
    assert_eq!(with_json(&serde_json::json!({"headers": {"X-A": "1", "x-a": "2"}})), ["headers.x-a"]);
    let many =
        |count: usize, bytes: usize| (0..count).map(|nth| (format!("x-{nth:02}"), "v".repeat(bytes - 4))).collect();
    let headers = |headers: std::collections::BTreeMap<_, _>| with_json(&serde_json::json!({"headers": headers}));
    assert_eq!((headers(many(50, 120)), headers(many(51, 100))), (vec![], vec!["headers".to_owned()]));
    assert_eq!((headers(many(6, 1_024)), headers(many(6, 1_025))), (vec![], vec!["headers".to_owned()]));
    let twice = serde_json::json!({"headers": {"X-N8N-Api-Key": "1"}, "n8n_api_key": "2"});
    assert_eq!(with_json(&twice), ["headers.X-N8N-Api-Key"]);
}

#[test]
fn a_mask_is_no_secret() {
    assert_eq!(with_json(&serde_json::json!({"n8n_api_key": "***"})), ["n8n_api_key"]);
    assert_eq!(with_json(&serde_json::json!({"secrets": ["***"]})), ["secrets[0]"]);
    assert_eq!(with_json(&serde_json::json!({"headers": {"a": {"secret": "***"}}})), ["headers.a"]);
    assert_eq!(paths(&source(&a_source("***"))), ["token"]);
    let with_key = SourceConfig { n8n_api_key: Some(Secret::from("***".to_owned())), ..a_source("12345678") };
    assert_eq!(paths(&source(&with_key)), ["n8n_api_key"]);
}

#[test]
fn a_signing_secret_is_whsec_and_base64_of_24_to_64_bytes() {
    let secret = |bytes: usize| format!("whsec_{}", "QUJD".repeat(bytes / 3));
    for (text, valid) in [
        (secret(24), true),
        (secret(63), true),
        (format!("whsec_{}QQ==", "QUJD".repeat(21)), true),
        (format!("whsec_{}QUI=", "QUJD".repeat(21)), false),
        (secret(21), false),
        ("QUJD".repeat(8), false),
        ("whsec_".to_owned() + &"!".repeat(32), false),
        (String::new(), false),
    ] {
        let expected: &[&str] = if valid { &[] } else { &["secrets[0]"] };
        assert_eq!(with_json(&serde_json::json!({"secrets": [text]})), expected, "{text}");
    }
}

#[test]
fn the_newest_secret_is_of_the_kind_that_the_endpoint_asks_for() {
    let [symmetric, private] = [Signature::V1, Signature::V1a].map(|kind| SigningKey::write(kind, [7; 32]));
    for (signature, secrets, valid) in [
        ("v1", vec![], true),
        ("v1", vec![&symmetric, &private], true),
        ("v1a", vec![&private], true),
        ("v1a", vec![&private, &symmetric], true),
        ("v1a", vec![], false),
        ("v1a", vec![&symmetric], false),
        ("v1", vec![&private, &symmetric], false),
    ] {
        let expected: &[&str] = if valid { &[] } else { &["signature"] };
        let json = serde_json::json!({"signature": signature, "secrets": secrets});
        assert_eq!(with_json(&json), expected, "{json}");
    }
    let retiring = serde_json::json!({"secret": symmetric, "until": "2026-11-22T08:00:00Z"});
    assert_eq!(with_json(&serde_json::json!({"signature": "v1a", "secrets": [private, retiring]})), [""; 0]);
    let shown =
        endpoint(&Endpoint { signature: Signature::V1a, secrets: vec![symmetric.clone().into()], ..an_endpoint() });
    assert!(!shown[0].message.contains(&symmetric), "{}", shown[0].message);
}

#[test]
fn limits_mean_something() {
    for (json, path) in [
        (serde_json::json!({"timeout": "0s"}), "timeout"),
        (serde_json::json!({"timeout": "61s"}), "timeout"),
        (serde_json::json!({"max_in_flight": 0}), "max_in_flight"),
        (serde_json::json!({"max_backlog": 0}), "max_backlog"),
        (serde_json::json!({"rate_limit": {"per_second": 0}}), "rate_limit.per_second"),
        (serde_json::json!({"rate_limit": {"per_second": -1.5}}), "rate_limit.per_second"),
        (serde_json::json!({"retry": {"max_age": "0s"}}), "retry.max_age"),
        (serde_json::json!({"retry": {"max_age": "31d"}}), "retry.max_age"),
        (serde_json::json!({"retry": {"schedule": ["5s", "999ms"]}}), "retry.schedule[1]"),
        (serde_json::json!({"retry": {"schedule": vec!["5s"; 51]}}), "retry.schedule"),
    ] {
        assert_eq!(with_json(&json), [path], "{json}");
    }
    let edges = serde_json::json!({
        "timeout": "60s", "max_in_flight": 1, "max_backlog": 1, "rate_limit": {"per_second": 0.1},
        "retry": {"schedule": ["1s"], "max_age": "1s"},
    });
    assert_eq!(with_json(&edges), [""; 0]);
    assert_eq!(with_json(&serde_json::json!({"retry": {"schedule": []}})), [""; 0]);
}

#[test]
fn a_start_on_transfer_needs_queues() {
    let with = |queue_ids: serde_json::Value| {
        let mut json = serde_json::json!({"id": "s", "endpoint_id": "crm", "start_on_transfer": true});
        json.as_object_mut().unwrap().extend([("queue_ids".to_owned(), queue_ids)]);
        paths(&subscription(&serde_json::from_value(json).unwrap()))
    };
    assert_eq!(with(serde_json::json!([12])), [""; 0]);
    assert_eq!(with(serde_json::json!([])), ["start_on_transfer"]);
    assert_eq!(with(serde_json::json!(null)), ["start_on_transfer"]);
    assert_eq!(with(serde_json::json!([""])), ["queue_ids"]);
}

#[test]
fn a_token_is_long_enough_and_fits_a_path() {
    for token in ["", "1234567", "with/slash", "with space", "with?query", "percent%20", "ümlaut-token"] {
        assert_eq!(paths(&source(&a_source(token))), ["token"], "{token}");
    }
}

#[test]
fn a_key_allows_something() {
    let mut with =
        Key { id: "k".into(), name: None, scopes: vec![Scope::Read], hash: KeyHash::of("k"), old_hash: None };
    assert_eq!(key(&with), []);
    with.scopes.clear();
    assert_eq!(paths(&key(&with)), ["scopes"]);
}

#[test]
fn a_subscription_belongs_to_an_endpoint_of_its_own_tenant() {
    let with_endpoint = Tenant { endpoints: vec![an_endpoint()], ..a_tenant("a") };
    let without = Tenant { subscriptions: vec![a_subscription()], ..a_tenant("b") };
    assert_eq!(paths(&tenants(&[with_endpoint, without])), ["tenants[1].subscriptions[0].endpoint_id"]);
}

#[test]
fn ids_are_unique_in_a_tenant_and_tokens_and_keys_among_all() {
    let key = Key { id: "k".into(), name: None, scopes: vec![Scope::Read], hash: KeyHash::of("k"), old_hash: None };
    let one = Tenant {
        endpoints: vec![an_endpoint(), an_endpoint()],
        sources: vec![a_source("12345678")],
        keys: vec![key.clone()],
        ..a_tenant("a")
    };
    let other = Tenant {
        endpoints: vec![an_endpoint()],
        sources: vec![a_source("12345678")],
        keys: vec![key],
        ..a_tenant("b")
    };
    let problems = tenants(&[one, other]);
    let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "tenants[0].endpoints[1].id: the id is already used at tenants[0].endpoints[0].id",
            "tenants[1].sources[0].token: the token is already used at tenants[0].sources[0].token",
            "tenants[1].keys[0].hash: the key is already used at tenants[0].keys[0].hash",
        ]
    );
}
