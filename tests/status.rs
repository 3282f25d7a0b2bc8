//! `carteiro status` and the health of endpoints, on the embedded broker and with separate roles on RabbitMQ.

use std::{
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use carteiro::receiver::Answer;
use reqwest::Method;
use serde_json::Value;

use crate::harness::{Api, KEY, Receiver, Site, acme, eventually, ids};

const CRM: &str = "/v1/tenants/acme/endpoints/crm";

/// A receiver that answers 500 until the switch is turned.
async fn refusing() -> (Receiver, Arc<AtomicBool>) {
    let is_repaired = Arc::new(AtomicBool::new(false));
    let switch = is_repaired.clone();
    let answer = move |_: &_| match switch.load(Relaxed) {
        true => Answer::status(200),
        false => Answer::status(500),
    };
    (Receiver::start(answer).await, is_repaired)
}

/// Runs the command against the process of an API.
async fn status(site: &Site, api: &Api, arguments: &[&str]) -> Output {
    let server = api.url();
    site.run(&[&["status", "--server", &server, "--key", KEY], arguments].concat()).await
}

/// The exit code of the command, and its answer as JSON.
async fn judged(site: &Site, api: &Api) -> (Option<i32>, Value) {
    let output = status(site, api, &["--output", "json"]).await;
    let answer = serde_json::from_slice(&output.stdout);
    (output.status.code(), answer.unwrap_or_else(|error| panic!("{error}: {output:?}")))
}

/// The messages of the answer's problems, each with its code.
fn problems(answer: &Value) -> Vec<(&str, &str)> {
    let problems = answer["problems"].as_array().expect("problems");
    assert!(problems.iter().all(|one| one["hint"].as_str().is_some_and(|hint| hint.ends_with('.'))), "{answer}");
    problems
        .iter()
        .map(|one| (one["code"].as_str().expect("a code"), one["message"].as_str().expect("a text")))
        .collect()
}

async fn well(site: &Site, api: &Api) {
    eventually("all is well", || async {
        let (code, answer) = judged(site, api).await;
        (code == Some(0) && answer["well"] == true).then_some(())
    })
    .await;
}

async fn until_health(api: &Api, state: &str) -> Value {
    eventually(&format!("it is {state}"), || async {
        let shown = api.done(KEY, Method::GET, CRM, None).await;
        (shown["health"]["state"] == state).then(|| shown["health"].clone())
    })
    .await
}

/// An endpoint that refuses its deliveries is seen to fail, and no more once it accepts them.
async fn an_endpoint_fails_and_recovers(site: &Site, producer: &Api, control: &Api, is_repaired: &AtomicBool) {
    assert_eq!(control.done(KEY, Method::GET, CRM, None).await["health"]["state"], "unknown");
    producer.publish("acme", ids("refused", 1)).await;
    let health = until_health(control, "failing").await;
    assert_eq!((&health["last_error"]["status"], &health["last_error"]["outcome"]), (&500.into(), &"5xx".into()));
    assert!(health["consecutive_failures"].as_u64() >= Some(1) && health["since"].is_string(), "{health}");

    let (code, answer) = judged(site, control).await;
    assert_eq!((code, problems(&answer)), (Some(0), vec![]), "a tenant's endpoint is no problem of the operator's");
    assert_eq!(answer["notices"][0]["message"], "1 endpoint fails.");
    let failing = &answer["endpoints"]["items"][0];
    assert_eq!((&failing["tenant"], &failing["endpoint_id"]), (&"acme".into(), &"crm".into()));
    let shown = status(site, control, &["--tenant", "acme"]).await;
    let screen = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert_eq!(shown.status.code(), Some(1), "to the tenant it is one: {screen}");
    assert!(screen.starts_with("not well: 1 problem") && screen.contains("acme/crm"), "{screen}");
    assert!(!screen.contains('\u{1b}') && screen.lines().all(|line| line.chars().count() <= 80), "{screen}");

    is_repaired.store(true, Relaxed);
    let health = until_health(control, "healthy").await;
    assert!(health["last_success_at"].is_string(), "{health}");
    well(site, control).await;
}

#[tokio::test]
async fn standalone_says_that_all_is_well_and_which_endpoint_fails() {
    let (receiver, is_repaired) = refusing().await;
    let site = Site::embedded(&acme(&receiver.url("/crm")));
    let standalone = site.start("standalone").await;
    let api = standalone.api();
    well(&site, &api).await;
    let (_, answer) = judged(&site, &api).await;
    assert_eq!(answer["processes"][0]["roles"].as_array().map(Vec::len), Some(4));
    assert_eq!(answer["queues"].as_array().map(Vec::len), Some(5));
    an_endpoint_fails_and_recovers(&site, &api, &api, &is_repaired).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_deliverer_is_missed_and_named_until_it_is_started_again() {
    let (receiver, is_repaired) = refusing().await;
    let site = Site::on_rabbitmq(&acme(&receiver.url("/crm"))).await;
    let (producer, control) = (site.start("producer").await, site.start("control").await);
    let _router = site.start("router").await;
    let mut deliverer = site.start("deliverer").await;
    let api = control.api();
    well(&site, &api).await;
    an_endpoint_fails_and_recovers(&site, &producer.api(), &api, &is_repaired).await;

    deliverer.kill().await;
    let expected = "The deliverer on ";
    eventually("the deliverer is missed", || async {
        let (code, answer) = judged(&site, &api).await;
        let found = problems(&answer);
        let is_named = found.iter().any(|(code, text)| *code == "process_lost" && text.starts_with(expected));
        (code == Some(1) && is_named && found.contains(&("role_missing", "No deliverer is running."))).then_some(())
    })
    .await;
    deliverer.restart().await;
    well(&site, &api).await;
}

#[tokio::test]
async fn a_process_that_is_not_reached_is_told_by_the_exit_code() {
    let site = Site::from_nothing();
    let output = site.run(&["status", "--server", "http://127.0.0.1:9", "--key", KEY]).await;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), text.contains("nobody listens")), (Some(69), true), "{text}");
}
