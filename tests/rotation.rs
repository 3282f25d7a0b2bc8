//! Tokens, keys and the key of the store are rotated while they are in use, in processes that learn of it from others.

use std::convert::Infallible;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::harness::{Api, KEY, Postgres, Process, Site, eventually, in_time};

/// One way in: with a source's token, or with a tenant's key.
#[derive(Clone, Debug)]
enum Way {
    Token(String),
    Key(String),
}

impl Way {
    /// The status that an event sent this way is answered.
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

/// An intake and a control plane, each in a process of its own, and a tenant with a source and a key.
struct Scene {
    producer: Process,
    control: Process,
    _site: Site,
    _postgres: Postgres,
}

impl Scene {
    async fn set() -> Self {
        let postgres = Postgres::start().await;
        let site = Site::on_rabbitmq("tenants: []").await;
        let site = site.set("store.url", postgres.url()).set("store.encryption_key", "a-key-of-the-tests-long-enough");
        let (producer, control) = (site.start("producer").await, site.start("control").await);
        producer.ready().await;
        control.ready().await;
        control.api().put("/v1/tenants/acme", json!({})).await;
        Self { producer, control, _site: site, _postgres: postgres }
    }

    async fn make(&self) -> [Way; 2] {
        let source = self.control.api().put("/v1/tenants/acme/sources/main", json!({"dialect": "whazing"})).await;
        let key = self.control.api().put("/v1/tenants/acme/keys/backend", json!({"scopes": ["publish"]})).await;
        ways(&source, &key)
    }

    async fn rotate(&self, body: Value) -> [Way; 2] {
        let rotate = |path: &'static str| {
            let (api, body) = (self.control.api(), body.clone());
            async move { api.done(KEY, Method::POST, &format!("/v1/tenants/acme/{path}/rotate"), Some(body)).await }
        };
        ways(&rotate("sources/main/token").await, &rotate("keys/backend").await)
    }
}

fn ways(source: &Value, key: &Value) -> [Way; 2] {
    let text = |value: &Value| value.as_str().expect("shown once").to_owned();
    [Way::Token(text(&source["token"])), Way::Key(text(&key["key"]))]
}

/// Sends events without a pause, by all the ways in turn, and says how each was answered.
async fn keep_sending(api: Api, ways: watch::Receiver<Vec<Way>>, answers: &watch::Sender<Vec<u16>>) -> Infallible {
    loop {
        let now = ways.borrow().clone();
        for way in now {
            let status = way.send(&api).await;
            answers.send_modify(|answers| answers.push(status));
        }
    }
}

/// Returns once so many more were answered.
async fn more(answers: &watch::Sender<Vec<u16>>, count: usize) {
    let enough = answers.borrow().len() + count;
    let _ = in_time("more are sent", answers.subscribe().wait_for(|answers| answers.len() >= enough)).await;
}

#[tokio::test]
async fn nobody_is_refused_while_tokens_and_keys_are_rotated_until_the_old_ones_end() {
    let scene = Scene::set().await;
    let api = scene.producer.api();
    let (ways, answers) = (watch::channel(scene.make().await.to_vec()).0, watch::channel(Vec::new()).0);
    let story = async {
        more(&answers, 40).await;
        for _ in 0..3 {
            let new = scene.rotate(json!({"overlap": "1h"})).await;
            // First with what was before alone, then with both.
            more(&answers, 8).await;
            ways.send_modify(|ways| *ways = [&ways[ways.len() - 2..], &new[..]].concat());
            more(&answers, 40).await;
            ways.send_modify(|ways| *ways = new.to_vec());
        }
    };
    tokio::select! {
        never = keep_sending(api.clone(), ways.subscribe(), &answers) => match never {},
        () = story => {}
    }
    let refused: Vec<_> = answers.borrow().iter().filter(|status| **status != 202).copied().collect();
    assert_eq!(refused, [] as [u16; 0], "of {} events", answers.borrow().len());

    let last = ways.borrow().clone();
    let new = scene.rotate(json!({"overlap": "0s"})).await;
    for (way, refusal) in last.iter().zip([404, 401]) {
        eventually("it ends everywhere", || async { (way.send(&api).await == refusal).then_some(()) }).await;
    }
    for way in new {
        assert_eq!(way.send(&api).await, 202);
    }
}

const OLD: &str = "an-old-key-of-the-tests-long-enough";
const NEW: &str = "a-new-key-of-the-tests-long-enough";

/// The same site, whose processes are started with these keys from now on.
fn with_keys(site: Site, newest: &str, older: &str) -> Site {
    site.set("store.encryption_key", newest).set("store.old_encryption_keys", older)
}

#[tokio::test]
async fn the_key_of_an_embedded_store_is_replaced_and_everything_is_still_there() {
    let site = with_keys(Site::from_nothing(), OLD, "[]");
    let standalone = site.start("standalone").await;
    standalone.api().put("/v1/tenants/acme", json!({})).await;
    let source = standalone.api().put("/v1/tenants/acme/sources/main", json!({"dialect": "whazing"})).await;
    let way = Way::Token(source["token"].as_str().expect("shown once").to_owned());
    assert_eq!(standalone.end().await, 0);

    let site = with_keys(site, NEW, OLD);
    let standalone = site.start("standalone").await;
    assert_eq!(way.send(&standalone.api()).await, 202);
    standalone.logged("store.resealed").await;
    assert_eq!(standalone.end().await, 0);

    let site = with_keys(site, NEW, "[]");
    let standalone = site.start("standalone").await;
    assert_eq!(way.send(&standalone.api()).await, 202);
    assert_eq!(standalone.end().await, 0);
    let refused = with_keys(site, OLD, "[]").run(&["standalone"]).await;
    assert_eq!(refused.status.code(), Some(78), "nothing is left of the old key");
}

#[tokio::test]
async fn the_key_of_a_shared_database_is_replaced_while_events_are_taken_in() {
    let postgres = Postgres::start().await;
    let site = Site::on_rabbitmq("tenants: []").await.set("store.url", postgres.url());
    // First every process learns to open with the new key …
    let site = with_keys(site, OLD, NEW);
    let (producer, control) = (site.start("producer").await, site.start("control").await);
    producer.ready().await;
    control.ready().await;
    control.api().put("/v1/tenants/acme", json!({})).await;
    let source = control.api().put("/v1/tenants/acme/sources/main", json!({"dialect": "whazing"})).await;
    let way = Way::Token(source["token"].as_str().expect("shown once").to_owned());
    let (ways, answers) = (watch::channel(vec![way.clone()]).0, watch::channel(Vec::new()).0);
    let story = async {
        more(&answers, 10).await;
        // … then those that write use it, and the others still read …
        let site = with_keys(site, NEW, OLD);
        assert_eq!(control.end().await, 0);
        let control = site.start("control").await;
        control.logged("store.resealed").await;
        control.ready().await;
        let made = control.api().put("/v1/tenants/acme/sources/late", json!({"dialect": "whazing"})).await;
        let late = Way::Token(made["token"].as_str().expect("shown once").to_owned());
        ways.send_modify(|ways| ways.push(late));
        more(&answers, 10).await;
        // … then the old one is needed no more.
        let site = with_keys(site, NEW, "[]");
        let last = site.start("producer").await;
        last.ready().await;
        assert_eq!(way.send(&last.api()).await, 202);
        site
    };
    let _site = tokio::select! {
        never = keep_sending(producer.api(), ways.subscribe(), &answers) => match never {},
        site = story => site,
    };
    assert!(answers.borrow().iter().all(|status| *status == 202), "{:?}", answers.borrow());
}
