//! Tokens, keys and the store's encryption key are rotated while they are in use, in processes that learn of it from others.

use std::convert::Infallible;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::harness::{Api, KEY, Postgres, Process, Site, eventually, in_time};

/// What a sender shows: a source's token, or a tenant's key.
#[derive(Clone, Debug)]
enum Credential {
    Token(String),
    Key(String),
}

impl Credential {
    /// Sends an event with it. Returns the status of the answer.
    async fn send(&self, api: &Api) -> u16 {
        let request = match self {
            Self::Token(token) => {
                let vendor = api.anonymous(Method::POST, &format!("/v1/in/{token}"));
                vendor.body(json!({"event": "test", "origin": "webhook-config"}).to_string())
            }
            Self::Key(key) => {
                let events = api.anonymous(Method::POST, "/v1/tenants/acme/events").bearer_auth(key);
                events.body(json!({"type": "ticket.created"}).to_string())
            }
        };
        let answer = request.header("content-type", "application/json").send().await;
        answer.expect("it answers").status().as_u16()
    }
}

/// The roles producer and control, each in a process of its own, and a tenant with a source and a key.
struct Fixture {
    producer: Process,
    control: Process,
    _site: Site,
    _postgres: Postgres,
}

impl Fixture {
    async fn start() -> Self {
        let postgres = Postgres::start().await;
        let site = Site::on_rabbitmq("tenants: []").await;
        let site = site.set("store.url", postgres.url()).set("store.encryption_key", "a-key-of-the-tests-long-enough");
        let (producer, control) = (site.start("producer").await, site.start("control").await);
        producer.ready().await;
        control.ready().await;
        control.api().put("/v1/tenants/acme", json!({})).await;
        Self { producer, control, _site: site, _postgres: postgres }
    }

    async fn make(&self) -> [Credential; 2] {
        let source = self.control.api().put("/v1/tenants/acme/sources/main", json!({"dialect": "whazing"})).await;
        let key = self.control.api().put("/v1/tenants/acme/keys/backend", json!({"scopes": ["publish"]})).await;
        credentials(&source, &key)
    }

    async fn rotate(&self, body: Value) -> [Credential; 2] {
        let rotate = |path: &'static str| {
            let (api, body) = (self.control.api(), body.clone());
            async move { api.done(KEY, Method::POST, &format!("/v1/tenants/acme/{path}/rotate"), Some(body)).await }
        };
        credentials(&rotate("sources/main/token").await, &rotate("keys/backend").await)
    }
}

fn credentials(source: &Value, key: &Value) -> [Credential; 2] {
    let text = |value: &Value| value.as_str().expect("shown once").to_owned();
    [Credential::Token(text(&source["token"])), Credential::Key(text(&key["key"]))]
}

/// Sends events without a pause, with each credential in turn, and collects the statuses.
async fn keep_sending(
    api: Api,
    credentials: watch::Receiver<Vec<Credential>>,
    answers: &watch::Sender<Vec<u16>>,
) -> Infallible {
    loop {
        let now = credentials.borrow().clone();
        for credential in now {
            let status = credential.send(&api).await;
            answers.send_modify(|answers| answers.push(status));
        }
    }
}

/// Waits until `count` more are answered.
async fn more(answers: &watch::Sender<Vec<u16>>, count: usize) {
    let enough = answers.borrow().len() + count;
    let _ = in_time("more are sent", answers.subscribe().wait_for(|answers| answers.len() >= enough)).await;
}

#[tokio::test]
async fn tokens_and_keys_are_rotated_without_a_refusal_until_the_old_ones_end() {
    let fixture = Fixture::start().await;
    let api = fixture.producer.api();
    let (credentials, answers) = (watch::channel(fixture.make().await.to_vec()).0, watch::channel(Vec::new()).0);
    let steps = async {
        more(&answers, 40).await;
        for _ in 0..3 {
            let new = fixture.rotate(json!({"overlap": "1h"})).await;
            // First only with the old ones, then with both.
            more(&answers, 8).await;
            credentials
                .send_modify(|credentials| *credentials = [&credentials[credentials.len() - 2..], &new[..]].concat());
            more(&answers, 40).await;
            credentials.send_modify(|credentials| *credentials = new.to_vec());
        }
    };
    tokio::select! {
        never = keep_sending(api.clone(), credentials.subscribe(), &answers) => match never {},
        () = steps => {}
    }
    let refused: Vec<_> = answers.borrow().iter().filter(|status| **status != 202).copied().collect();
    assert_eq!(refused, [] as [u16; 0], "of {} events", answers.borrow().len());

    let last = credentials.borrow().clone();
    let new = fixture.rotate(json!({"overlap": "0s"})).await;
    for (credential, refusal) in last.iter().zip([404, 401]) {
        eventually("it ends everywhere", || async { (credential.send(&api).await == refusal).then_some(()) }).await;
    }
    for credential in new {
        assert_eq!(credential.send(&api).await, 202);
    }
}

const OLD: &str = "an-old-key-of-the-tests-long-enough";
const NEW: &str = "a-new-key-of-the-tests-long-enough";

/// The same site with other encryption keys, for processes that start from now on.
fn with_keys(site: Site, newest: &str, older: &str) -> Site {
    site.set("store.encryption_key", newest).set("store.old_encryption_keys", older)
}

#[tokio::test]
async fn the_key_of_an_embedded_store_is_replaced_and_everything_is_still_there() {
    let site = with_keys(Site::from_nothing(), OLD, "[]");
    let standalone = site.start("standalone").await;
    standalone.api().put("/v1/tenants/acme", json!({})).await;
    let source = standalone.api().put("/v1/tenants/acme/sources/main", json!({"dialect": "whazing"})).await;
    let credential = Credential::Token(source["token"].as_str().expect("shown once").to_owned());
    assert_eq!(standalone.end().await, 0);

    let site = with_keys(site, NEW, OLD);
    let standalone = site.start("standalone").await;
    assert_eq!(credential.send(&standalone.api()).await, 202);
    standalone.logged("store.resealed").await;
    assert_eq!(standalone.end().await, 0);

    let site = with_keys(site, NEW, "[]");
    let standalone = site.start("standalone").await;
    assert_eq!(credential.send(&standalone.api()).await, 202);
    assert_eq!(standalone.end().await, 0);
    let refused = with_keys(site, OLD, "[]").run(&["standalone"]).await;
    assert_eq!(refused.status.code(), Some(78), "nothing is left of the old key");
}

#[tokio::test]
async fn the_key_of_a_shared_database_is_replaced_while_events_are_taken_in() {
    let postgres = Postgres::start().await;
    let site = Site::on_rabbitmq("tenants: []").await.set("store.url", postgres.url());
    // First every process can decrypt with the new key …
    let site = with_keys(site, OLD, NEW);
    let (producer, control) = (site.start("producer").await, site.start("control").await);
    producer.ready().await;
    control.ready().await;
    control.api().put("/v1/tenants/acme", json!({})).await;
    let source = control.api().put("/v1/tenants/acme/sources/main", json!({"dialect": "whazing"})).await;
    let credential = Credential::Token(source["token"].as_str().expect("shown once").to_owned());
    let (credentials, answers) = (watch::channel(vec![credential.clone()]).0, watch::channel(Vec::new()).0);
    let steps = async {
        more(&answers, 10).await;
        // … then the processes that write encrypt with it, and the others still read both …
        let site = with_keys(site, NEW, OLD);
        assert_eq!(control.end().await, 0);
        let control = site.start("control").await;
        control.logged("store.resealed").await;
        control.ready().await;
        let made = control.api().put("/v1/tenants/acme/sources/late", json!({"dialect": "whazing"})).await;
        let late = Credential::Token(made["token"].as_str().expect("shown once").to_owned());
        credentials.send_modify(|credentials| credentials.push(late));
        more(&answers, 10).await;
        // … then the old one is not needed any more.
        let site = with_keys(site, NEW, "[]");
        let last = site.start("producer").await;
        last.ready().await;
        assert_eq!(credential.send(&last.api()).await, 202);
        site
    };
    let _site = tokio::select! {
        never = keep_sending(producer.api(), credentials.subscribe(), &answers) => match never {},
        site = steps => site,
    };
    assert!(answers.borrow().iter().all(|status| *status == 202), "{:?}", answers.borrow());
}
