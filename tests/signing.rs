//! Deliveries' signatures are verified by the libraries of Standard Webhooks, in three languages, and by `carteiro listen`.

use std::process::Stdio;

use carteiro::receiver::Received;
use reqwest::Method;
use schemas::signature::{Signature, SigningKey};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout},
};

use crate::harness::{KEY, Process, Receiver, Site, Verifier, client, in_time};

/// A standalone process with one endpoint.
struct Fixture {
    standalone: Process,
    _site: Site,
}

impl Fixture {
    /// Starts it with the tenant `acme` and its endpoint `crm`, which gets everything.
    async fn start(url: &str, settings: Value) -> Self {
        let site = Site::from_nothing();
        let standalone = site.start("standalone").await;
        let api = standalone.api();
        api.put("/v1/tenants/acme", json!({})).await;
        let mut endpoint = settings;
        endpoint["url"] = url.into();
        api.put("/v1/tenants/acme/endpoints/crm", endpoint).await;
        api.put("/v1/tenants/acme/subscriptions/all", json!({"endpoint_id": "crm", "event_types": ["*"]})).await;
        Self { standalone, _site: site }
    }

    async fn publish(&self, id: &str) {
        let event =
            json!({"id": id, "type": "message.received", "message": {"id": "ção ✓", "text": "\u{1F4EC} \"é\""}});
        self.standalone.api().done(KEY, Method::POST, "/v1/tenants/acme/events", Some(event)).await;
    }
}

async fn first(receiver: &Receiver, path: &str) -> Received {
    receiver.until("it arrives", |recorder| !recorder.requests(path).is_empty()).await;
    receiver.look(|recorder| recorder.requests(path)[0].clone())
}

#[tokio::test]
async fn the_official_libraries_accept_a_delivery_with_either_secret_and_nothing_else() {
    let receiver = Receiver::accepting().await;
    let [new, old, other] = [1, 2, 3].map(|seed| SigningKey::write(Signature::V1, [seed; 32]));
    let retiring = json!({"secret": old, "until": "2099-01-01T00:00:00Z"});
    let fixture = Fixture::start(&receiver.url("/crm"), json!({"secrets": [new, retiring]})).await;
    fixture.publish("e1").await;
    let received = first(&receiver, "/crm").await;
    let changed = [&received.body[..], b" "].concat();
    for verifier in Verifier::OFFICIAL {
        assert!(verifier.trusts(&received, &received.body, &new).await, "{verifier:?}, by the new secret");
        assert!(verifier.trusts(&received, &received.body, &old).await, "{verifier:?}, by the one that retires");
        assert!(!verifier.trusts(&received, &received.body, &other).await, "{verifier:?}, by another");
        assert!(!verifier.trusts(&received, &changed, &new).await, "{verifier:?}, with another body");
    }
}

#[tokio::test]
async fn a_v1a_signature_is_accepted_with_its_public_key_beside_the_retiring_secret() {
    let receiver = Receiver::accepting().await;
    let fixture = Fixture::start(&receiver.url("/crm"), json!({})).await;
    let api = fixture.standalone.api();
    let secret = SigningKey::write(Signature::V1, [1; 32]);
    let path = "/v1/tenants/acme/endpoints/crm";
    api.done(KEY, Method::PATCH, path, Some(json!({"secrets": [secret]}))).await;
    let rotate = Some(json!({"signature": "v1a"}));
    let rotated = api.done(KEY, Method::POST, &format!("{path}/secrets/rotate"), rotate).await;
    let public = rotated["public_key"].as_str().expect("it is shown").to_owned();
    fixture.publish("e1").await;
    let received = first(&receiver, "/crm").await;
    assert!(received.header("webhook-signature").starts_with("v1a,"), "{:?}", received.headers);
    assert!(Verifier::Ed25519.trusts(&received, &received.body, &public).await);
    assert!(!Verifier::Ed25519.trusts(&received, b"{}", &public).await);
    for verifier in Verifier::OFFICIAL {
        assert!(verifier.trusts(&received, &received.body, &secret).await, "{verifier:?} passes over v1a");
    }
}

#[tokio::test]
async fn a_channels_webhook_is_signed_with_the_secret_that_it_was_made_with() {
    let receiver = Receiver::accepting().await;
    let fixture = Fixture::start(&receiver.url("/crm"), json!({})).await;
    let api = fixture.standalone.api();
    let webhook = json!({"url": receiver.url("/channel"), "events": ["received"], "format": "canonical"});
    let made = api.done(KEY, Method::PUT, "/v1/tenants/acme/channels/7/webhook", Some(webhook)).await;
    let event = json!({"type": "message.received", "channel": {"id": 7}, "message": {"id": "m1", "text": "Hi"}});
    api.done(KEY, Method::POST, "/v1/tenants/acme/events", Some(event)).await;
    let received = first(&receiver, "/channel").await;
    let secret = made["secret"].as_str().expect("it is shown this once");
    assert!(Verifier::Rust.trusts(&received, &received.body, secret).await);
    let tested = api.done(KEY, Method::POST, "/v1/tenants/acme/channels/7/webhook/test", None).await;
    assert_eq!(tested["attempt"]["outcome"], "2xx", "{tested}");
}

/// Starts `carteiro listen`. Returns it with its URL and its output.
async fn listening(site: &Site, arguments: &[&str]) -> (Child, String, Lines<BufReader<ChildStdout>>) {
    let mut command = site.command();
    command.args(["listen", "--listen", "127.0.0.1:0"]).args(arguments).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut stderr = BufReader::new(child.stderr.take().expect("piped")).lines();
    let said = in_time("it says where", stderr.next_line()).await.expect("text").expect("a line");
    let url = said.split_whitespace().find(|word| word.starts_with("http")).expect("a url").trim_end_matches(',');
    let stdout = BufReader::new(child.stdout.take().expect("piped")).lines();
    (child, url.to_owned(), stdout)
}

#[tokio::test]
async fn listen_prints_whether_each_signature_is_valid_and_why_not() {
    let site = Site::embedded("tenants: []");
    let [secret, other] = [1, 2].map(|seed| SigningKey::write(Signature::V1, [seed; 32]));
    let public = SigningKey::parse(&SigningKey::write(Signature::V1a, [3; 32])).expect("a key").public();
    let public = public.expect("it has one");
    let json = ["--secret", &public, "--secret", &secret, "--output", "json"];
    let (_listener, url, mut lines) = listening(&site, &json).await;
    let fixture = Fixture::start(&url, json!({"secrets": [secret]})).await;
    fixture.publish("e1").await;
    let mut next = async || -> Value {
        let line = in_time("it prints", lines.next_line()).await.expect("text").expect("a line");
        serde_json::from_str(&line).expect("JSON")
    };
    assert_eq!(next().await["verified"], true);
    let api = fixture.standalone.api();
    api.done(KEY, Method::PATCH, "/v1/tenants/acme/endpoints/crm", Some(json!({"secrets": [other]}))).await;
    fixture.publish("e2").await;
    let line = next().await;
    assert_eq!((&line["verified"], &line["unverified"]), (&false.into(), &"bad signature".into()));
    let client = client();
    for (timestamp, why) in [(None, "missing header webhook-timestamp"), (Some("1614265330"), "too old")] {
        let post = client.post(&url).header("webhook-id", "x").header("webhook-signature", "v1,AAAA");
        let post = timestamp.into_iter().fold(post, |post, text| post.header("webhook-timestamp", text));
        assert_eq!(post.send().await.expect("an answer").status(), 200);
        let line = next().await;
        assert!(line["unverified"].as_str().is_some_and(|said| said.starts_with(why)), "{line}");
    }
}

#[tokio::test]
async fn listen_prints_a_mark_for_people_and_refuses_a_private_key() {
    let site = Site::embedded("tenants: []");
    let secret = SigningKey::write(Signature::V1, [1; 32]);
    let (_listener, url, mut lines) = listening(&site, &["--secret", &secret]).await;
    client().post(&url).send().await.expect("an answer");
    let mark = async {
        while let Some(line) = lines.next_line().await.expect("text") {
            if line.contains('✘') {
                return line;
            }
        }
        panic!("it ended")
    };
    assert_eq!(in_time("it prints", mark).await.trim(), "✘ missing header webhook-id");
    let private = SigningKey::write(Signature::V1a, [1; 32]);
    let output = site.run(&["listen", "--listen", "127.0.0.1:0", "--secret", &private]).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("whpk_") && !said.contains(&private), "{said}");
}
