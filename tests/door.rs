//! The API's own door: TLS, who is believed to have come, how often one may, and that no log knows a key.

use std::fs;

use reqwest::Method;
use serde_json::Value;

use crate::harness::{KEY, Process, Receiver, Site};

const TENANT: &str = "tenants: [{id: acme}]";

/// A certificate for 127.0.0.1 that nobody knows, and its key.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// A site whose API has such a certificate, in `cert.pem`.
fn with_tls() -> Site {
    let site = Site::embedded(TENANT);
    let (cert, key) = certificate();
    fs::write(site.path("cert.pem"), cert).expect("its own folder");
    fs::write(site.path("key.pem"), key).expect("its own folder");
    site.set("http.tls.cert", "cert.pem").set("http.tls.key", "key.pem")
}

/// A client that a test may make as it likes.
fn client() -> reqwest::ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy()
}

async fn url_of(process: &Process, scheme: &str) -> String {
    let http = process.logged("process.started").await["http"].as_str().expect("an API").to_owned();
    format!("{scheme}://{http}")
}

/// Its code, and what it said on either stream.
async fn publishes(site: &Site, more: &[&str]) -> (i32, String) {
    fs::write(site.path("event.json"), r#"{"type":"ticket.created"}"#).expect("its own folder");
    let output = site.run(&[&["publish", "--tenant", "acme", "event.json"], more].concat()).await;
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().expect("it ends by itself"), String::from_utf8(said).expect("text"))
}

#[tokio::test]
async fn the_api_speaks_tls_and_http2_to_who_knows_its_certificate() {
    let site = with_tls();
    let standalone = site.start("standalone").await;
    let url = url_of(&standalone, "https").await;

    let pem = fs::read(site.path("cert.pem")).expect("it was written");
    let certificate = reqwest::Certificate::from_pem(&pem).expect("a certificate");
    let client = client().tls_certs_only([certificate]).build().expect("a client");
    let answer = client.get(format!("{url}/v1/nothing")).send().await.expect("an answer");
    assert_eq!((answer.status().as_u16(), answer.version()), (404, reqwest::Version::HTTP_2));

    let trusting = ["--url", &url, "--ca-file", "cert.pem"];
    assert_eq!(publishes(&site, &trusting).await, (0, "1 of 1 confirmed, 0 failed\n".to_owned()));
    let (code, said) = publishes(&site, &["--url", &url]).await;
    assert_eq!((code, said.contains("UnknownIssuer; give --ca-file")), (69, true), "{said}");
    let (code, said) = publishes(&site, &["--url", &url, "--ca-file", "key.pem"]).await;
    assert_eq!((code, said.contains("key.pem: holds no certificate")), (64, true), "{said}");
    assert_eq!(standalone.end().await, 0);
}

#[tokio::test]
async fn a_command_finds_out_from_the_configuration_that_the_api_speaks_tls() {
    let (code, said) = publishes(&with_tls().set("http.listen", "127.0.0.1:9"), &[]).await;
    assert_eq!((code, said.contains("https://127.0.0.1:9: nobody listens")), (69, true), "{said}");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_exits_78_and_names_its_key() {
    let site = with_tls();
    for (file, key) in [("cert.pem", "http.tls.key"), ("missing.pem", "http.tls.key"), ("missing.pem", "http.tls.cert")]
    {
        let output = site.run(&["--set", &format!("{key}={file}"), "standalone"]).await;
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(
            (output.status.code(), said.contains(&format!("carteiro: {key}: {file}"))),
            (Some(78), true),
            "{said}"
        );
    }
}

#[tokio::test]
async fn whoever_asks_too_often_is_told_when_to_come_back_and_the_intake_is_not_concerned() {
    let hash = serde_json::to_value(schemas::KeyHash::of(TENANTS_KEY)).expect("a hash");
    let site =
        Site::embedded(&format!("tenants: [{{id: acme, keys: [{{id: backend, scopes: [read], hash: {hash}}}]}}]"));
    let site = site.set("http.requests_per_second", "1").set("http.requests_burst", "2");
    let standalone = site.start("standalone").await;
    let api = standalone.api();
    let ask = || api.anonymous(Method::GET, "/v1/tenants/acme").bearer_auth(TENANTS_KEY).send();
    let mut answers = Vec::new();
    for _ in 0..50 {
        answers.push(ask().await.expect("an answer"));
    }
    assert_eq!((answers[0].status().as_u16(), answers[1].status().as_u16()), (200, 200), "they are in the burst");
    let refused = answers.into_iter().find(|answer| answer.status() == 429).expect("more than a second's worth");
    assert_eq!(refused.headers()["retry-after"], "1");
    let problem: Value = serde_json::from_str(&refused.text().await.expect("a body")).expect("JSON");
    assert_eq!(problem["code"], "too_many_requests");
    let wrong = || api.anonymous(Method::GET, "/v1/tenants/acme").bearer_auth("guessed");
    let mut statuses = Vec::new();
    for _ in 0..50 {
        statuses.push(wrong().send().await.expect("an answer").status().as_u16());
    }
    assert_eq!(statuses[..2], [401, 401], "an address without a valid key has an allowance of its own");
    assert!(statuses.contains(&429), "which ends: {statuses:?}");
    assert_eq!(api.publish("acme", crate::harness::ids("free", 500)).await.len(), 500);
}

#[tokio::test]
async fn guessing_tokens_and_keys_at_the_intake_is_slow_and_holds_up_nobody_else() {
    let source = format!("{{id: main, dialect: whazing, token: {SOURCE_TOKEN}}}");
    let site = Site::embedded(&format!("tenants: [{{id: acme, sources: [{source}]}}]"));
    let site = site.set("http.requests_per_second", "1").set("http.requests_burst", "2");
    let standalone = site.start("standalone").await;
    let api = standalone.api();
    let post = async |path: &str| {
        let request =
            api.anonymous(Method::POST, path).bearer_auth("guessed").header("content-type", "application/json");
        request.body(r#"{"event":"test"}"#).send().await.expect("an answer").status().as_u16()
    };
    let mut guesses = Vec::new();
    for guess in 0..25 {
        guesses.push(post(&format!("/v1/in/{FORGED}-{guess}")).await);
        guesses.push(post("/v1/tenants/acme/events").await);
    }
    assert_eq!(guesses[..2], [404, 401]);
    assert!(guesses.contains(&429), "{guesses:?}");
    for _ in 0..10 {
        assert_eq!(post(&format!("/v1/in/{SOURCE_TOKEN}")).await, 202, "a vendor behind the same address");
    }
}

const SOURCE_TOKEN: &str = "token-of-the-source-0123456789abcdef";
const TENANTS_KEY: &str = "key-of-the-tenant-0123456789abcdef";
const SENDERS_KEY: &str = "key-of-the-sender-0123456789abcdef";
const RECEIVERS_KEY: &str = "key-of-the-receiver-0123456789abcdef";
const PATH: &str = "path-of-the-receiver-0123456789abcdef";
const FORGED: &str = "token-that-was-guessed";

/// Libraries that are quiet unless asked by name, with all that they have to say.
const EVERYTHING: &str = "trace,h2=trace,hyper=trace,hyper_util=trace,reqwest=trace,rustls=trace";

/// Everything that an intruder would like to find in a log, in use.
fn with_secrets(url: &str) -> String {
    let hash = schemas::KeyHash::of(TENANTS_KEY);
    let hash = serde_json::to_value(hash).expect("a hash");
    format!(
        "tenants:
  - id: acme
    endpoints:
      - {{id: crm, url: \"{url}\", format: original, n8n_api_key: {RECEIVERS_KEY}}}
    subscriptions:
      - {{id: all, endpoint_id: crm, event_types: [\"*\"]}}
    sources:
      - {{id: main, dialect: whazing, token: {SOURCE_TOKEN}, n8n_api_key: {SENDERS_KEY}}}
    keys:
      - {{id: backend, scopes: [publish, read, manage], hash: {hash}}}
"
    )
}

#[tokio::test]
async fn no_log_knows_a_token_or_a_key_even_at_level_trace() {
    let receiver = Receiver::accepting().await;
    let site = Site::embedded(&with_secrets(&receiver.url(&format!("/{PATH}")))).set("telemetry.level", EVERYTHING);
    let standalone = site.start("standalone").await;
    let url = url_of(&standalone, "http").await;
    let body =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/vendor/whazing-channel-message.json"));
    let body = body.expect("a fixture");

    let http1 = client().http1_only();
    let http2 = client().http2_prior_knowledge();
    let mut accepted = 0;
    for client in [http1, http2] {
        let client = client.build().expect("a client");
        let vendor = |token: &str| {
            let post = client.post(format!("{url}/v1/in/{token}")).header("x-n8n-api-key", SENDERS_KEY);
            post.header("content-type", "application/json").body(body.clone())
        };
        let with_key = |path: &str| client.get(format!("{url}{path}")).bearer_auth(TENANTS_KEY);
        let event = client.post(format!("{url}/v1/tenants/acme/events")).header("content-type", "application/json");
        let requests = [
            (vendor(SOURCE_TOKEN), 202),
            (vendor(SOURCE_TOKEN).header("content-encoding", "gzip"), 415),
            (vendor(SOURCE_TOKEN).body("{\"torn"), 422),
            (vendor(FORGED), 404),
            (vendor(&format!("{SOURCE_TOKEN}/more")), 404),
            (vendor(&format!("{SOURCE_TOKEN}%ff")), 404),
            (with_key(&format!("/v1/in/{SOURCE_TOKEN}")), 405),
            (event.bearer_auth(TENANTS_KEY).body(r#"{"type":"ticket.created"}"#), 202),
            (with_key("/v1/tenants/acme/replays/none"), 404),
            (client.get(format!("{url}/v1/tenants/acme/replays/none")).bearer_auth(KEY), 404),
            (client.get(format!("{url}/v1/tenants/acme/replays/none")).bearer_auth(FORGED), 401),
        ];
        for (request, status) in requests {
            assert_eq!(request.send().await.expect("an answer").status().as_u16(), status);
        }
        accepted += 2;
    }
    receiver.until("all arrive", |ledger| ledger.delivered(&format!("/{PATH}")) >= accepted - 1).await;
    let log = standalone.logged("process.ended");
    standalone.terminate().await;
    log.await;

    let lines: Vec<_> = standalone.log().iter().map(ToString::to_string).collect();
    assert!(lines.iter().any(|line| line.contains("h2::")), "libraries speak as well");
    assert!(lines.iter().any(|line| line.contains("request.answered") && line.contains("/v1/in/{token}")));
    for secret in [SOURCE_TOKEN, TENANTS_KEY, SENDERS_KEY, RECEIVERS_KEY, PATH, FORGED, KEY] {
        let told: Vec<_> = lines.iter().filter(|line| line.contains(secret)).take(5).collect();
        assert!(told.is_empty(), "{secret} is in the log: {told:#?}");
    }
}
