//! An installation in which everything that must stay secret is a sentinel, and what was seen of it from outside.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::{
    echo_server::{EchoServer, EchoTexts},
    sentinels::{SampleOrigin, SentinelKind, Sentinels},
};
use crate::harness::{Api, Process, Site, eventually};

/// Ours with all they have to say; the libraries as they are.
const LEVEL: &str = "trace";

/// What is sent, and what it is sent with.
pub(super) struct Secrets {
    pub(super) operator: String,
    pub(super) encryption: String,
    pub(super) n8n: String,
    pub(super) header: String,
    pub(super) shown_header: String,
    pub(super) signing: String,
    pub(super) sender: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) guessed: String,
    pub(super) text: String,
    pub(super) name: String,
    pub(super) number: String,
    pub(super) api_config: String,
}

impl Secrets {
    fn make(sentinels: &mut Sentinels) -> Self {
        let mut secret = |what| sentinels.make(what, SentinelKind::Secret);
        let (operator, encryption, n8n) = (secret("operator"), secret("encryption"), secret("n8n"));
        let (header, sender, guessed) = (secret("header"), secret("sender"), secret("guessed"));
        // A signing secret is base64 of 24 bytes or more.
        let signing = STANDARD.encode(format!("signing{:020}", fastrand::u64(..)));
        sentinels.note("signing", SentinelKind::Secret, &signing);
        let mut configured = |what| sentinels.make(what, SentinelKind::Configured);
        let (shown_header, path, query) = (configured("shown"), configured("path"), configured("query"));
        let mut word = |what| sentinels.make(what, SentinelKind::Body);
        let (text, name, number, api_config) = (word("text"), word("name"), word("number"), word("apiconfig"));
        let signing = format!("whsec_{signing}");
        Self {
            operator,
            encryption,
            n8n,
            header,
            shown_header,
            signing,
            sender,
            path,
            query,
            guessed,
            text,
            name,
            number,
            api_config,
        }
    }
}

/// The installation.
pub(super) struct Fixture {
    pub(super) sentinels: Sentinels,
    pub(super) secrets: Secrets,
    /// Of the tenant's administrator.
    pub(super) key: String,
    /// The path that vendors post to.
    pub(super) webhook_path: String,
    pub(super) site: Site,
    /// By the name of their role.
    pub(super) roles: Vec<(&'static str, Process)>,
    pub(super) echo: EchoServer,
    /// Where something must not be found: what it is, its name, and its text.
    pub(super) samples: Vec<(SampleOrigin, String, String)>,
    /// Where everything may be found.
    pub(super) controls: String,
}

impl Fixture {
    /// Starts these roles on the site that is made of the first sentinels, and configures a tenant through the API.
    pub(super) async fn start(site: impl AsyncFnOnce(&mut Sentinels) -> Site, roles: &[&'static str]) -> Self {
        let mut sentinels = Sentinels::default();
        let secrets = Secrets::make(&mut sentinels);
        let words = EchoTexts {
            body: sentinels.make("answer", SentinelKind::Answer),
            header: sentinels.make("answersheader", SentinelKind::Secret),
        };
        let controls = format!("{} {}", words.header, secrets.guessed);
        let site = site(&mut sentinels).await.set("telemetry.level", LEVEL);
        let site = site.set("http.operator_key", &secrets.operator);
        let site = site.set("store.encryption_key", &secrets.encryption);
        let mut running = Vec::new();
        for role in roles {
            // Control lets an address be configured that the deliverer, who has the last word, does not connect to.
            let own = [("deliverer.allow_networks", "127.0.0.0/8,169.254.0.0/16")];
            let own = if *role == "control" { &own[..] } else { &[] };
            running.push((*role, site.start_with(role, own).await));
        }
        for (_, process) in &running {
            process.ready().await;
        }
        let (echo, samples) = (EchoServer::start(words).await, Vec::new());
        let (key, webhook_path, roles) = (String::new(), String::new(), running);
        let mut fixture = Self { sentinels, secrets, key, webhook_path, site, roles, echo, samples, controls };
        fixture.configure().await;
        fixture
    }

    async fn configure(&mut self) {
        self.done(Method::PUT, "/v1/tenants/acme", json!({"name": "Acme"})).await;
        let scopes = json!({"id": "backend", "scopes": ["publish", "read", "manage"]});
        let made = self.done(Method::POST, "/v1/tenants/acme/keys", scopes).await;
        self.key = self.made("tenantskey", &made["key"]);
        let source = json!({"id": "main", "dialect": "whazing", "n8n_api_key": self.secrets.sender});
        let made = self.done(Method::POST, "/v1/tenants/acme/sources", source).await;
        self.webhook_path = format!("/v1/in/{}", self.made("token", &made["token"]));
        for (id, begin) in self.places() {
            let Secrets { n8n, header, shown_header, signing, path, query, .. } = &self.secrets;
            let endpoint = json!({
                "url": format!("{begin}/{path}?token={query}"), "timeout": "1s",
                "n8n_api_key": n8n, "secrets": [signing],
                "headers": {"x-shown": shown_header, "authorization": {"secret": format!("Bearer {header}")}},
                "retry": {"schedule": ["1s"], "max_age": "1h"},
                "format": if id == "original" { "original" } else { "canonical" },
            });
            let answer = self.done(Method::PUT, &format!("/v1/tenants/acme/endpoints/{id}"), endpoint).await;
            self.keep(SampleOrigin::Configuration, &format!("endpoint {id} when it was made"), answer.to_string());
            let wants = json!({"endpoint_id": id, "event_types": ["*"]});
            self.done(Method::PUT, &format!("/v1/tenants/acme/subscriptions/{id}"), wants).await;
        }
    }

    /// The endpoints, by how a POST to them ends, and the beginnings of their URLs.
    pub(super) fn places(&self) -> Vec<(&'static str, String)> {
        let echo = |path: &str| format!("http://{}/{path}", self.echo.address);
        let mut listeners = vec![
            ("takes", echo("takes")),
            ("original", echo("takes")),
            ("fails", echo("fails")),
            ("hangs", echo("hangs")),
            ("gone", echo("gone")),
            ("redirects", echo("redirects")),
            ("echoes", echo("echoes")),
            ("refused", "http://127.0.0.1:9".to_owned()),
            ("tls", format!("https://{}", self.echo.address)),
            ("dns", format!("http://{}.invalid", self.secrets.path)),
        ];
        if self.roles.len() > 1 {
            listeners.push(("blocked", "http://169.254.169.254".to_owned()));
        }
        listeners
    }

    /// The role that serves this, or the only process.
    pub(super) fn role(&self, name: &str) -> &Process {
        let found = self.roles.iter().find(|(role, _)| *role == name).or(self.roles.first());
        &found.expect("one runs").1
    }

    pub(super) fn control(&self) -> Api {
        self.role("control").api()
    }

    pub(super) fn producer(&self) -> Api {
        self.role("producer").api()
    }

    /// What the operator asks of control, and gets.
    pub(super) async fn done(&self, method: Method, path: &str, body: Value) -> Value {
        self.control().done(&self.secrets.operator, method, path, Some(body)).await
    }

    /// What the tenant's administrator gets.
    pub(super) async fn get(&self, path: &str) -> Value {
        self.control().done(&self.key, Method::GET, &format!("/v1/tenants/acme{path}"), None).await
    }

    /// Something secret that was made, and shown this once.
    pub(super) fn made(&mut self, what: &str, secret: &Value) -> String {
        let secret = secret.as_str().expect("it is shown this once").to_owned();
        self.sentinels.note(what, SentinelKind::Secret, secret.trim_start_matches("whsec_"));
        self.controls += &format!("{secret} ");
        secret
    }

    /// Remembers what was seen.
    pub(super) fn keep(&mut self, place: SampleOrigin, name: &str, text: String) {
        self.samples.push((place, name.to_owned(), text));
    }

    /// Sends something that is refused, and remembers how.
    pub(super) async fn refused(&mut self, name: &str, status: u16, request: RequestBuilder) {
        let answer = request.send().await.expect("it answers");
        let (found, headers) = (answer.status().as_u16(), format!("{:?}", answer.headers()));
        let body = answer.text().await.expect("a body");
        assert_eq!(found, status, "{name}: {body}");
        self.keep(SampleOrigin::Refusal, name, headers + &body);
    }

    /// The tenant's dead letters, once there are so many.
    pub(super) async fn dead_letters(&self, count: usize) -> Vec<Value> {
        eventually("deliveries end", || async {
            let page = self.get("/dead-letters?limit=1000").await;
            let items = page["items"].as_array().expect("a list").clone();
            (items.len() >= count).then_some(items)
        })
        .await
    }

    /// Everything that leaked, a line each.
    pub(super) fn leaks(&self) -> Vec<String> {
        self.samples.iter().flat_map(|(place, name, text)| self.sentinels.leaked(*place, name, text)).collect()
    }
}
