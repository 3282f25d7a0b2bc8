//! Replays from history: what an outage has cost is sent again, also to another endpoint, also through a crash.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};

use carteiro::receiver::Answer;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    harness::{Api, KEY, Receiver, Site, eventually, ids, report},
    history::told,
};

const TENANT: &str = "/v1/tenants/acme";
const REPLAYS: &str = "/v1/tenants/acme/replays";
/// Most deliveries that a replay has under way at once.
const WINDOW: usize = 100;

async fn counted(api: &Api, filter: Value) -> Value {
    let dry_run = json!({"from": "history", "filter": filter, "dry_run": true});
    api.done(KEY, Method::POST, REPLAYS, Some(dry_run)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_outage_has_cost_is_sent_again_and_to_a_new_endpoint_in_its_format() {
    let status = Arc::new(AtomicU16::new(500));
    let answer = status.clone();
    let receiver = Receiver::start(move |received| match received.path.as_str() {
        "/crm" => Answer::status(answer.load(Ordering::Relaxed)),
        _ => Answer::status(200),
    })
    .await;
    let site = Site::from_nothing();
    let standalone = site.start("standalone").await;
    let api = standalone.api();
    api.put(TENANT, json!({})).await;
    let once = json!({"schedule": [], "max_age": "1h"});
    api.put(&format!("{TENANT}/endpoints/crm"), json!({"url": receiver.url("/crm"), "retry": once})).await;
    api.put(&format!("{TENANT}/endpoints/bi"), json!({"url": receiver.url("/bi"), "format": "whazing"})).await;
    let all = json!({"endpoint_id": "crm", "event_types": ["ticket.created"]});
    api.put(&format!("{TENANT}/subscriptions/all"), all).await;
    for nth in 0..10 {
        let event = json!({"id": format!("e{nth}"), "type": "ticket.created", "channel": {"id": 4},
            "ticket": {"id": format!("t{nth}")}});
        api.done(KEY, Method::POST, &format!("{TENANT}/events"), Some(event)).await;
    }
    eventually("all are dead in history", || async {
        (counted(&api, json!({"state": "dead"})).await == json!({"matched": 10, "at_least": false})).then_some(())
    })
    .await;
    status.store(200, Ordering::Relaxed);

    let done = &told(&site, &standalone, &["deliveries", "replay", "--state", "dead", "--yes"]).await[0];
    assert_eq!((&done["replayed"], &done["skipped"], &done["from"]), (&json!(10), &json!(0), &json!("history")));
    receiver.until("all arrive", |recorder| recorder.delivered("/crm") == 10).await;
    let order: Vec<_> = receiver.look(|recorder| {
        let again = recorder.requests("/crm").into_iter().skip(10);
        again.map(|request| request.header("webhook-id").to_owned()).collect()
    });
    assert_eq!(order.len(), 10, "under the same ids: {order:?}");
    let letters = api.done(KEY, Method::GET, &format!("{TENANT}/dead-letters"), None).await;
    assert_eq!(letters["items"], json!([]), "their dead letters have ended");
    eventually("history knows", || async {
        (counted(&api, json!({"state": "delivered"})).await["matched"] == 10).then_some(())
    })
    .await;

    let to_bi = ["deliveries", "replay", "--endpoint-id", "crm", "--to-endpoint-id", "bi", "--yes"];
    let done = &told(&site, &standalone, &to_bi).await[0];
    assert_eq!((&done["replayed"], &done["to_endpoint_id"]), (&json!(10), &json!("bi")), "{done}");
    receiver.until("the new endpoint gets all", |recorder| recorder.delivered("/bi") == 10).await;
    let kinds: Vec<Value> = receiver.look(|recorder| {
        let kind = |body: &[u8]| serde_json::from_slice::<Value>(body).expect("JSON")["Type"].clone();
        recorder.requests("/bi").iter().map(|request| kind(&request.body)).collect()
    });
    assert!(kinds.iter().all(|kind| kind == "NewTicket"), "rendered anew: {kinds:?}");

    let wrong = json!({"from": "history", "filter": {"ids": ["7"]}, "to_endpoint_id": "none"});
    let (status, problem) = api.ask(KEY, Method::POST, REPLAYS, Some(wrong)).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/filter/ids")));
    assert_eq!(standalone.end().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_from_history_goes_on_after_a_kill_and_sends_nothing_twice_beyond_what_was_in_flight() {
    const EVENTS: usize = 2_000;
    let receiver = Receiver::without_bodies(|_| Answer::status(200)).await;
    let tenant = format!(
        "tenants:
  - id: acme
    endpoints: [{{id: crm, url: \"{}\"}}, {{id: new, url: \"{}\"}}]
    subscriptions: [{{id: all, endpoint_id: crm, event_types: [\"*\"]}}]
",
        receiver.url("/crm"),
        receiver.url("/new")
    );
    let site = Site::on_rabbitmq(&tenant).await;
    let (producer, worker) = (site.start("producer").await, site.start("worker").await);
    let mut control = site.start("control").await;
    for process in [&producer, &worker, &control] {
        process.ready().await;
    }
    let accepted = producer.api().publish("acme", ids("event", EVENTS)).await;
    receiver.until("all arrive", |recorder| recorder.has_all("/crm", &accepted)).await;
    eventually("history has all", || async {
        (counted(&control.api(), json!({"state": "delivered"})).await["matched"] == EVENTS).then_some(())
    })
    .await;
    let body =
        json!({"from": "history", "filter": {"endpoint_id": "crm"}, "to_endpoint_id": "new", "rate_per_second": 800});
    let started = control.api().done(KEY, Method::POST, REPLAYS, Some(body)).await;
    receiver.until("some are sent", |recorder| recorder.delivered("/new") >= EVENTS / 3).await;
    control.kill().await;
    let delivered = receiver.look(|recorder| recorder.delivered("/new"));
    report("control killed in a replay from history", format!("{delivered} of {EVENTS} were delivered"));
    assert!(delivered < EVENTS, "it was killed before its end");
    control.restart().await;
    let path = format!("{REPLAYS}/{}", started["id"].as_str().expect("an id"));
    eventually("the replay goes on and ends", || async {
        let (_, replay) = control.api().ask(KEY, Method::GET, &path, None).await;
        (replay["state"] == "done").then_some(())
    })
    .await;
    receiver.until("all arrive at the new endpoint", |recorder| recorder.has_all("/new", &accepted)).await;
    let mut times = BTreeMap::<String, usize>::new();
    receiver.look(|recorder| {
        for request in recorder.requests("/new") {
            *times.entry(request.header("webhook-id").to_owned()).or_default() += 1;
        }
    });
    let twice = times.values().filter(|count| **count > 1).count();
    report("control killed in a replay from history", format!("{twice} of {EVENTS} were sent twice"));
    assert!(twice <= WINDOW, "{twice} were sent twice");
    for process in [producer, worker, control] {
        assert_eq!(process.end().await, 0);
    }
}
