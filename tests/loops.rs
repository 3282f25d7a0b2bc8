//! An endpoint that posts back to its own tenant's source: its deliveries come back in as events, and that ends.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{KEY, MetricsPage, Process, Receiver, Site, eventually, ids};

const TENANT: &str = "/v1/tenants/acme";
/// Posts of two endpoints that post back, after one event: each is accepted but the last.
const POSTS: usize = 2 + 4 + 8 + 16;
const REFUSED: usize = 16;

async fn on_rabbitmq() -> Site {
    let site = Site::on_rabbitmq("tenants: []").await;
    let store = format!("sqlite:{}", site.path("store.db").display());
    site.set("store.url", &store)
}

/// Posts that were answered 2xx, and that were refused as a loop.
async fn counts(standalone: &Process) -> (f64, f64) {
    let page = MetricsPage::of(standalone).await;
    let accepted = page.value("carteiro_events_received_total{source=\"whazing\"}");
    (accepted, page.value("carteiro_events_refused_total{code=\"event_loop\"}"))
}

/// Waits until no post is under way, and checks how many there were.
async fn loop_ends(standalone: &Process, accepted: usize, refused: usize) {
    eventually("all of the last posts are refused", || async {
        (counts(standalone).await.1 >= refused as f64).then_some(())
    })
    .await;
    eventually("their deliveries have ended", || async {
        let page = MetricsPage::of(standalone).await;
        let dead = page.value("carteiro_dead_letters_total{reason=\"exhausted\"}");
        (dead >= refused as f64).then_some(())
    })
    .await;
    assert_eq!(counts(standalone).await, (accepted as f64, refused as f64));
}

async fn endpoints_that_post_back(site: Site) {
    let receiver = Receiver::accepting().await;
    let standalone = site.start("standalone").await;
    let api = standalone.api();
    api.put(TENANT, json!({})).await;
    let token = "a-token-of-a-source-that-hears-itself";
    api.put(&format!("{TENANT}/sources/main"), json!({"dialect": "whazing", "token": token})).await;
    let retry = json!({"schedule": [], "max_age": "1h"});
    for id in ["a", "b"] {
        let endpoint =
            json!({"url": format!("{}/v1/in/{token}", api.url()), "format": "original", "retry": retry.clone()});
        api.put(&format!("{TENANT}/endpoints/{id}"), endpoint).await;
        api.put(&format!("{TENANT}/subscriptions/{id}"), json!({"endpoint_id": id, "event_types": ["vendor.unknown"]}))
            .await;
    }
    api.put(&format!("{TENANT}/endpoints/ops"), json!({"url": receiver.url("/ops")})).await;
    let ops = json!({"endpoint_id": "ops", "event_types": ["event.loop", "ticket.created"]});
    api.put(&format!("{TENANT}/subscriptions/ops"), ops).await;

    let hour = || service::clock::system()() / 3_600_000;
    let begun = hour();
    let send = async || {
        eventually("the broker is there and takes it", || async {
            let request = api.anonymous(Method::POST, &format!("/v1/in/{token}"));
            let request = request.header("content-type", "application/json").body(r#"{"x":1}"#);
            (request.send().await.expect("an answer").status() == 202).then_some(())
        })
        .await;
    };
    send().await;
    let accepted = 1 + POSTS - REFUSED;
    loop_ends(&standalone, accepted, REFUSED).await;
    let told = |receiver: &Receiver| {
        receiver.look(|recorder| {
            let bodies = recorder.requests("/ops").into_iter().map(|request| serde_json::from_slice(&request.body));
            let bodies = bodies.map(|body| body.expect("JSON"));
            bodies.filter(|body: &Value| body["type"] == "event.loop").collect::<Vec<_>>()
        })
    };
    receiver.until("the tenant is told", |recorder| recorder.delivered("/ops") == 1).await;
    assert_eq!(told(&receiver)[0]["loop"], json!({"source_id": "main", "max_hops": 3}));

    // A delivery that is replayed has come through as many as before.
    let replay = json!({"filter": {"reason": "exhausted"}});
    api.done(KEY, Method::POST, &format!("{TENANT}/replays"), Some(replay)).await;
    loop_ends(&standalone, accepted, 2 * REFUSED).await;

    send().await;
    loop_ends(&standalone, 2 * accepted, 3 * REFUSED).await;
    let later = api.publish("acme", ids("later", 1)).await;
    receiver.until("another event arrives", |recorder| recorder.has_all("/ops", &later)).await;
    let hours = 1 + (hour() - begun) as usize;
    assert!(told(&receiver).len() <= hours, "once an hour: {:?}", told(&receiver));
}

#[tokio::test]
async fn endpoints_that_post_back_end_their_loop_after_three_rounds() {
    endpoints_that_post_back(Site::from_nothing()).await;
}

#[tokio::test]
async fn endpoints_that_post_back_end_their_loop_after_three_rounds_on_rabbitmq() {
    endpoints_that_post_back(on_rabbitmq().await).await;
}
