//! What happened to an event or a delivery, as support asks for it: by ticket, over the command line and the API.

use std::{collections::BTreeSet, time::Duration};

use carteiro::receiver::Answer;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Api, KEY, MetricsPage, Postgres, Process, Receiver, Site, acme, eventually, ids, report};

const TENANT: &str = "/v1/tenants/acme";

/// The lines of JSON that a command prints about acme.
pub(crate) async fn told(site: &Site, process: &Process, arguments: &[&str]) -> Vec<Value> {
    let server = process.api().url();
    let whole = [arguments, &["--tenant", "acme", "--output", "json", "--server", &server]].concat();
    let output = site.run(&whole).await;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Waits until the one delivery about a ticket is as expected. Returns it.
async fn delivery_of(site: &Site, process: &Process, ticket: &str, state: &str) -> Value {
    let found = eventually("the delivery is as expected", || async {
        let found = told(site, process, &["deliveries", "list", "--ticket-id", ticket]).await;
        assert!(found.len() <= 1, "{ticket}: {found:?}");
        found.into_iter().find(|delivery| delivery["state"] == state)
    });
    found.await
}

/// Publishes an event about a ticket.
async fn publish(api: &Api, ticket: &str, mut event: Value) {
    event["ticket"]["id"] = ticket.into();
    api.done(KEY, Method::POST, &format!("{TENANT}/events"), Some(event)).await;
}

fn endpoint(id: &str, url: &str, retry: &Value) -> Value {
    json!({"id": id, "url": url, "retry": retry})
}

/// Each event goes to the endpoint that its channel names.
fn to(channel: &str) -> Value {
    json!({"type": "ticket.created", "channel": {"id": channel}})
}

#[tokio::test(flavor = "multi_thread")]
async fn support_finds_why_a_delivery_ended_by_the_number_of_its_ticket() {
    let receiver = Receiver::start(|received| {
        Answer::status(match received.path.as_str() {
            "/gone" => 410,
            "/good" => 200,
            _ => 503,
        })
    })
    .await;
    let url = |path: &str| receiver.url(path);
    let once = json!({"schedule": ["1s"], "max_age": "1h"});
    let endpoints = [
        endpoint("good", &url("/good"), &once),
        endpoint("exhausted", &url("/bad"), &once),
        endpoint("expired", &url("/bad"), &json!({"schedule": ["1h"], "max_age": "2s"})),
        endpoint("permanent", &url("/gone"), &once),
        json!({"id": "endpoint_disabled", "url": url("/good"), "state": "disabled"}),
        endpoint("endpoint_gone", &url("/bad"), &json!({"schedule": ["3s"], "max_age": "1h"})),
        endpoint("cancelled", &url("/bad"), &json!({"schedule": ["3s"], "max_age": "1h"})),
        json!({"id": "overflow", "url": url("/bad"), "max_backlog": 1, "retry": {"schedule": ["1h"], "max_age": "72h"},
            "rate_limit": {"per_second": 0.001}}),
    ];
    let site = Site::from_nothing();
    let standalone = site.start("standalone").await;
    let api = standalone.api();
    api.put(TENANT, json!({})).await;
    for endpoint in &endpoints {
        let id = endpoint["id"].as_str().expect("an id");
        api.put(&format!("{TENANT}/endpoints/{id}"), endpoint.clone()).await;
        let subscription = json!({"endpoint_id": id, "channel_ids": [id], "event_types": ["*"]});
        api.put(&format!("{TENANT}/subscriptions/{id}"), subscription).await;
    }
    for ticket in ["good", "exhausted", "expired", "permanent", "endpoint_disabled", "endpoint_gone", "cancelled"] {
        publish(&api, ticket, to(ticket)).await;
    }
    let good = delivery_of(&site, &standalone, "good", "delivered").await;
    assert_eq!((&good["last"]["status"], &good["attempt_count"]), (&json!(200), &json!(1)));

    for waits in ["endpoint_gone", "cancelled"] {
        eventually("it waits for its retry", || async {
            let found = told(&site, &standalone, &["deliveries", "list", "--ticket-id", waits]).await;
            found.first().filter(|delivery| delivery["attempt_count"] == 1).map(|_| ())
        })
        .await;
    }
    api.done(KEY, Method::DELETE, &format!("{TENANT}/endpoints/endpoint_gone"), None).await;
    api.done(KEY, Method::POST, &format!("{TENANT}/endpoints/cancelled/cancel"), None).await;
    for nth in 0..4 {
        publish(&api, &format!("overflow-{nth}"), to("overflow")).await;
    }

    let reasons = ["exhausted", "expired", "permanent", "endpoint_disabled", "endpoint_gone", "cancelled"];
    for reason in reasons {
        let delivery = delivery_of(&site, &standalone, reason, "dead").await;
        assert_eq!(delivery["reason"], reason, "{delivery}");
        let id = delivery["id"].as_str().expect("an id");
        let story = &told(&site, &standalone, &["deliveries", "show", id]).await[0];
        assert_eq!(story["attempts"].as_array().map(Vec::len), delivery["attempt_count"].as_u64().map(|n| n as usize));
        assert_eq!(story["matched_by"], json!([reason]));
        assert!(story["body"].as_str().is_some_and(|body| body.contains(reason)), "{story}");
    }
    let overflow = eventually("one is too many", || async {
        told(&site, &standalone, &["deliveries", "list", "--reason", "overflow"]).await.pop()
    });
    assert_eq!(overflow.await["endpoint_id"], "overflow");
    assert_eq!(standalone.end().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn support_finds_why_an_event_reached_nobody_by_the_number_of_its_ticket() {
    let receiver = Receiver::accepting().await;
    let site = Site::from_nothing();
    let standalone = site.start("standalone").await;
    let api = standalone.api();
    api.put(TENANT, json!({})).await;
    let message = |more: Value| {
        let mut event = json!({"type": "message.received", "channel": {"id": 7}, "ticket": {"status": "open"},
            "message": {"id": "m", "direction": "inbound", "body": "Olá"}});
        event.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        event
    };
    publish(&api, "nobody", message(json!({}))).await;
    eventually("the event is recorded", || async {
        let found = told(&site, &standalone, &["events", "list", "--ticket-id", "nobody", "--matched", "false"]).await;
        let id = found.first()?["id"].as_str()?.to_owned();
        let story = told(&site, &standalone, &["events", "show", &id]).await.remove(0);
        assert_eq!((&story["unmatched"], &story["deliveries"]), (&json!([]), &json!([])), "there was no subscription");
        Some(())
    })
    .await;

    api.put(&format!("{TENANT}/endpoints/crm"), json!({"url": receiver.url("/crm")})).await;
    api.put(&format!("{TENANT}/endpoints/vendor"), json!({"url": receiver.url("/crm"), "format": "boticario"})).await;
    let subscription = |more: Value| {
        let mut subscription = json!({"endpoint_id": "crm", "event_types": ["*"]});
        subscription.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        subscription
    };
    let cases = [
        ("event_types", subscription(json!({"event_types": ["ticket.closed"]})), message(json!({}))),
        ("channel_ids", subscription(json!({"channel_ids": [8]})), message(json!({}))),
        ("queue_ids", subscription(json!({"queue_ids": [1]})), message(json!({}))),
        ("directions", subscription(json!({"directions": ["sent"]})), message(json!({}))),
        ("ticket_statuses", subscription(json!({"ticket_statuses": ["closed"]})), message(json!({}))),
        ("groups", subscription(json!({"groups": false})), message(json!({"contact": {"is_group": true}}))),
        ("disabled", subscription(json!({"enabled": false})), message(json!({}))),
        (
            "no_last_message",
            subscription(json!({"event_types": [], "queue_ids": [1], "start_on_transfer": true})),
            json!({"type": "ticket.transferred", "ticket": {"queue": {"id": 1}},
                "change": {"kind": "queue", "from": {"id": 2}, "to": {"id": 1}}}),
        ),
        ("format_has_no_such_event", subscription(json!({"endpoint_id": "vendor"})), json!({"type": "ticket.closed"})),
    ];
    for (reason, subscription, event) in cases {
        api.put(&format!("{TENANT}/subscriptions/only"), subscription).await;
        publish(&api, reason, event).await;
        let story = eventually("the event is recorded", || async {
            let found = told(&site, &standalone, &["events", "list", "--ticket-id", reason]).await;
            let id = found.first()?["id"].as_str()?.to_owned();
            Some(told(&site, &standalone, &["events", "show", &id]).await.remove(0))
        })
        .await;
        assert_eq!(story["unmatched"][0]["reason"], reason, "{story}");
        assert_eq!((&story["matched"], &story["deliveries"]), (&json!(false), &json!([])), "{reason}");
    }
    let words = site.run(&["events", "list", "--tenant", "acme", "--server", &api.url()]).await;
    assert!(String::from_utf8_lossy(&words.stdout).contains("message.received"));
    assert_eq!(standalone.end().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_sent_again_from_history_to_its_endpoint_and_to_another_one() {
    let receiver = Receiver::start(|received| Answer::status(if received.path == "/crm" { 410 } else { 200 })).await;
    let site = Site::from_nothing();
    let standalone = site.start("standalone").await;
    let api = standalone.api();
    api.put(TENANT, json!({})).await;
    api.put(&format!("{TENANT}/endpoints/crm"), json!({"url": receiver.url("/crm")})).await;
    api.put(&format!("{TENANT}/endpoints/bi"), json!({"url": receiver.url("/bi"), "format": "whazing"})).await;
    api.put(&format!("{TENANT}/subscriptions/all"), json!({"endpoint_id": "crm", "event_types": ["ticket.created"]}))
        .await;
    let event = json!({"id": "e1", "type": "ticket.created", "channel": {"id": 4}});
    publish(&api, "1003", event).await;
    let dead = delivery_of(&site, &standalone, "1003", "dead").await;
    let letters = |api: Api| async move {
        let found = api.done(KEY, Method::GET, &format!("{TENANT}/dead-letters"), None).await;
        found["items"].as_array().map(Vec::len)
    };
    assert_eq!(letters(api.clone()).await, Some(1));

    let id = dead["id"].as_str().expect("an id");
    eventually("the endpoint is disabled", || async {
        let crm = api.done(KEY, Method::GET, &format!("{TENANT}/endpoints/crm"), None).await;
        (crm["state"] == "disabled").then_some(())
    })
    .await;
    let refused = site.run(&["deliveries", "resend", id, "--tenant", "acme", "--server", &api.url()]).await;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("disabled: enable it first"), "{refused:?}");
    api.done(KEY, Method::POST, &format!("{TENANT}/endpoints/crm/enable"), None).await;
    api.put(&format!("{TENANT}/endpoints/crm"), json!({"url": receiver.url("/mended")})).await;
    let again = told(&site, &standalone, &["deliveries", "resend", id]).await;
    assert_eq!(again[0]["delivery_id"], dead["id"]);
    let delivered = delivery_of(&site, &standalone, "1003", "delivered").await;
    assert_eq!((&delivered["run"], &delivered["attempt_count"]), (&json!(2), &json!(2)));
    assert_eq!(letters(api.clone()).await, Some(0), "its dead letter has ended");
    let ids: Vec<_> = receiver.look(|recorder| {
        let of = |path: &str| recorder.requests(path)[0].header("webhook-id").to_owned();
        vec![of("/crm"), of("/mended")]
    });
    assert_eq!(ids, ["e1", "e1"]);

    let other = told(&site, &standalone, &["deliveries", "resend", id, "--endpoint-id", "bi"]).await;
    assert_ne!(other[0]["delivery_id"], dead["id"]);
    receiver.until("the other endpoint gets it", |recorder| recorder.delivered("/bi") == 1).await;
    let body: Value =
        receiver.look(|recorder| serde_json::from_slice(&recorder.requests("/bi")[0].body).expect("JSON"));
    assert_eq!(body["Type"], "NewTicket", "rendered anew in its format: {body}");
    assert_eq!(standalone.end().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_history_deliveries_go_and_its_calls_say_that_it_is_off() {
    let receiver = Receiver::accepting().await;
    let site = Site::embedded(&acme(&receiver.url("/crm"))).set("history.url", "off");
    let standalone = site.start("standalone").await;
    let api = standalone.api();
    api.publish("acme", ids("event", 1)).await;
    receiver.until("it arrives", |recorder| recorder.delivered("/crm") == 1).await;
    for path in ["/deliveries", "/events", "/stats", "/events/event-00000"] {
        let (status, problem) = api.ask(KEY, Method::GET, &format!("{TENANT}{path}"), None).await;
        assert_eq!((status, &problem["code"]), (409, &json!("history_off")), "{path}");
    }
    assert!(!site.path("history").exists());
    assert_eq!(standalone.end().await, 0);
}

#[tokio::test]
async fn a_database_of_history_that_cannot_be_used_exits_78_and_names_its_key() {
    for (url, why) in [
        ("postgres://me:hunter2@db/carteiro?sslmode=maybe", "sslmode: expected disable, require or verify-full"),
        ("mysql://me:hunter2@db/carteiro", "expected postgres://user:password@host/database, off, or nothing"),
    ] {
        let site = Site::embedded("tenants: []").set("history.url", url);
        let output = site.run(&["standalone"]).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(&format!("history.url: {why}")) && !said.contains("hunter2"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_postgres_store_another_control_goes_on_when_the_one_that_writes_is_killed_and_counts_nothing_twice() {
    const EVENTS: usize = 400;
    const WRITTEN: &str = "carteiro_history_written_total{result=\"written\"}";
    let postgres = Postgres::start().await;
    let receiver = Receiver::accepting().await;
    let site = Site::on_rabbitmq("tenants: []").await.set("store.url", postgres.url());
    let site = site.set("store.encryption_key", "a-key-of-the-tests-long-enough");
    let mut first = site.start("control").await;
    let roles = [site.start("producer").await, site.start("router").await, site.start("deliverer").await];
    for process in roles.iter().chain([&first]) {
        process.ready().await;
    }
    let api = first.api();
    api.put(TENANT, json!({})).await;
    api.put(&format!("{TENANT}/endpoints/crm"), json!({"url": receiver.url("/crm")})).await;
    api.put(&format!("{TENANT}/subscriptions/all"), json!({"endpoint_id": "crm", "event_types": ["*"]})).await;
    let producer = roles[0].api();
    publish(&producer, "1001", to("4")).await;
    let before = delivery_of(&site, &first, "1001", "delivered").await;
    assert!(
        site.path("control-0").is_dir() && !site.path("control-0/history").exists(),
        "it is in the store's database"
    );

    let second = site.start("control").await;
    second.ready().await;
    assert_eq!(delivery_of(&site, &second, "1001", "delivered").await, before, "it answers from the same records");
    let accepted = producer.publish("acme", ids("event", EVENTS)).await;
    eventually("the first one writes", || async {
        (MetricsPage::of(&first).await.value(WRITTEN) > 100.0).then_some(())
    })
    .await;
    assert_eq!(MetricsPage::of(&second).await.value(WRITTEN), 0.0, "the second one leaves it to the first");
    first.kill().await;
    publish(&producer, "1002", to("4")).await;
    receiver.until("all arrive", |recorder| recorder.has_all("/crm", &accepted)).await;
    delivery_of(&site, &second, "1002", "delivered").await;

    let api = second.api();
    let all = eventually("all are recorded", || async {
        let (all, _) = everything(&api).await;
        (all.iter().filter(|one| one["state"] == "delivered").count() >= EVENTS + 2).then_some(all)
    });
    let all = all.await;
    let ids: BTreeSet<_> = all.iter().map(|one| one["id"].to_string()).collect();
    assert_eq!((ids.len(), all.len()), (EVENTS + 2, EVENTS + 2), "no delivery twice");
    assert!(all.iter().all(|one| one["attempt_count"] == 1), "no attempt twice");
    let stats = api.done(KEY, Method::GET, &format!("{TENANT}/stats?by=day"), None).await;
    let sum = |of: &str| -> u64 {
        stats["points"].as_array().expect("points").iter().filter_map(|point| point[of].as_u64()).sum()
    };
    let expected = EVENTS as u64 + 2;
    assert_eq!((sum("events"), sum("delivered")), (expected, expected), "no count twice: {stats}");
    first.restart().await;
    assert_eq!(delivery_of(&site, &first, "1001", "delivered").await, before);
    for process in roles.into_iter().chain([first, second]) {
        assert_eq!(process.end().await, 0);
    }
}

/// All deliveries of acme with their attempts, and whether the list is complete.
async fn everything(api: &Api) -> (Vec<Value>, bool) {
    let (mut all, mut complete, mut cursor) = (Vec::new(), true, String::new());
    loop {
        let path = format!("{TENANT}/deliveries?limit=1000&cursor={cursor}");
        let page = api.done(KEY, Method::GET, &path, None).await;
        all.extend(page["items"].as_array().expect("items").clone());
        complete &= page["complete"] == true;
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => return (all, complete),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn control_and_a_deliverer_killed_in_the_middle_leave_no_attempt_twice_and_say_what_is_missing() {
    const EVENTS: usize = 1_500;
    let receiver = Receiver::accepting_after(Duration::from_millis(20)).await;
    let site = Site::on_rabbitmq(&acme(&receiver.url("/crm"))).await;
    // Some 400 attempts a second.
    let site = site.set("deliverer.slots", "4").set("deliverer.slow_slots", "4");
    let mut control = site.start("control").await;
    let (producer, router) = (site.start("producer").await, site.start("router").await);
    let mut deliverer = site.start("deliverer").await;
    producer.ready().await;
    let accepted = producer.api().publish("acme", ids("event", EVENTS)).await;
    receiver.until("some are delivered", |recorder| recorder.delivered("/crm") >= EVENTS / 4).await;
    control.kill().await;
    receiver.until("some more are delivered", |recorder| recorder.delivered("/crm") >= EVENTS / 2).await;
    deliverer.kill().await;
    control.restart().await;
    deliverer.restart().await;
    receiver.until("all arrive", |recorder| recorder.has_all("/crm", &accepted)).await;

    let api = control.api();
    // What lay in the killed deliverer's last quarter of a second may be missing, and what it had handed over but was not
    // confirmed.
    let recorded = eventually("the others are recorded", || async {
        let (all, complete) = everything(&api).await;
        let delivered: BTreeSet<_> =
            all.iter().filter(|one| one["state"] == "delivered").map(|one| one["event_id"].to_string()).collect();
        let missing = EVENTS - delivered.len();
        // A killed process makes its time incomplete, once it has been silent for some seconds.
        (missing <= EVENTS / 5 && !complete).then_some((all, missing))
    });
    let (all, missing) = recorded.await;
    report("control and a deliverer killed", format!("{missing} of {EVENTS} attempts are missing in history"));
    let ids: BTreeSet<_> = all.iter().map(|one| one["id"].to_string()).collect();
    assert_eq!(ids.len(), all.len(), "no delivery twice");
    for one in all.iter().filter(|one| one["attempt_count"].as_u64() > Some(1)) {
        let path = format!("{TENANT}/deliveries/{}", one["id"].as_str().expect("an id"));
        let story = api.done(KEY, Method::GET, &path, None).await;
        let attempts = story["attempts"].as_array().expect("attempts");
        let numbers: BTreeSet<_> =
            attempts.iter().map(|one| (one["run"].to_string(), one["number"].to_string())).collect();
        assert_eq!(numbers.len(), attempts.len(), "no attempt twice: {story}");
    }
    // A time that ended before the kill, and was covered by every process, is complete.
    let before = format!("{TENANT}/deliveries?until=2020-01-01T00:00:00Z");
    assert_eq!(api.done(KEY, Method::GET, &before, None).await["complete"], true);
    for process in [control, producer, router, deliverer] {
        assert_eq!(process.end().await, 0);
    }
}
