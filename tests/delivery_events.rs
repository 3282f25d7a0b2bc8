//! A ticketing product learns how its messages' deliveries end, and shows a tick or a warning beside each message.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use carteiro::receiver::Answer;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Api, KEY, Receiver, Site, eventually};

const TENANT: &str = "/v1/tenants/acme";

/// What arrived at a path, as JSON.
fn bodies(receiver: &Receiver, path: &str) -> Vec<Value> {
    receiver.look(|recorder| {
        let requests = recorder.requests(path).into_iter();
        requests.map(|request| serde_json::from_slice(&request.body).expect("JSON")).collect()
    })
}

/// Waits until the product has an event of a type about an endpoint. Returns all of these.
async fn told(receiver: &Receiver, event_type: &str, endpoint: &str, count: usize) -> Vec<Value> {
    let of = |event: &Value| {
        let about = event["delivery"]["endpoint_id"].as_str().or(event["endpoint"]["id"].as_str());
        event["type"] == event_type && about == Some(endpoint)
    };
    receiver
        .until("the product is told", |recorder| {
            let requests = recorder.requests("/product").into_iter();
            let events = requests.map(|request| serde_json::from_slice(&request.body).expect("JSON"));
            events.filter(of).count() >= count
        })
        .await;
    bodies(receiver, "/product").into_iter().filter(of).collect()
}

async fn send(api: &Api, message: &str) {
    let event = json!({"type": "message.sent", "ticket": {"id": 7}, "message": {"id": message, "text": "hello"}});
    api.done(KEY, Method::POST, &format!("{TENANT}/events"), Some(event)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_that_subscribes_is_told_how_deliveries_end_and_how_endpoints_are_doing() {
    let is_up = Arc::new(AtomicBool::new(true));
    let crm_is_up = is_up.clone();
    let receiver = Receiver::start(move |received| {
        let answers = received.path != "/crm" || crm_is_up.load(Ordering::SeqCst);
        Answer::status(if answers { 200 } else { 503 })
    })
    .await;
    let site = Site::from_nothing();
    let standalone = site.start("standalone").await;
    let api = standalone.api();
    api.put(TENANT, json!({})).await;
    let wants = [
        ("crm", json!(["message.sent"])),
        ("everything", json!(["*"])),
        ("product", json!(["delivery.*", "endpoint.failing", "endpoint.recovered"])),
    ];
    for (id, event_types) in wants {
        let retry = json!({"schedule": ["1s"], "max_age": "1h"});
        let endpoint = json!({"url": receiver.url(&format!("/{id}")), "retry": retry});
        api.put(&format!("{TENANT}/endpoints/{id}"), endpoint).await;
        let subscription = json!({"endpoint_id": id, "event_types": event_types});
        api.put(&format!("{TENANT}/subscriptions/{id}"), subscription).await;
    }

    send(&api, "m-1").await;
    let ticks = told(&receiver, "delivery.delivered", "crm", 1).await;
    let tick = &ticks[0]["delivery"];
    assert_eq!((&tick["ticket_id"], &tick["message_id"]), (&json!("7"), &json!("m-1")), "{tick}");
    assert_eq!((&tick["event_type"], &tick["attempt_count"]), (&json!("message.sent"), &json!(1)), "{tick}");
    assert_eq!((&tick["status"], &tick["reason"]), (&json!(200), &Value::Null), "{tick}");
    let delivery = format!("{TENANT}/deliveries/{}", tick["id"].as_str().expect("an id"));
    let found = eventually("history has it", || async {
        let (status, found) = api.ask(KEY, Method::GET, &delivery, None).await;
        (status == 200 && found["state"] == "delivered").then_some(found)
    })
    .await;
    assert_eq!(found["event_id"], tick["event_id"], "the product finds the delivery by what it was told");

    is_up.store(false, Ordering::SeqCst);
    send(&api, "m-2").await;
    let failing = told(&receiver, "endpoint.failing", "crm", 1).await;
    assert_eq!(failing[0]["endpoint"]["status"], 503, "{failing:?}");
    let dead = &told(&receiver, "delivery.dead", "crm", 1).await[0]["delivery"];
    assert_eq!((&dead["message_id"], &dead["attempt_count"]), (&json!("m-2"), &json!(2)), "{dead}");
    assert_eq!((&dead["reason"], &dead["outcome"]), (&json!("exhausted"), &json!("5xx")), "{dead}");

    is_up.store(true, Ordering::SeqCst);
    send(&api, "m-3").await;
    let recovered = told(&receiver, "endpoint.recovered", "crm", 1).await;
    assert_eq!(recovered[0]["endpoint"]["since"], failing[0]["endpoint"]["since"]);
    let ticks = told(&receiver, "delivery.delivered", "crm", 2).await;
    assert_eq!(ticks[1]["delivery"]["message_id"], "m-3");

    // All of the story has arrived everywhere, so what is not there does not come.
    told(&receiver, "delivery.delivered", "everything", 3).await;
    assert_eq!(
        told(&receiver, "endpoint.failing", "crm", 1).await.len(),
        1,
        "once for the change, not for each attempt"
    );
    let about_product = |event: &Value| event["delivery"]["endpoint_id"] == "product";
    assert!(!bodies(&receiver, "/product").iter().any(about_product), "its own deliveries make no events");
    let types: Vec<_> = bodies(&receiver, "/everything").iter().map(|event| event["type"].clone()).collect();
    assert_eq!(types, vec![json!("message.sent"); 3], "the pattern * has none of them");
}
