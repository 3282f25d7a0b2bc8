//! An endpoint's test, on both brokers: requested over the API or by a command, attempted by a deliverer, and answered.

use std::time::Duration;

use carteiro::receiver::Answer;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Api, KEY, Receiver, Site, eventually};

/// The YAML of endpoints to test: one accepts, one is disabled, one fails, one has a forbidden address.
fn conf(receiver: &Receiver) -> String {
    format!(
        "tenants:
  - id: acme
    endpoints:
      - {{id: crm, url: \"{}\", format: whazing, n8n_api_key: the-key}}
      - {{id: off, url: \"{}\", state: disabled}}
      - {{id: bad, url: \"{}\"}}
      - {{id: inside, url: \"http://169.254.169.254/\"}}
",
        receiver.url("/crm"),
        receiver.url("/off"),
        receiver.url("/bad")
    )
}

async fn receiver() -> Receiver {
    Receiver::start(|received| Answer::status(if received.path == "/bad" { 503 } else { 204 })).await
}

async fn test_endpoint(api: &Api, endpoint: &str) -> (u16, Value) {
    api.ask(KEY, Method::POST, &format!("/v1/tenants/acme/endpoints/{endpoint}/test"), None).await
}

/// Tests every endpoint once, and checks the answers and what arrives.
async fn test_all(api: &Api, receiver: &Receiver) {
    for (endpoint, outcome, status) in [
        ("crm", "2xx", json!(204)),
        ("off", "2xx", json!(204)),
        ("bad", "5xx", json!(503)),
        ("inside", "blocked_ip", Value::Null),
    ] {
        let (code, answer) = test_endpoint(api, endpoint).await;
        let attempt = &answer["attempt"];
        assert_eq!(
            (code, &attempt["outcome"], &attempt["status"]),
            (200, &json!(outcome), &status),
            "{endpoint}: {answer}"
        );
        assert_eq!((&attempt["number"], &attempt["next_due"]), (&json!(1), &Value::Null), "{endpoint}");
        if endpoint == "inside" {
            assert_eq!(attempt["response_excerpt"], "the address is not allowed");
        }
    }
    let arrived = receiver.look(|recorder| recorder.requests("/crm")[0].clone());
    let body: Value = serde_json::from_slice(&arrived.body).expect("JSON");
    assert_eq!((&body["event"], &body["origin"]), (&json!("test"), &json!("webhook-config")));
    assert_eq!((arrived.header("x-n8n-api-key"), arrived.header("carteiro-event-type")), ("the-key", "webhook.test"));
    let body = receiver.look(|recorder| recorder.requests("/off")[0].body.clone());
    assert_eq!(serde_json::from_slice::<Value>(&body).expect("JSON")["type"], "webhook.test");
    let dead = api.done(KEY, Method::GET, "/v1/tenants/acme/dead-letters", None).await;
    assert_eq!(dead["items"], json!([]), "a test that failed is nobody's to replay");
}

#[tokio::test]
async fn a_test_on_the_embedded_broker_is_answered_with_its_attempt() {
    let receiver = receiver().await;
    let site = Site::embedded(&conf(&receiver));
    let standalone = site.start("standalone").await;
    test_all(&standalone.api(), &receiver).await;

    let url = standalone.api().url();
    let run = async |endpoint: &'static str| {
        let output =
            site.run(&["endpoints", "test", endpoint, "--tenant", "acme", "--server", &url, "--output", "json"]).await;
        let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        (output.status.code(), answer["attempt"]["outcome"].clone())
    };
    assert_eq!(run("crm").await, (Some(0), json!("2xx")));
    assert_eq!(run("bad").await, (Some(1), json!("5xx")));
}

#[tokio::test]
async fn a_test_on_rabbitmq_is_answered_with_the_attempt_of_another_process() {
    let receiver = receiver().await;
    let site = Site::on_rabbitmq(&conf(&receiver)).await;
    let (control, deliverer) = (site.start("control").await, site.start("deliverer").await);
    control.ready().await;
    deliverer.ready().await;
    test_all(&control.api(), &receiver).await;
    assert_eq!(receiver.look(|recorder| recorder.requests("/bad").len()), 1, "no retry");
}

#[tokio::test]
async fn a_test_without_a_deliverer_is_answered_202_and_attempted_later() {
    let receiver = receiver().await;
    let site = Site::on_rabbitmq(&conf(&receiver)).await;
    let control = site.start("control").await;
    control.ready().await;
    let asked = std::time::Instant::now();
    let (code, answer) = test_endpoint(&control.api(), "crm").await;
    assert_eq!(code, 202, "{answer}");
    assert!(asked.elapsed() >= Duration::from_secs(20));
    let id = answer["delivery_id"].as_str().expect("its id").to_owned();
    let _deliverer = site.start("deliverer").await;
    eventually("it is attempted all the same", || async {
        receiver
            .look(|recorder| recorder.requests("/crm").iter().any(|one| one.header("carteiro-delivery-id") == id))
            .then_some(())
    })
    .await;
}
