//! A developer's laptop listens to a tenant's deliveries, as they would be POSTed to an endpoint.

use std::process::Stdio;

use reqwest::Method;
use schemas::signature::{VerifyingKey, check};
use serde_json::{Value, json};

use crate::harness::{Api, KEY, Process, Receiver, Site, acme, eventually};

const TENANT: &str = "/v1/tenants/acme";
const SECRET: &str = "whsec_bGlzdGVuLXRlc3Qtc2VjcmV0LTMyLWJ5dGVzLWxvbmc=";

async fn publish(api: &Api, id: &str, event_type: &str) {
    let event = json!({"id": id, "type": event_type, "channel": {"id": 4}, "ticket": {"id": "7"}});
    api.done(KEY, Method::POST, &format!("{TENANT}/events"), Some(event)).await;
}

/// Publishes probes until one is listened to.
async fn is_listened_to(api: &Api, receiver: &Receiver) {
    let mut nth = 0;
    eventually("somebody listens", || {
        nth += 1;
        let id = format!("probe-{nth}");
        async move {
            publish(api, &id, "ticket.updated").await;
            receiver.look(|recorder| !recorder.requests("/laptop").is_empty()).then_some(())
        }
    })
    .await;
}

/// `carteiro listen --tenant acme --forward …`, as long as it is not dropped.
fn listening(site: &Site, process: &Process, receiver: &Receiver, more: &[&str]) -> tokio::process::Child {
    let (server, forward) = (process.api().url(), receiver.url("/laptop"));
    let command = ["listen", "--tenant", "acme", "--forward", &forward, "--server", &server, "--secret", SECRET];
    let all = [&command[..], more].concat();
    site.command()
        .args(all)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts")
}

async fn story(site: &Site, control: &Process, producer: &Process, receiver: &Receiver) {
    let laptop = listening(site, control, receiver, &["--event-type", "ticket.*"]);
    let api = producer.api();
    is_listened_to(&api, receiver).await;
    publish(&api, "wanted", "ticket.created").await;
    publish(&api, "unwanted", "message.received").await;
    publish(&api, "last", "ticket.closed").await;
    receiver
        .until("what is wanted is forwarded", |recorder| {
            let requests = recorder.requests("/laptop");
            requests.iter().any(|request| request.header("webhook-id") == "last")
        })
        .await;
    receiver.look(|recorder| {
        let requests = recorder.requests("/laptop");
        assert!(!requests.iter().any(|request| request.header("webhook-id") == "unwanted"), "the filter holds");
        let wanted = requests.into_iter().find(|request| request.header("webhook-id") == "wanted");
        let wanted = wanted.expect("it was forwarded");
        let body: Value = serde_json::from_slice(&wanted.body).expect("JSON");
        assert_eq!((&body["type"], &body["ticket"]["id"]), (&json!("ticket.created"), &json!("7")));
        assert_eq!(wanted.header("carteiro-event-type"), "ticket.created");
        let key = VerifyingKey::parse(SECRET).expect("a key");
        let now = wanted.header("webhook-timestamp").parse().expect("a time");
        let header = |name: &str| wanted.headers.get(name).and_then(|value| value.to_str().ok());
        assert!(check(&[key], header, &wanted.body, now).is_ok(), "it is signed");
    });
    drop(laptop);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_laptop_gets_what_it_listens_to_with_standalone() {
    let receiver = Receiver::accepting().await;
    let site = Site::embedded(&acme(&receiver.url("/crm")));
    let standalone = site.start("standalone").await;
    story(&site, &standalone, &standalone, &receiver).await;
    receiver.until("no endpoint gets less", |recorder| recorder.delivered("/crm") >= 3).await;
    // Nothing is left of it in the configuration.
    let subscriptions = standalone.api().done(KEY, Method::GET, &format!("{TENANT}/subscriptions"), None).await;
    assert_eq!(subscriptions["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(standalone.end().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_laptop_gets_what_it_listens_to_with_roles_on_rabbitmq() {
    let receiver = Receiver::accepting().await;
    let site = Site::on_rabbitmq(&acme(&receiver.url("/crm"))).await;
    let (producer, router) = (site.start("producer").await, site.start("router").await);
    let control = site.start("control").await;
    for process in [&producer, &router, &control] {
        process.ready().await;
    }
    story(&site, &control, &producer, &receiver).await;
    for process in [producer, router, control] {
        assert_eq!(process.end().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn few_listen_at_once_and_nobody_without_a_key_or_history() {
    let receiver = Receiver::accepting().await;
    let site = Site::embedded(&acme(&receiver.url("/crm")));
    let standalone = site.start("standalone").await;
    let listen = |key: &'static str| {
        let url = format!("{}{TENANT}/listen", standalone.api().url());
        async move { reqwest::Client::new().get(url).bearer_auth(key).send().await.expect("an answer") }
    };
    assert_eq!(listen("nobody's").await.status(), 401);
    let mut listeners = Vec::new();
    for _ in 0..4 {
        let answer = listen(KEY).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["x-accel-buffering"]),
            (200, &"no".parse().expect("text"))
        );
        listeners.push(answer);
    }
    assert_eq!(listen(KEY).await.status(), 429);
    listeners.clear();
    eventually("those that are gone make room", || async { (listen(KEY).await.status() == 200).then_some(()) }).await;
    assert_eq!(standalone.end().await, 0, "listeners do not hold up the end");

    let site = Site::embedded(&acme(&receiver.url("/crm"))).set("history.url", "off");
    let standalone = site.start("standalone").await;
    let (status, problem) = standalone.api().ask(KEY, Method::GET, &format!("{TENANT}/listen"), None).await;
    assert_eq!((status, &problem["code"]), (409, &json!("history_off")));
    assert_eq!(standalone.end().await, 0);
}
