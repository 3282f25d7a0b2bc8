//! The output of commands on both streams, about a running process and about invalid configurations.

use std::{fs, process::Output};

use serde_json::json;

use super::{
    fixture::Fixture,
    sentinels::{SampleOrigin, SentinelKind, Sentinels},
};
use crate::harness::Site;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Fixture {
    /// Runs a command against the API, and adds its output as samples. It must end with this exit code.
    async fn run(&mut self, origin: SampleOrigin, code: i32, arguments: &[&str]) {
        let url = self.control().url();
        let output = self.site.run(&[arguments, &["--server", &url, "--key", &self.secrets.operator]].concat()).await;
        self.printed(origin, code, &arguments.join(" "), &output);
    }

    fn printed(&mut self, origin: SampleOrigin, code: i32, name: &str, output: &Output) {
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{name}: {stdout}{stderr}");
        self.keep(origin, name, stdout);
        self.keep(SampleOrigin::Refusal, name, stderr);
    }

    /// Runs every command that only reads, and some that are refused.
    pub(super) async fn command(&mut self) {
        let of = ["--tenant", "acme"];
        fs::write(self.site.path("event.json"), self.event().to_string()).expect("its own folder");
        let (endpoint, secret) = (json!({"id": "more", "url": "http://a.example/"}), self.secrets.guessed.clone());
        let file = |endpoint: String| format!("tenants:\n  - id: acme\n    endpoints:\n      - {endpoint}\n");
        let mut with_secrets = endpoint.clone();
        with_secrets["n8n_api_key"] = secret.as_str().into();
        fs::write(self.site.path("more.yaml"), file(with_secrets.to_string())).expect("its own folder");
        fs::write(self.site.path("torn.yaml"), file(format!("{{id: more, n8n_api_key: \"{secret}"))).expect("likewise");
        fs::write(self.site.path("torn.json"), format!("{{\"type\":\"a.b\",\"text\":\"{}", self.secrets.text))
            .expect("likewise");
        for kind in ["endpoints", "subscriptions", "sources", "keys"] {
            for output in ["table", "json"] {
                let origin = if kind == "endpoints" { SampleOrigin::Endpoints } else { SampleOrigin::Configuration };
                self.run(origin, 0, &[&[kind, "list", "--output", output][..], &of].concat()).await;
            }
        }
        self.run(SampleOrigin::Endpoints, 0, &[&["endpoints", "show", "takes"][..], &of].concat()).await;
        self.run(SampleOrigin::Configuration, 0, &["export"]).await;
        self.run(SampleOrigin::Configuration, 0, &["audit", "--tenant", "acme", "--output", "json"]).await;
        self.run(SampleOrigin::Configuration, 0, &["apply", "--dry-run", "--file", "more.yaml", "--output", "json"])
            .await;
        self.run(SampleOrigin::List, 0, &["usage", "--tenant", "acme", "--output", "json"]).await;
        self.run(SampleOrigin::List, 0, &["explain", "event.json", "--tenant", "acme", "--output", "json"]).await;
        self.run(SampleOrigin::List, 78, &["apply", "--dry-run", "--file", "torn.yaml"]).await;
        self.run(SampleOrigin::List, 1, &["publish", "torn.json", "--tenant", "acme"]).await;
        self.run(SampleOrigin::List, 1, &["endpoints", "patch", "takes", "--tenant", "acme", "--n8n-api-key", "***"])
            .await;
        for (name, arguments) in [
            ("a guessed key", ["--server", &self.control().url(), "--key", &secret]),
            ("nobody", ["--server", &format!("http://user:{secret}@127.0.0.1:9"), "--key", &secret]),
        ] {
            let output = self.site.run(&[&["tenants", "list"][..], &arguments].concat()).await;
            let said = text(&output.stdout) + &text(&output.stderr);
            assert!(!output.status.success(), "{said}");
            self.keep(SampleOrigin::Refusal, name, said);
        }
        let output = self.site.run(&["config", "show"]).await;
        self.printed(SampleOrigin::Configuration, 0, "config show", &output);
    }
}

/// Every mistake in a configuration with a secret in it must end with exit code 78, and print no secret.
pub(super) async fn misconfigure() -> Vec<String> {
    let mut sentinels = Sentinels::default();
    let long = sentinels.make("long", SentinelKind::Secret);
    let short = sentinels.short("short", SentinelKind::Secret);
    let mut leaks = Vec::new();
    let settings = [
        ("store.encryption_key", short.clone()),
        ("store.old_encryption_keys", format!("[\"{short}\"]")),
        ("broker.url", format!("http://user:{long}@127.0.0.1")),
        ("broker.url", format!("amqp://user:{long}@127.0.0.1:port/")),
        ("broker.url", format!("amqp://user:{long}@127.0.0.1/?heartbeat={long}")),
        ("store.url", format!("mysql://user:{long}@127.0.0.1/db")),
        ("store.url", format!("postgres://user:{long}@127.0.0.1:port/db")),
        ("store.url", format!("postgres://user@127.0.0.1/db?password={long}&unknown={long}")),
        ("deliverer.proxy", format!("ftp://user:{long}@127.0.0.1")),
        ("deliverer.proxy", format!("http://user:{long}@127.0.0.1:99999")),
    ];
    for (key, value) in settings {
        // With a key of its own where the store needs one.
        let own =
            if key == "store.url" { "store.encryption_key=sixteen letters, or more" } else { "ops.listen=127.0.0.1:0" };
        let site = Site::embedded("tenants: []");
        let output = site.run(&["--set", own, "--set", &format!("{key}={value}"), "standalone"]).await;
        leaks.extend(said(&sentinels, key, &output));
    }
    let files = [
        format!("[http]\noperator_key = \"{long}"),
        format!("[http]\noperator_key = {long}"),
        format!("[http]\noperator_key = [\"{long}\"]"),
        format!("[http]\noperator_key = {{ key = \"{long}\" }}"),
        format!("[http]\noperator_keys = \"{long}\""),
        format!("[http]\noperator_key = \"{long}\"\noperator_key = \"{long}\""),
        format!("[store]\nold_encryption_keys = \"{long}\""),
        format!("[store]\nold_encryption_keys = [[\"{long}\"]]"),
        format!("[store]\nurl = postgres://user:{long}@127.0.0.1/db"),
        format!("[broker]\nurl = [\"amqp://user:{long}@127.0.0.1\"]"),
    ];
    for file in files {
        // What the environment says would hide it.
        let site = Site::embedded("tenants: []").unset(&["http.operator_key"]);
        fs::write(site.path("carteiro.toml"), &file).expect("its own folder");
        leaks.extend(said(&sentinels, &file.replace(&long, "…"), &site.run(&["config", "check"]).await));
    }
    for endpoint in [
        format!("{{id: crm, url: \"http://a.example/\", n8n_api_key: \"{long}"),
        format!("{{id: crm, url: \"http://a.example/\", n8n_api_key: [\"{long}\"]}}"),
        format!("{{id: crm, url: \"http://a.example/\", n8n_api_key: {long}: {long}}}"),
        format!("{{id: crm, url: \"http://a.example/\", secrets: [whsec_{long}!]}}"),
        format!("{{id: crm, url: \"http://a.example/\", secrets: {long}}}"),
        format!("{{id: crm, url: \"http://user:{long}@a.example/\"}}"),
        format!("{{id: crm, url: \"http://a.example/\", headers: {{x-own: {{secret: \"two\\nlines {long}\"}}}}}}"),
        format!("{{id: crm, url: \"http://a.example/\", headers: {{x-own: [{long}]}}}}"),
        format!("{{id: crm, n8n_api_key: {long}, n8n_api_key: {long}, url: \"http://a.example/\"}}"),
        format!("!{long} {{id: crm}}"),
        format!("*{long}"),
    ] {
        let site = Site::embedded(&format!("tenants:\n  - id: acme\n    endpoints:\n      - {endpoint}\n"));
        leaks.extend(said(&sentinels, &endpoint.replace(&long, "…"), &site.run(&["config", "check"]).await));
    }
    leaks
}

/// The leaks in the output about a mistake.
fn said(sentinels: &Sentinels, mistake: &str, output: &Output) -> Vec<String> {
    let said = text(&output.stdout) + &text(&output.stderr);
    let mut leaks = sentinels.leaked(SampleOrigin::Refusal, mistake, &said);
    if output.status.code() != Some(78) {
        leaks.push(format!("{mistake} ended with {:?}: {said}", output.status.code()));
    }
    leaks
}
