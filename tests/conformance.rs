//! The API does what its OpenAPI document says: slow tests, which `./test --all` runs.
//!
//! schemathesis sends what the document allows and what it forbids, with the operator's key and with a tenant's. A client in
//! Rust, which takes a minute to compile, is generated and tells its story.

// Each file uses its own part of it.
#[allow(unused_imports)]
mod harness;

use harness::{Api, GeneratedClient, KEY, Process, Receiver, Site, installed, report, script, succeeds};
use reqwest::Method;
use schemas::KeyHash;
use serde_json::{Value, json};

/// A tenant's key with every scope.
const TENANTS_KEY: &str = "a-tenants-key-of-the-tests";

/// Lines of the log at the level `WARN` that these requests must cause, each with its reason.
const ARGUED: [(&str, &str); 0] = [];

/// A process whose deliveries end at a proxy that is not there, with a tenant that has one of each.
struct Fixture {
    standalone: Process,
    _site: Site,
}

impl Fixture {
    async fn start() -> Self {
        let mut site =
            Site::from_nothing().set("deliverer.proxy", "http://127.0.0.1:9").set("http.requests_per_second", "0");
        for limit in ["endpoints", "subscriptions", "sources", "keys", "replays"] {
            site = site.set(&format!("control.max_{limit}"), "1000000");
        }
        let standalone = site.start("standalone").await;
        let fixture = Self { standalone, _site: site };
        fixture.configure().await;
        fixture
    }

    fn api(&self) -> Api {
        self.standalone.api()
    }

    async fn configure(&self) {
        let hash = String::from(KeyHash::of(TENANTS_KEY));
        for (path, body) in [
            ("", json!({})),
            ("/keys/all", json!({"scopes": ["publish", "read", "manage"], "hash": hash})),
            ("/endpoints/crm", json!({"url": "https://crm.example/", "retry": {"schedule": []}})),
            ("/subscriptions/all", json!({"endpoint_id": "crm", "event_types": ["*"]})),
            ("/sources/main", json!({"dialect": "whazing", "token": "the-token-of-main"})),
            ("/channels/7/webhook", json!({"url": "https://n8n.example/7", "events": ["received"]})),
            ("/integrations/bot", json!({"url": "https://n8n.example/bot"})),
            ("/queues/12/integration", json!({"integration_id": "bot"})),
        ] {
            self.api().put(&format!("/v1/tenants/acme{path}"), body).await;
        }
        let event = json!({"id": "first", "type": "message.received"});
        self.api().done(KEY, Method::POST, "/v1/tenants/acme/events", Some(event)).await;
    }

    /// Runs schemathesis, and looks at the process afterwards.
    async fn conforms(&self, name: &str, key: &str, seed: u32, examples: u32, options: &[&str]) {
        let mut command = script("schemathesis/run");
        command
            .arg(installed("schemathesis"))
            .arg(self.api().url())
            .args([seed, examples].map(|number| number.to_string()));
        command.args(options).env("CARTEIRO_KEY", key);
        let said = succeeds(command).await;
        report(name, said.lines().rev().find(|line| line.contains(" generated, ")).unwrap_or_default().trim());
        let unexpected: Vec<Value> = self.standalone.log().into_iter().filter(is_unexpected).collect();
        assert!(unexpected.is_empty(), "logged: {unexpected:#?}");
        assert_eq!(self.standalone.readyz().await.0, 200);
    }
}

fn is_unexpected(line: &Value) -> bool {
    let is_argued = |(message, _): &(&str, &str)| line["message"] == *message;
    line["level"] == "ERROR" || line["level"] == "WARN" && !ARGUED.iter().any(is_argued)
}

#[tokio::test]
async fn schemathesis_finds_nothing_with_the_operators_key() {
    Fixture::start().await.conforms("with the operator's key", KEY, 1, 10, &[]).await;
}

#[tokio::test]
async fn schemathesis_finds_nothing_with_a_tenants_key() {
    Fixture::start().await.conforms("with a tenant's key", TENANTS_KEY, 2, 10, &[]).await;
}

#[tokio::test]
async fn the_rust_client_has_every_call_compiles_and_tells_its_story() {
    let receiver = Receiver::accepting().await;
    let site = Site::from_nothing();
    let standalone = site.start("standalone").await;
    GeneratedClient::Rust.tells_its_story(&standalone.api(), &receiver).await;
}
