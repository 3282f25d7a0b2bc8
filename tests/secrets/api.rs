//! Requests to the API: everything that can be read, tests of endpoints, rotations, and mistakes of all kinds.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::{fixture::Fixture, sentinels::SampleOrigin};

const TENANT: &str = "/v1/tenants/acme";

impl Fixture {
    fn asks(&self, method: Method, path: &str, body: &Value) -> RequestBuilder {
        self.sends(method, path, "application/json", body.to_string())
    }

    fn sends(&self, method: Method, path: &str, content_type: &str, body: String) -> RequestBuilder {
        let request = self.control().anonymous(method, &format!("{TENANT}{path}")).bearer_auth(&self.key);
        request.header("content-type", content_type).body(body)
    }

    /// Reads everything, as the tenant's administrator.
    pub(super) async fn look(&mut self) {
        for path in ["/endpoints", "/endpoints/takes", "/status"] {
            let shown = self.get(path).await;
            self.keep(SampleOrigin::Endpoints, &format!("GET {path}"), shown.to_string());
        }
        for path in ["", "/subscriptions", "/sources", "/keys", "/audit"] {
            let shown = self.get(path).await;
            self.keep(SampleOrigin::Configuration, &format!("GET {path}"), shown.to_string());
        }
        for path in ["/usage", "/dead-letters?limit=1000", "/endpoints/fails/waiting"] {
            let shown = self.get(path).await;
            self.keep(SampleOrigin::List, &format!("GET {path}"), shown.to_string());
        }
        let explained = self.asks(Method::POST, "/explain", &self.event()).send().await.expect("it answers");
        let explained = explained.text().await.expect("a body");
        assert!(explained.contains("subscription_id"), "{explained}");
        self.keep(SampleOrigin::List, "explain", explained);
        let all = self.control().done(&self.secrets.operator, Method::GET, "/v1/export", None).await;
        self.keep(SampleOrigin::Configuration, "the export", all.to_string());
        let all = self.control().done(&self.secrets.operator, Method::GET, "/v1/export?with_secrets=true", None).await;
        self.controls += &all.to_string();
    }

    /// Reads dead letters and parked messages, as lists and with their bodies, and replays them.
    pub(super) async fn look_at_the_dead(&mut self, parked: usize) {
        for letter in self.dead_letters(1).await {
            let id = letter["id"].as_str().expect("an id");
            let shown = self.get(&format!("/dead-letters/{id}")).await;
            self.keep(SampleOrigin::Shown, "a dead letter", shown.to_string());
        }
        let operator = self.secrets.operator.clone();
        let list = self.control().done(&operator, Method::GET, "/v1/parked", None).await;
        let items = list["items"].as_array().expect("a list");
        assert_eq!(items.len(), parked, "{list}");
        if let Some(id) = items.first().and_then(|item| item["id"].as_str()) {
            let path = format!("/v1/parked/{id}");
            let shown = self.control().done(&operator, Method::GET, &path, None).await;
            self.keep(SampleOrigin::Shown, "a parked message", shown.to_string());
            let again = self.control().done(&operator, Method::POST, &format!("{path}/requeue"), None).await;
            self.keep(SampleOrigin::List, "a requeued message", again.to_string());
        }
        self.keep(SampleOrigin::List, "the parked messages", list.to_string());
        let replay = self.done(Method::POST, &format!("{TENANT}/replays"), json!({"filter": {}})).await;
        self.keep(SampleOrigin::List, "a replay", replay.to_string());
    }

    /// Tests every endpoint.
    pub(super) async fn test_endpoints(&mut self) {
        for (id, _) in self.endpoints() {
            let answer = self.asks(Method::POST, &format!("/endpoints/{id}/test"), &json!({})).send().await;
            let answer = answer.expect("it answers").text().await.expect("a body");
            assert!(answer.contains("\"outcome\""), "{id}: {answer}");
            self.keep(SampleOrigin::List, &format!("the test of {id}"), answer);
        }
    }

    /// Rotates every secret that can be.
    pub(super) async fn rotate(&mut self) {
        for (what, path, field) in [
            ("newsigning", "/endpoints/takes/secrets/rotate", "secret"),
            ("newtoken", "/sources/main/token/rotate", "token"),
            ("newkey", "/keys/backend/rotate", "key"),
        ] {
            let answer = self.done(Method::POST, &format!("{TENANT}{path}"), json!({})).await;
            let made = self.made(what, &answer[field]);
            match field {
                "key" => self.key = made,
                "token" => self.webhook_path = format!("/v1/in/{made}"),
                _ => {}
            }
        }
    }

    /// Invalid endpoints, each with a sentinel that no answer may repeat.
    fn impossible_endpoints(&self) -> Vec<Value> {
        let (secret, query) = (&self.secrets.guessed, &self.secrets.query);
        let with = |field: &str, value: Value| {
            let mut endpoint = json!({"url": "http://crm.example/"});
            endpoint[field] = value;
            endpoint
        };
        vec![
            with("url", format!("http://user:{secret}@crm.example/").into()),
            with("url", format!("http://crm.example:99999/?token={query}").into()),
            with("url", format!("no url {query}").into()),
            with("url", format!("ftp://crm.example/{query}").into()),
            with("url", format!("http://127.0.0.2.{query}:port/").into()),
            with("url", json!([query])),
            with("n8n_api_key", format!("two\nlines {secret}").into()),
            with("n8n_api_key", json!({"key": secret})),
            with("headers", json!({"x-own": {"secret": format!("two\nlines {secret}")}})),
            with("headers", json!({"x-own": {"secret": secret, "more": 1}})),
            with("headers", json!({"x-own": [secret]})),
            with("headers", secret.as_str().into()),
            with("secrets", json!([format!("whsec_{secret}!")])),
            with("secrets", json!([format!("{secret}")])),
            with("secrets", format!("whsec_{secret}").into()),
            with("secrets", json!([{"secret": format!("whsec_{secret}"), "until": secret}])),
            with("format", secret.as_str().into()),
            with("timeout", secret.as_str().into()),
            with("retry", json!({"schedule": [secret], "max_age": "1h"})),
            with("state", secret.as_str().into()),
        ]
    }

    /// Sends invalid requests.
    pub(super) async fn mistake(&mut self) {
        for (nth, endpoint) in self.impossible_endpoints().into_iter().enumerate() {
            let request = self.asks(Method::PUT, "/endpoints/impossible", &endpoint);
            self.refused(&format!("the endpoint {nth}"), 422, request).await;
        }
        let (secret, operator) = (self.secrets.guessed.clone(), self.secrets.operator.clone());
        let token = self.webhook_path.trim_start_matches("/v1/in/").to_owned();
        let torn = format!("{{\"n8n_api_key\":\"{secret}");
        let put = |path: &str, body: Value| self.asks(Method::PUT, path, &body);
        let requests = [
            ("a hash that is none", 422, put("/keys/bad", json!({"scopes": ["read"], "hash": secret}))),
            ("a scope that is none", 422, put("/keys/bad", json!({"scopes": [secret]}))),
            ("a dialect that is none", 422, put("/sources/bad", json!({"dialect": secret}))),
            ("a token that is short", 422, put("/sources/bad", json!({"dialect": "whazing", "token": "short"}))),
            ("a token of another's", 409, put("/sources/bad", json!({"dialect": "whazing", "token": token}))),
            ("no endpoint", 422, put("/subscriptions/bad", json!({"endpoint_id": secret, "event_types": ["*"]}))),
            ("an id twice", 409, self.asks(Method::POST, "/keys", &json!({"id": "backend", "scopes": ["read"]}))),
            ("torn", 422, self.sends(Method::PUT, "/endpoints/takes", "application/json", torn.clone())),
            ("no JSON", 415, self.sends(Method::PUT, "/endpoints/takes", "text/plain", torn)),
            (
                "another version",
                412,
                put("/endpoints/takes", json!({"url": "http://a.example/"})).header("if-match", "\"7\""),
            ),
            ("too large", 413, put("/endpoints/takes", json!({"name": secret.repeat(100_000)}))),
            ("a parameter", 400, self.asks(Method::GET, &format!("/endpoints?key={secret}"), &json!({}))),
            ("a filter", 422, self.asks(Method::POST, "/replays", &json!({"filter": {"reason": secret}}))),
            ("an event", 422, self.asks(Method::POST, "/explain", &json!({"type": self.secrets.text}))),
            ("a guessed key", 401, self.control().anonymous(Method::GET, TENANT).bearer_auth(&secret)),
            ("another's thing", 403, self.control().anonymous(Method::GET, "/v1/parked").bearer_auth(&self.key)),
            ("nothing there", 404, self.control().anonymous(Method::GET, "/v1/tenants/none").bearer_auth(&operator)),
        ];
        for (name, status, request) in requests {
            self.refused(name, status, request).await;
        }
    }
}
