//! Separate processes on RabbitMQ and PostgreSQL: a change is in force in all of them at once, and deliveries go on while
//! the database is away.

use std::sync::atomic::{AtomicUsize, Ordering};

use carteiro::receiver::Answer;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::harness::{KEY, Postgres, Process, Receiver, Recorder, Site, eventually, ids};

const CRM: &str = "/v1/tenants/acme/endpoints/crm";

/// Each role in a process of its own, and the tenant `acme` with one endpoint that gets everything.
struct Fixture {
    postgres: Postgres,
    producer: Process,
    _router: Process,
    deliverer: Process,
    control: Process,
    _site: Site,
}

impl Fixture {
    async fn start(url: &str) -> Self {
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
        // Longer than all first attempts take.
        let schedule = ["40s"; 20];
        api.put(CRM, json!({"url": url, "retry": {"schedule": schedule, "max_age": "1h"}})).await;
        api.put("/v1/tenants/acme/subscriptions/all", json!({"endpoint_id": "crm", "event_types": ["*"]})).await;
        Self { postgres, producer, _router: router, deliverer, control, _site: site }
    }
}

#[tokio::test]
async fn a_changed_url_applies_to_a_thousand_deliveries_that_wait_for_their_retry() {
    let receiver = Receiver::start(|received| Answer::status(if received.path == "/right" { 200 } else { 500 })).await;
    let fixture = Fixture::start(&receiver.url("/wrong")).await;
    let accepted = fixture.producer.api().publish("acme", ids("waiting", 1_000)).await;
    receiver.until("all have failed", |recorder| recorder.requests("/wrong").len() >= accepted.len()).await;

    let url = json!({"url": receiver.url("/right")});
    fixture.control.api().done(KEY, Method::PATCH, CRM, Some(url)).await;
    let later = fixture.producer.api().publish("acme", ids("later", 1)).await;
    receiver.until("the change is in force", |recorder| recorder.has_all("/right", &later)).await;
    let sent_to_wrong = |recorder: &Recorder| recorder.requests("/wrong").len();
    let before = receiver.look(sent_to_wrong);
    receiver.until("all arrive", |recorder| recorder.has_all("/right", &accepted)).await;
    assert_eq!(receiver.look(sent_to_wrong), before, "none of them went to the old place again");
}

#[tokio::test]
async fn a_database_that_is_away_stops_changes_but_no_delivery() {
    let receiver = Receiver::accepting().await;
    let mut fixture = Fixture::start(&receiver.url("/crm")).await;
    let before = fixture.producer.api().publish("acme", ids("before", 20)).await;
    receiver.until("they arrive", |recorder| recorder.has_all("/crm", &before)).await;
    fixture.deliverer.terminate().await;
    assert_eq!(fixture.deliverer.ended().await, Some(0), "it leaves its snapshot on its disk");
    fixture.deliverer.restart().await;

    fixture.postgres.kill().await;
    let url = json!({"url": receiver.url("/moved")});
    let (status, problem) = fixture.control.api().ask(KEY, Method::PATCH, CRM, Some(url.clone())).await;
    assert_eq!((status, &problem["code"]), (503, &json!("unavailable")), "{problem}");
    let read = fixture.control.api().done(KEY, Method::GET, CRM, None).await;
    assert_eq!(read["url"], receiver.url("/crm"), "what is configured can be looked at");
    let meanwhile = fixture.producer.api().publish("acme", ids("meanwhile", 20)).await;
    receiver.until("they arrive", |recorder| recorder.has_all("/crm", &meanwhile)).await;

    fixture.deliverer.kill().await;
    let queued = fixture.producer.api().publish("acme", ids("queued", 20)).await;
    fixture.deliverer.restart().await;
    receiver.until("a new process delivers them", |recorder| recorder.has_all("/crm", &queued)).await;

    fixture.postgres.revive().await;
    eventually("changes are taken again", || async {
        let answer = fixture.control.api().request(Method::PATCH, CRM).header("content-type", "application/json");
        let status = answer.body(url.to_string()).send().await.expect("it answers").status();
        assert!([StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE].contains(&status), "{status}");
        (status == StatusCode::OK).then_some(())
    })
    .await;
    // Each process reconnects to the database in its own time.
    let probes = AtomicUsize::new(0);
    eventually("the deliverer has it, too", || async {
        let probe = probes.fetch_add(1, Ordering::Relaxed);
        fixture.producer.api().publish("acme", ids(&format!("probe-{probe}"), 1)).await;
        receiver.look(|recorder| recorder.delivered("/moved") > 0).then_some(())
    })
    .await;
    let after = fixture.producer.api().publish("acme", ids("after", 20)).await;
    receiver.until("they arrive at the new place", |recorder| recorder.has_all("/moved", &after)).await;
}
