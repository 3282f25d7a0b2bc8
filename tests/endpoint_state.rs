//! Endpoints that are cancelled or paused by an operator, or disabled by a 410.

use std::collections::BTreeSet;

use carteiro::receiver::Answer;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    harness::{KEY, MetricsPage, Receiver, Site, acme, eventually, ids},
    quotas::{dead_letters, publish},
};

#[tokio::test]
async fn deliveries_cancelled_while_they_wait_end_when_due_and_later_ones_are_delivered() {
    let receiver = Receiver::start(|received| Answer::status(if received.path == "/up" { 200 } else { 503 })).await;
    let site = Site::embedded(&acme(&receiver.url("/down")));
    let standalone = site.start("standalone").await;
    let cancelled = standalone.api().publish("acme", ids("early", 20)).await;
    receiver.until("all have failed", |recorder| recorder.requests("/down").len() >= cancelled.len()).await;

    // One second after the last attempt, by the clock of this machine.
    let last = receiver.look(|recorder| {
        let times =
            recorder.requests("/down").into_iter().map(|request| request.header("webhook-timestamp").to_owned());
        times.max().expect("there are some")
    });
    let until = schemas::time::rfc3339((last.parse::<u64>().expect("seconds") + 1) * 1_000);
    let with_cancel = |url: &str| acme(url).replace("{id: crm,", &format!("{{id: crm, cancelled_before: \"{until}\","));
    site.configure(&with_cancel(&receiver.url("/down")));
    let letters = dead_letters(&site, 20).await;
    assert!(letters.iter().all(|letter| letter["reason"] == "cancelled"), "{letters:?}");
    let ended: BTreeSet<_> =
        letters.iter().map(|letter| letter["event_id"].as_str().expect("text").to_owned()).collect();
    assert_eq!(ended, cancelled);

    site.configure(&with_cancel(&receiver.url("/up")));
    eventually("the new URL is in force", || async {
        let later = standalone.api().publish("acme", ids("later", 1)).await;
        receiver.look(|recorder| recorder.has_all("/up", &later)).then_some(())
    })
    .await;
    let replay = ["dead-letters", "replay", "--all", "--yes", "--server", &standalone.api().url(), "--key", KEY];
    assert!(site.run(&replay).await.status.success());
    receiver.until("a replay counts as accepted anew", |recorder| recorder.has_all("/up", &cancelled)).await;
}

#[tokio::test]
async fn what_is_for_a_paused_endpoint_waits_and_arrives_once_the_endpoint_is_enabled() {
    let receiver = Receiver::accepting().await;
    let site = Site::from_nothing();
    let mut standalone = site.start("standalone").await;
    let api = standalone.api();
    api.put("/v1/tenants/acme", json!({"name": "Acme"})).await;
    for id in ["crm", "other"] {
        api.put(&format!("/v1/tenants/acme/endpoints/{id}"), json!({"url": receiver.url(&format!("/{id}"))})).await;
        let subscription = json!({"endpoint_id": id, "event_types": ["*"]});
        api.put(&format!("/v1/tenants/acme/subscriptions/{id}"), subscription).await;
    }
    let crm = "/v1/tenants/acme/endpoints/crm";
    let paused = api.done(KEY, Method::POST, &format!("{crm}/pause"), None).await;
    assert_eq!(paused["state"], "paused");
    let accepted = api.publish("acme", ids("waits", 20)).await;
    receiver.until("the other endpoint gets all", |recorder| recorder.has_all("/other", &accepted)).await;
    eventually("each was deferred", || async {
        let page = MetricsPage::of(&standalone).await;
        (page.value("carteiro_deferrals_total{reason=\"paused\"}") >= 20.0).then_some(())
    })
    .await;
    let waiting = api.done(KEY, Method::GET, &format!("{crm}/waiting"), None).await;
    assert_eq!(waiting, json!({"waiting": 20, "counted": "exactly"}));
    // What waits is in the broker, and outlives the process.
    standalone.kill().await;
    standalone.restart().await;
    assert_eq!(receiver.look(|recorder| recorder.requests("/crm").len()), 0);
    let api = standalone.api();
    api.done(KEY, Method::POST, &format!("{crm}/enable"), None).await;
    receiver.until("all arrive", |recorder| recorder.has_all("/crm", &accepted)).await;
}

#[tokio::test]
async fn an_endpoint_that_answers_410_is_disabled_with_an_event_an_audit_entry_and_usage() {
    let receiver = Receiver::start(|received| Answer::status(if received.path == "/gone" { 410 } else { 200 })).await;
    let site = Site::from_nothing();
    let mut standalone = site.start("standalone").await;
    let api = standalone.api();
    api.put("/v1/tenants/acme", json!({"name": "Acme"})).await;
    for (id, wants) in [("gone", "ticket.*"), ("ops", "endpoint.disabled")] {
        let (endpoint, subscription) = (json!({"url": receiver.url(&format!("/{id}"))}), json!([wants]));
        api.put(&format!("/v1/tenants/acme/endpoints/{id}"), endpoint).await;
        let subscription = json!({"endpoint_id": id, "event_types": subscription});
        api.put(&format!("/v1/tenants/acme/subscriptions/{id}"), subscription).await;
    }
    assert_eq!(publish(&standalone, "ticket.created").await, StatusCode::ACCEPTED);
    receiver.until("the event arrives", |recorder| recorder.delivered("/ops") == 1).await;
    let event: Value =
        receiver.look(|recorder| serde_json::from_slice(&recorder.requests("/ops")[0].body).expect("JSON"));
    assert_eq!(event["endpoint"], json!({"id": "gone", "reason": "the receiver answered 410 Gone"}));
    let gone = api.done(KEY, Method::GET, "/v1/tenants/acme/endpoints/gone", None).await;
    assert_eq!((&gone["state"], &gone["disabled_reason"]), (&json!("disabled"), &event["endpoint"]["reason"]));
    let audit = api.done(KEY, Method::GET, "/v1/tenants/acme/audit", None).await;
    let newest = &audit["items"][0];
    assert_eq!((&newest["author"], &newest["item"]), (&json!("deliverer"), &json!("gone")), "{audit}");

    // Usage that was not reported yet is reported at the end, and recorded.
    standalone.terminate().await;
    assert_eq!(standalone.ended().await, Some(0));
    standalone.restart().await;
    let usage = standalone.api().done(KEY, Method::GET, "/v1/tenants/acme/usage?by=endpoint", None).await;
    let of =
        |id: &Value| usage["items"].as_array().expect("a list").iter().find(|line| line["endpoint_id"] == *id).cloned();
    let counts = |id: Value| {
        let line = of(&id).unwrap_or_default();
        ["events", "deliveries", "attempts", "delivered", "dead"].map(|name| line[name].as_u64().unwrap_or_default())
    };
    assert_eq!(counts(Value::Null), [2, 0, 0, 0, 0], "the ticket, and endpoint.disabled: {usage}");
    assert_eq!(counts("gone".into()), [0, 1, 1, 0, 1], "{usage}");
    assert_eq!(counts("ops".into()), [0, 1, 1, 1, 0], "{usage}");
}
