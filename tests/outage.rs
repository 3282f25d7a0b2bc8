//! A receiver that is away while many deliveries wait for it, and comes back to processes that it has never answered.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use carteiro::receiver::Answer;
use reqwest::Method;
use schemas::time::unix_ms;
use serde_json::{Value, json};

use crate::harness::{Api, KEY, MetricsPage, Process, Receiver, Site, acme, eventually, ids, report};

const EVENTS: usize = 500;
/// Longest wait of a delivery to an endpoint that is down, in ms: the breaker's period with its jitter, the window of half a
/// minute, and some for rounding. An assumed latency of 200 ms would space 500 deliveries, one at a time, by 110 s.
const LONGEST_WAIT_MS: u64 = 40_000;
const DEFERRALS: &str = "carteiro_deferrals_total{reason=\"breaker\"}";

/// A receiver that answers 503 until the switch is turned.
async fn away() -> (Receiver, Arc<AtomicBool>) {
    let is_back = Arc::new(AtomicBool::new(false));
    let switch = is_back.clone();
    let receiver = Receiver::start(move |_| Answer::status(if switch.load(Relaxed) { 200 } else { 503 })).await;
    (receiver, is_back)
}

/// One tenant, whose endpoint takes one request at a time.
fn conf(receiver: &Receiver) -> String {
    acme(&receiver.url("/crm")).replace("{id: crm,", "{id: crm, max_in_flight: 1,")
}

fn with_breaker(site: Site) -> Site {
    site.set("deliverer.breaker.failures", "3")
        .set("deliverer.breaker.first", "5s")
        .set("deliverer.breaker.longest", "5s")
        .set("telemetry.level", "info,deliverer=debug")
}

/// Waits until a process has deferred so many deliveries because the endpoint is down.
async fn deferred(deliverer: &Process, count: usize) {
    eventually("they are deferred", || async {
        (MetricsPage::of(deliverer).await.value(DEFERRALS) >= count as f64).then_some(())
    })
    .await;
}

/// Longest wait, in ms, that a process has reserved while the endpoint was down. The log line is written after the time
/// was reserved, so that a busy machine makes it shorter.
async fn longest_wait_ms(deliverer: &Process) -> u64 {
    let time = |line: &Value, name: &str| line[name].as_str().and_then(unix_ms);
    eventually("they are logged", || async {
        let log = deliverer.log();
        let waits = log.iter().filter(|line| line["message"] == "delivery.deferred" && line["reason"] == "breaker");
        waits.filter_map(|line| Some(time(line, "next_due")?.saturating_sub(time(line, "timestamp")?))).max()
    })
    .await
}

/// An outage in whose middle the deliverer is killed.
async fn outage(test: &str, api: Api, deliverer: &mut Process, receiver: &Receiver, is_back: &AtomicBool) {
    let accepted = api.publish("acme", ids("waits", EVENTS)).await;
    deferred(deliverer, EVENTS).await;
    let before = longest_wait_ms(deliverer).await;
    deliverer.kill().await;
    deliverer.restart().await;
    deferred(deliverer, EVENTS / 5).await;
    is_back.store(true, Relaxed);
    receiver.until("all arrive", |recorder| recorder.has_all("/crm", &accepted)).await;
    let after = longest_wait_ms(deliverer).await;
    report(test, format_args!("waits of up to {before} ms, after the restart {after} ms"));
    assert!(before.max(after) < LONGEST_WAIT_MS, "{before} ms, {after} ms");
    let counts = receiver.counts("/crm", &accepted);
    assert_eq!((counts.delivered, counts.lost, counts.unexpected), (EVENTS, 0, 0), "{counts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_receiver_returns_soon_after_it_is_back_and_the_process_was_restarted() {
    let (receiver, is_back) = away().await;
    let site = with_breaker(Site::embedded(&conf(&receiver)));
    let mut standalone = site.start("standalone").await;
    outage("outage, embedded", standalone.api(), &mut standalone, &receiver, &is_back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_on_rabbitmq_returns_soon_after_the_receiver_is_back_and_the_deliverer_was_restarted() {
    let (receiver, is_back) = away().await;
    let site = with_breaker(Site::on_rabbitmq(&conf(&receiver)).await);
    let (producer, _router) = (site.start("producer").await, site.start("router").await);
    let mut deliverer = site.start("deliverer").await;
    tokio::join!(producer.ready(), deliverer.ready());
    outage("outage, RabbitMQ", producer.api(), &mut deliverer, &receiver, &is_back).await;
}

#[tokio::test]
async fn an_endpoint_that_is_disabled_and_enabled_again_is_tried_at_once() {
    let (receiver, is_back) = away().await;
    // Longer than the test may take.
    let site = Site::from_nothing().set("deliverer.breaker.failures", "1");
    let site = site.set("deliverer.breaker.first", "5m").set("deliverer.breaker.longest", "5m");
    let standalone = site.start("standalone").await;
    let api = standalone.api();
    api.put("/v1/tenants/acme", json!({"name": "Acme"})).await;
    api.put("/v1/tenants/acme/endpoints/crm", json!({"url": receiver.url("/crm")})).await;
    let subscription = json!({"endpoint_id": "crm", "event_types": ["*"]});
    api.put("/v1/tenants/acme/subscriptions/all", subscription).await;
    api.publish("acme", ids("fails", 1)).await;
    standalone.logged("breaker.changed").await;
    is_back.store(true, Relaxed);
    for state in ["disabled", "active"] {
        api.done(KEY, Method::PATCH, "/v1/tenants/acme/endpoints/crm", Some(json!({"state": state}))).await;
    }
    let accepted = api.publish("acme", ids("arrives", 1)).await;
    receiver.until("it arrives", |recorder| recorder.has_all("/crm", &accepted)).await;
}
