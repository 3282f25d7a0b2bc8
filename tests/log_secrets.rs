//! No log of any library holds a token or a key, at any level.

use std::fs;

use crate::harness::{KEY, Receiver, Site};

const SOURCE_TOKEN: &str = "token-of-the-source-0123456789abcdef";
const TENANT_KEY: &str = "key-of-the-tenant-0123456789abcdef";
const SENDER_KEY: &str = "key-of-the-sender-0123456789abcdef";
const RECEIVER_KEY: &str = "key-of-the-receiver-0123456789abcdef";
const RECEIVER_PATH: &str = "path-of-the-receiver-0123456789abcdef";
const GUESSED_TOKEN: &str = "token-that-was-guessed";

/// A builder of an HTTP client without a proxy.
fn client() -> reqwest::ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy()
}

/// Level `trace` for everything, also for the libraries that log nothing unless they are named.
const TRACE_EVERYTHING: &str = "trace,h2=trace,hyper=trace,hyper_util=trace,reqwest=trace,rustls=trace";

/// The YAML of a tenant that uses all secrets.
fn with_secrets(url: &str) -> String {
    let hash = schemas::KeyHash::of(TENANT_KEY);
    let hash = serde_json::to_value(hash).expect("a hash");
    format!(
        "tenants:
  - id: acme
    endpoints:
      - {{id: crm, url: \"{url}\", format: original, n8n_api_key: {RECEIVER_KEY}}}
    subscriptions:
      - {{id: all, endpoint_id: crm, event_types: [\"*\"]}}
    sources:
      - {{id: main, dialect: whazing, token: {SOURCE_TOKEN}, n8n_api_key: {SENDER_KEY}}}
    keys:
      - {{id: backend, scopes: [publish, read, manage], hash: {hash}}}
"
    )
}

#[tokio::test]
async fn no_token_and_no_key_is_logged_even_at_level_trace() {
    let receiver = Receiver::accepting().await;
    let site = Site::embedded(&with_secrets(&receiver.url(&format!("/{RECEIVER_PATH}"))))
        .set("telemetry.level", TRACE_EVERYTHING);
    let standalone = site.start("standalone").await;
    let url = standalone.api().url();
    let body =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/vendor/whazing-channel-message.json"));
    let body = body.expect("a fixture");

    let http1 = client().http1_only();
    let http2 = client().http2_prior_knowledge();
    let mut accepted = 0;
    for client in [http1, http2] {
        let client = client.build().expect("a client");
        let vendor = |token: &str| {
            let post = client.post(format!("{url}/v1/in/{token}")).header("x-n8n-api-key", SENDER_KEY);
            post.header("content-type", "application/json").body(body.clone())
        };
        let with_key = |path: &str| client.get(format!("{url}{path}")).bearer_auth(TENANT_KEY);
        let event = client.post(format!("{url}/v1/tenants/acme/events")).header("content-type", "application/json");
        let requests = [
            (vendor(SOURCE_TOKEN), 202),
            (vendor(SOURCE_TOKEN).header("content-encoding", "gzip"), 415),
            (vendor(SOURCE_TOKEN).body("{\"torn"), 422),
            (vendor(GUESSED_TOKEN), 404),
            (vendor(&format!("{SOURCE_TOKEN}/more")), 404),
            (vendor(&format!("{SOURCE_TOKEN}%ff")), 404),
            (with_key(&format!("/v1/in/{SOURCE_TOKEN}")), 405),
            (event.bearer_auth(TENANT_KEY).body(r#"{"type":"ticket.created"}"#), 202),
            (with_key("/v1/tenants/acme/replays/none"), 404),
            (client.get(format!("{url}/v1/tenants/acme/replays/none")).bearer_auth(KEY), 404),
            (client.get(format!("{url}/v1/tenants/acme/replays/none")).bearer_auth(GUESSED_TOKEN), 401),
        ];
        for (request, status) in requests {
            assert_eq!(request.send().await.expect("an answer").status().as_u16(), status);
        }
        accepted += 2;
    }
    receiver.until("all arrive", |recorder| recorder.delivered(&format!("/{RECEIVER_PATH}")) >= accepted - 1).await;
    let log = standalone.logged("process.ended");
    standalone.terminate().await;
    log.await;

    let lines: Vec<_> = standalone.log().iter().map(ToString::to_string).collect();
    assert!(lines.iter().any(|line| line.contains("h2::")), "libraries log as well");
    assert!(lines.iter().any(|line| line.contains("request.answered") && line.contains("/v1/in/{token}")));
    for secret in [SOURCE_TOKEN, TENANT_KEY, SENDER_KEY, RECEIVER_KEY, RECEIVER_PATH, GUESSED_TOKEN, KEY] {
        let leaks: Vec<_> = lines.iter().filter(|line| line.contains(secret)).take(5).collect();
        assert!(leaks.is_empty(), "{secret} is in the log: {leaks:#?}");
    }
}
