//! Sentinels in place of everything that must stay secret, while everything is used, in success and in failure. None may be
//! in a log, a metric, a refusal or the broker's metadata; each must be where it is allowed.

mod api;
mod commands;
mod echo_server;
mod fixture;
mod intake;
mod sentinels;

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;

use crate::{
    harness::{AmqpClient, CapturedMessage, Postgres, Rabbit, Site, eventually},
    log_lines,
};
use fixture::Fixture;
use sentinels::{SampleOrigin, SentinelKind};

impl Fixture {
    /// Uses everything while it works. Returns once every delivery has ended.
    async fn use_everything(&mut self, amqp: Option<&AmqpClient>) {
        let mut events = self.take_in().await;
        self.refuse_intake().await;
        let mut parked = 0;
        if let Some(amqp) = amqp {
            let (good, bad) = self.publish(amqp).await;
            (events, parked) = (events + good, bad);
        }
        // All endpoints but two answer no 2xx. A vendor's unknown body goes only to the endpoint of format original.
        let failing = self.endpoints().len() - 2;
        self.dead_letters((events - 1) * failing).await;
        self.look().await;
        self.test_endpoints().await;
        self.mistake().await;
        self.command().await;
        self.rotate().await;
        self.look_at_the_dead(parked).await;
        assert_eq!(self.take_in().await, 4, "with what was made anew");
        // Replayed dead letters are gone until they have failed again, which is not waited for.
        self.role("control").logged("replay.ended").await;
        self.dead_letters(failing).await;
        self.look_at_ops().await;
    }

    async fn look_at_ops(&mut self) {
        let mut seen = Vec::new();
        for (role, process) in &self.roles {
            for path in ["/metrics", "/readyz", "/healthz"] {
                let answer = process.ops().anonymous(Method::GET, path).send().await.expect("it answers");
                let text = answer.text().await.expect("a body");
                assert!(path != "/metrics" || text.contains("carteiro_build_info"), "{text}");
                seen.push((format!("{path} of {role}"), text));
            }
        }
        for (name, text) in seen {
            self.keep(SampleOrigin::Ops, &name, text);
        }
    }

    /// Ends all roles, and adds their logs as samples.
    async fn end(&mut self) {
        for (role, mut process) in std::mem::take(&mut self.roles) {
            process.terminate().await;
            assert_eq!(process.ended().await, Some(0), "{role}");
            let log = eventually("its last line", || async {
                let log = process.log();
                log.iter().any(|line| line.to_string().contains("process.ended")).then_some(log)
            })
            .await;
            check_lines(role, &log);
            let text = log.iter().map(|line| line.as_str().map_or_else(|| line.to_string(), str::to_owned));
            let text = text.collect::<Vec<_>>().join("\n");
            let own = match role {
                "producer" => "events.accepted",
                "router" => "event.routed",
                "deliverer" | "standalone" => "delivery.dead",
                "control" => "config.changed",
                _ => "broker.away",
            };
            assert!(text.contains(own), "{role} did its work");
            self.keep(SampleOrigin::Log, role, text);
        }
    }

    /// Adds the messages on the broker as samples.
    fn take_metadata(&mut self, captured: &[CapturedMessage]) {
        for CapturedMessage { exchange, metadata, record, body } in captured {
            self.keep(SampleOrigin::Metadata, &format!("through {exchange}"), metadata.clone());
            self.keep(SampleOrigin::Record, &format!("through {exchange}"), record.clone());
            // Notices of processes are no events; one about a test has the receiver's answer.
            if exchange.ends_with(".control") {
                self.keep(
                    SampleOrigin::Record,
                    &format!("announced through {exchange}"),
                    String::from_utf8_lossy(body).into_owned(),
                );
            }
        }
    }

    /// No sentinel is where it must not be, and each is where it may be, so that the search is known to find it.
    fn check_leaks(&self) {
        let leaks = self.leaks();
        let shown: Vec<_> = leaks.iter().map(|leak| leak.chars().take(1_000).collect::<String>()).collect();
        assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), shown.join("\n"));
        let shown =
            self.samples.iter().filter(|(place, _, _)| *place == SampleOrigin::Shown).map(|(_, _, text)| text.as_str());
        let controls = shown.collect::<String>() + &self.controls + &self.echo.seen();
        let settings = [&self.secrets.operator, &self.secrets.encryption].map(String::as_str).join(" ");
        assert_eq!(self.sentinels.missing_from(&(controls + &settings)), Vec::<&str>::new(), "they were in use");
    }
}

/// Every log line of carteiro's crates is in `docs/logs.md`, with its level and without further fields.
fn check_lines(role: &str, log: &[Value]) {
    let documented = log_lines::documented();
    for line in log.iter().filter(|line| line.is_object()) {
        let Some(known) = line["message"].as_str().and_then(|name| documented.get(name)) else {
            let target = line["target"].as_str().unwrap_or_default().split("::").next().unwrap_or_default();
            assert!(!log_lines::CRATES.contains(&target), "{role} logs what docs/logs.md has not: {line}");
            continue;
        };
        let common = ["timestamp", "level", "target", "message", "span"];
        let fields: BTreeSet<_> = line.as_object().expect("an object").keys().map(String::as_str).collect();
        let unknown: Vec<_> =
            fields.iter().filter(|field| !common.contains(field) && !known.fields.contains(**field)).collect();
        assert!(unknown.is_empty(), "{role} logs {unknown:?}, which docs/logs.md has not: {line}");
        assert_eq!(line["level"].as_str().map(str::to_lowercase).as_ref(), Some(&known.level), "{line}");
    }
}

#[tokio::test]
async fn no_secret_leaks_from_roles_on_a_broker_and_a_database_even_when_both_are_gone() {
    let (rabbit, postgres) = (Rabbit::start().await, Postgres::start().await);
    let mut passwords = Vec::new();
    let roles = ["producer", "router", "deliverer", "control"];
    let site = async |sentinels: &mut sentinels::Sentinels| {
        let [broker, database] =
            ["brokerpassword", "databasepassword"].map(|what| sentinels.make(what, SentinelKind::Secret));
        rabbit.ctl(&["add_user", "somebody", &broker]).await;
        rabbit.ctl(&["set_permissions", "somebody", ".*", ".*", ".*"]).await;
        let with = |url: &str, user: &str, password: &str| {
            let (scheme, rest) = url.split_once("://").expect("a url");
            format!("{scheme}://{user}:{password}@{}", rest.rsplit_once('@').map_or(rest, |(_, host)| host))
        };
        let broker_url = with(rabbit.url(), "somebody", &broker);
        passwords.extend([broker, database.clone()]);
        Site::on(&broker_url, "tenants: []").set("store.url", &with(postgres.url(), "carteiro", &database))
    };
    let mut fixture = Fixture::start(site, &roles).await;
    fixture.controls += &passwords.join(" ");

    let amqp = AmqpClient::connect(&fixture.site).await;
    let broker = fixture.site.broker().clone();
    let ours =
        ["deliver", "delay", "wake", "dead", "park", "control"].map(|name| format!("{}.v1.{name}", broker.prefix));
    let exchanges: Vec<_> = ours.iter().chain([&broker.exchange]).map(String::as_str).collect();
    let captured = amqp.capture(&exchanges).await;
    fixture.use_everything(Some(&amqp)).await;
    let clients = rabbit.ctl(&["list_connections", "user", "name", "client_properties"]).await;
    assert!(clients.contains("carteiro publishing"), "{clients}");
    fixture.keep(SampleOrigin::Connections, "rabbitmqctl", clients);
    let seen = captured.borrow().clone();
    for exchange in exchanges {
        assert!(seen.iter().any(|message| message.exchange == exchange), "nothing went through {exchange}");
    }
    let is_seen = |what: &str, is_it: &dyn Fn(&CapturedMessage) -> bool| {
        assert!(seen.iter().any(is_it), "the capture has no {what}");
    };
    is_seen("event's id", &|message| message.metadata.contains("good-2"));
    is_seen("header", &|message| message.metadata.contains("carteiro-endpoint: takes"));
    is_seen("record", &|message| message.record.contains("exhausted"));
    is_seen("body", &|message| String::from_utf8_lossy(&message.body).contains(&fixture.secrets.text));
    fixture.take_metadata(&seen);

    fixture.without_servers(&rabbit, &postgres).await;
    fixture.end().await;
    fixture.check_leaks();
}

impl Fixture {
    /// Uses a wrong password, and then stops both servers.
    async fn without_servers(&mut self, rabbit: &Rabbit, postgres: &Postgres) {
        let wrong = self.sentinels.make("wrongpassword", SentinelKind::Secret);
        self.controls += &wrong;
        let (_, host) = rabbit.url().rsplit_once('@').expect("credentials");
        let url = format!("amqp://somebody:{wrong}@{host}");
        let stranger = self.site.start_with("router", &[("broker.url", &url)]).await;
        stranger.logged("broker.away").await;
        self.roles.push(("a router with a wrong password", stranger));
        rabbit.kill().await;
        postgres.kill().await;
        for (role, process) in &self.roles {
            eventually(role, || async { (process.readyz().await.0 == 503).then_some(()) }).await;
        }
        self.role("control").logged("store.away").await;
        self.look_at_ops().await;
        let endpoint = serde_json::json!({"url": "http://a.example/", "n8n_api_key": self.secrets.guessed});
        for (name, api, path) in [
            ("the broker is gone", self.producer(), "/v1/tenants/acme/events"),
            ("the database is gone", self.control(), "/v1/tenants/acme/endpoints/new"),
        ] {
            let (method, body) =
                if path.ends_with("events") { (Method::POST, self.event()) } else { (Method::PUT, endpoint.clone()) };
            let request = api.anonymous(method, path).bearer_auth(&self.key);
            let request = request.header("content-type", "application/json").body(body.to_string());
            self.refused(name, 503, request).await;
        }
    }
}

#[tokio::test]
async fn no_secret_leaks_from_a_standalone_that_logs_text() {
    let site = async |_: &mut sentinels::Sentinels| Site::from_nothing().set("telemetry.format", "text");
    let mut fixture = Fixture::start(site, &["standalone"]).await;
    fixture.use_everything(None).await;
    fixture.end().await;
    fixture.check_leaks();
}

#[tokio::test]
async fn an_invalid_configuration_is_refused_without_its_secrets() {
    let leaks = commands::misconfigure().await;
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
}
