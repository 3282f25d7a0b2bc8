//! Separate processes on RabbitMQ and PostgreSQL: a change is in force everywhere at once, and a database that is away
//! stops no delivery.

use std::sync::atomic::{AtomicUsize, Ordering};

use carteiro::receiver::Answer;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::harness::{KEY, Postgres, Process, Receiver, Site, eventually, ids};

const CRM: &str = "/v1/tenants/acme/endpoints/crm";

/// Every role in a process of its own, and the tenant `acme` with one endpoint that gets everything.
struct Scene {
    postgres: Postgres,
    producer: Process,
    _router: Process,
    deliverer: Process,
    control: Process,
    _site: Site,
}

impl Scene {
    async fn set(url: &str) -> Self {
        let postgres = Postgres::start().await;
        let site = Site::on_rabbitmq("tenants: []").await;
        let site = site.set("store.url", postgres.url()).set("store.encryption_key", "a-key-of-the-tests-long-enough");
        let (producer, router) = (site.start("producer").await, site.start("router").await);
        let (deliverer, control) = (site.start("deliverer").await, site.start("control").await);
        for role in [&producer, &router, &deliverer, &control] {
            role.ready().await;
        }
        let api = control.api();
        api.put("/v1/tenants/acme", json!({})).await;
        // Longer than it takes until all have failed once.
        let schedule = ["40s"; 20];
        api.put(CRM, json!({"url": url, "retry": {"schedule": schedule, "max_age": "1h"}})).await;
        api.put("/v1/tenants/acme/subscriptions/all", json!({"endpoint_id": "crm", "event_types": ["*"]})).await;
        Self { postgres, producer, _router: router, deliverer, control, _site: site }
    }
}

#[tokio::test]
async fn a_changed_url_applies_to_a_thousand_deliveries_that_wait_for_their_retry() {
    let receiver = Receiver::start(|received| Answer::status(if received.path == "/right" { 200 } else { 500 })).await;
    let scene = Scene::set(&receiver.url("/wrong")).await;
    let accepted = scene.producer.api().publish("acme", ids("waiting", 1_000)).await;
    receiver.until("all have failed", |ledger| ledger.requests("/wrong").len() >= accepted.len()).await;

    let url = json!({"url": receiver.url("/right")});
    scene.control.api().done(KEY, Method::PATCH, CRM, Some(url)).await;
    receiver.until("all arrive", |ledger| ledger.has_all("/right", &accepted)).await;
    let wrong = receiver.look(|ledger| ledger.requests("/wrong").len());
    assert_eq!(wrong, accepted.len(), "none of them went to the old place again");
}

#[tokio::test]
async fn a_database_that_is_away_stops_changes_and_no_delivery() {
    let receiver = Receiver::accepting().await;
    let mut scene = Scene::set(&receiver.url("/crm")).await;
    let before = scene.producer.api().publish("acme", ids("before", 20)).await;
    receiver.until("they arrive", |ledger| ledger.has_all("/crm", &before)).await;
    scene.deliverer.terminate().await;
    assert_eq!(scene.deliverer.ended().await, Some(0), "it leaves its snapshot on its disk");
    scene.deliverer.restart().await;

    scene.postgres.kill().await;
    let url = json!({"url": receiver.url("/moved")});
    let (status, problem) = scene.control.api().ask(KEY, Method::PATCH, CRM, Some(url.clone())).await;
    assert_eq!((status, &problem["code"]), (503, &json!("unavailable")), "{problem}");
    let read = scene.control.api().done(KEY, Method::GET, CRM, None).await;
    assert_eq!(read["url"], receiver.url("/crm"), "what is configured can be looked at");
    let meanwhile = scene.producer.api().publish("acme", ids("meanwhile", 20)).await;
    receiver.until("they arrive", |ledger| ledger.has_all("/crm", &meanwhile)).await;

    scene.deliverer.kill().await;
    let queued = scene.producer.api().publish("acme", ids("queued", 20)).await;
    scene.deliverer.restart().await;
    receiver.until("a new process delivers them", |ledger| ledger.has_all("/crm", &queued)).await;

    scene.postgres.revive().await;
    eventually("changes are taken again", || async {
        let answer = scene.control.api().request(Method::PATCH, CRM).header("content-type", "application/json");
        let status = answer.body(url.to_string()).send().await.expect("it answers").status();
        assert!([StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE].contains(&status), "{status}");
        (status == StatusCode::OK).then_some(())
    })
    .await;
    // Each process comes back to the database in its own time.
    let probes = AtomicUsize::new(0);
    eventually("the deliverer has it, too", || async {
        let probe = probes.fetch_add(1, Ordering::Relaxed);
        scene.producer.api().publish("acme", ids(&format!("probe-{probe}"), 1)).await;
        receiver.look(|ledger| ledger.delivered("/moved") > 0).then_some(())
    })
    .await;
    let after = scene.producer.api().publish("acme", ids("after", 20)).await;
    receiver.until("they arrive at the new place", |ledger| ledger.has_all("/moved", &after)).await;
}
