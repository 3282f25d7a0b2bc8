//! An installation whose secrets, settings and bodies are all sentinels, and samples of everything that it shows.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::{
    echo_server::{EchoServer, EchoTexts},
    sentinels::{SampleOrigin, SentinelKind, Sentinels},
};
use crate::harness::{Api, Process, Site, eventually};

/// The log level of the processes, which libraries do not follow.
const LEVEL: &str = "trace";

/// The sentinels of one installation, by their use.
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

/// A running installation, and the samples taken of it.
pub(super) struct Fixture {
    pub(super) sentinels: Sentinels,
    pub(super) secrets: Secrets,
    /// Key of the tenant's administrator.
    pub(super) key: String,
    /// Path that vendors post to.
    pub(super) webhook_path: String,
    pub(super) site: Site,
    /// Processes, by the name of their role.
    pub(super) roles: Vec<(&'static str, Process)>,
    pub(super) echo: EchoServer,
    /// Texts in which sentinels are looked for: origin, name and text.
    pub(super) samples: Vec<(SampleOrigin, String, String)>,
    /// Texts in which every sentinel may be, to show that each was in use.
    pub(super) controls: String,
}

impl Fixture {
    /// Starts these roles, on a site that is made with the first sentinels, and configures a tenant over the API.
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
            // Control accepts an address that deliverers then refuse to connect to.
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
        for (id, begin) in self.endpoints() {
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

    /// The endpoints: ids that say how a POST ends, and the beginnings of URLs.
    pub(super) fn endpoints(&self) -> Vec<(&'static str, String)> {
        let echo = |path: &str| format!("http://{}/{path}", self.echo.address);
        let mut endpoints = vec![
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
            endpoints.push(("blocked", "http://169.254.169.254".to_owned()));
        }
        endpoints
    }

    /// The process of a role, or the only process.
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

    /// Sends a request of the operator to control. Returns the answer.
    pub(super) async fn done(&self, method: Method, path: &str, body: Value) -> Value {
        self.control().done(&self.secrets.operator, method, path, Some(body)).await
    }

    /// The answer to a GET of the tenant's administrator.
    pub(super) async fn get(&self, path: &str) -> Value {
        self.control().done(&self.key, Method::GET, &format!("/v1/tenants/acme{path}"), None).await
    }

    /// Adds a secret that the API has made and shown as a sentinel.
    pub(super) fn made(&mut self, what: &str, secret: &Value) -> String {
        let secret = secret.as_str().expect("it is shown this once").to_owned();
        self.sentinels.note(what, SentinelKind::Secret, secret.trim_start_matches("whsec_"));
        self.controls += &format!("{secret} ");
        secret
    }

    /// Adds a sample.
    pub(super) fn keep(&mut self, origin: SampleOrigin, name: &str, text: String) {
        self.samples.push((origin, name.to_owned(), text));
    }

    /// Sends a request that must be refused, and adds the answer as a sample.
    pub(super) async fn refused(&mut self, name: &str, status: u16, request: RequestBuilder) {
        let answer = request.send().await.expect("it answers");
        let (found, headers) = (answer.status().as_u16(), format!("{:?}", answer.headers()));
        let body = answer.text().await.expect("a body");
        assert_eq!(found, status, "{name}: {body}");
        self.keep(SampleOrigin::Refusal, name, headers + &body);
    }

    /// Waits until the tenant has so many dead letters.
    pub(super) async fn dead_letters(&self, count: usize) -> Vec<Value> {
        eventually("deliveries end", || async {
            let page = self.get("/dead-letters?limit=1000").await;
            let items = page["items"].as_array().expect("a list").clone();
            (items.len() >= count).then_some(items)
        })
        .await
    }

    /// All leaks, one line each.
    pub(super) fn leaks(&self) -> Vec<String> {
        self.samples.iter().flat_map(|(origin, name, text)| self.sentinels.leaked(*origin, name, text)).collect()
    }
}
