//! A broker that is away, refuses a password, or lacks a queue: roles wait, say so on `/readyz`, and work again afterwards.

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::harness::{AmqpClient, Process, Rabbit, Receiver, Site, acme, eventually, ids};

#[tokio::test]
async fn roles_wait_for_a_broker_that_is_not_there_yet_and_then_work() {
    let rabbit = Rabbit::start().await;
    rabbit.kill().await;
    let receiver = Receiver::accepting().await;
    let site = Site::on(rabbit.url(), &acme(&receiver.url("/crm")));
    let (producer, router) = (site.start("producer").await, site.start("router").await);
    let deliverer = site.start("deliverer").await;
    for role in [&producer, &router, &deliverer] {
        let (status, missing) = role.readyz().await;
        assert_eq!((status, missing["broker"].is_string()), (503, true), "{missing}");
        assert_eq!(alive(role).await, StatusCode::OK);
    }

    rabbit.revive().await;
    for role in [&producer, &router, &deliverer] {
        role.ready().await;
    }
    let accepted = producer.api().publish("acme", ids("patient", 10)).await;
    receiver.until("all arrive", |recorder| recorder.has_all("/crm", &accepted)).await;
}

#[tokio::test]
async fn a_wrong_broker_password_is_shown_on_readyz_and_not_fatal() {
    let site = Site::on_rabbitmq("tenants: []").await;
    let url = site.broker().url.replace("guest:guest@", "guest:not-the-password@");
    let site = site.set("broker.url", &url);
    let deliverer = site.start("deliverer").await;
    let why = eventually("/readyz says it", || async {
        let (status, missing) = deliverer.readyz().await;
        assert_eq!(status, 503);
        missing["broker"].as_str().filter(|why| why.to_lowercase().contains("refused")).map(str::to_owned)
    })
    .await;
    assert!(!why.contains("not-the-password"), "{why}");
    assert_eq!(alive(&deliverer).await, StatusCode::OK);
    let log = Value::from(deliverer.log()).to_string();
    assert!(!log.contains("not-the-password"), "{log}");
    assert_eq!(deliverer.end().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topology_that_breaks_while_roles_run_is_shown_on_readyz_and_waited_out() {
    let site = Site::on_rabbitmq("tenants: []").await.set("broker.declare", "false");
    let applied = || async { assert!(site.run(&["topology", "apply"]).await.status.success()) };
    applied().await;
    let deliverer = site.start("deliverer").await;
    deliverer.ready().await;
    let queue = format!("{}.v1.deliver.slow", site.broker().prefix);
    AmqpClient::connect(&site).await.delete(&queue).await;
    eventually("/readyz says it", || async {
        let (_, missing) = deliverer.readyz().await;
        missing["broker"].as_str().filter(|why| why.contains(&queue) && why.contains("missing")).map(drop)
    })
    .await;
    assert_eq!(alive(&deliverer).await, StatusCode::OK);
    applied().await;
    deliverer.ready().await;
}

async fn alive(role: &Process) -> StatusCode {
    role.ops().anonymous(Method::GET, "/healthz").send().await.expect("it answers").status()
}
