//! The log of several processes, searched for one event, one request, or one cause of an outage.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{AmqpClient, AmqpMessage, KEY, Process, Receiver, Site, acme, eventually, ids};

/// The names of the log lines of these processes that contain a text.
fn lines_with(processes: &[&Process], text: &str) -> Vec<String> {
    let lines = processes.iter().flat_map(|process| process.log()).filter(|line| line.to_string().contains(text));
    lines.map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn an_event_is_found_by_its_id_in_every_role_from_the_intake_to_its_dead_letter() {
    let receiver = Receiver::start(|_| carteiro::receiver::Answer::status(500)).await;
    let conf = acme(&receiver.url("/crm")).replace(&["1s"; 50].join(", "), "1s");
    let site = Site::on_rabbitmq(&conf).await;
    let (producer, router) = (site.start("producer").await, site.start("router").await);
    let deliverer = site.start("deliverer").await;
    for role in [&producer, &router, &deliverer] {
        role.ready().await;
    }
    // The last event of a batch that is too long for one log line.
    let batch: Vec<_> = ids("followed", 45).iter().map(|id| json!({"id": id, "type": "ticket.created"})).collect();
    let request = producer.api().request(Method::POST, "/v1/tenants/acme/events").header("x-request-id", "request-7");
    let request = request.header("content-type", "application/json").body(json!({"events": batch}).to_string());
    let answer = request.send().await.expect("it answers");
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["x-request-id"]),
        (202, &"request-7".parse().expect("text"))
    );

    let roles = [&producer, &router, &deliverer];
    let expected = ["events.accepted", "event.routed", "delivery.attempted", "delivery.attempted", "delivery.dead"];
    let found = eventually("it is dead", || async {
        let told = lines_with(&roles, "followed-00044");
        (told.len() >= expected.len()).then_some(told)
    });
    assert_eq!(found.await, expected);
    assert_eq!(lines_with(&roles, "request-7"), ["events.accepted"; 3], "20 ids a line");
    let accepted = producer.logged("events.accepted").await;
    assert_eq!(accepted["span"], json!({"name": "request", "request_id": "request-7"}));
}

#[tokio::test]
async fn a_parked_message_is_found_by_the_id_that_its_publisher_gave_it() {
    let site = Site::on_rabbitmq("tenants: [{id: acme}]").await;
    let router = site.start("router").await;
    router.ready().await;
    let message = AmqpMessage { key: "acme.-.-.ticket.created", id: Some("garbage-1"), tenant: None, body: b"no JSON" };
    AmqpClient::connect(&site).await.publish(&message).await;
    let parked = router.logged("event.parked").await;
    let expected = [json!("garbage-1"), json!("acme"), json!("decode")];
    assert_eq!(["event_id", "tenant", "reason"].map(|field| parked[field].clone()), expected);
}

#[tokio::test]
async fn a_change_is_one_line_with_its_author_and_the_request_id() {
    let site = Site::from_nothing();
    let standalone = site.start("standalone").await;
    let tenants = json!([{"id": "acme", "endpoints": [{"id": "crm", "url": "http://127.0.0.1:9/"}]}, {"id": "other"}]);
    let apply = standalone.api().request(Method::POST, "/v1/apply").header("content-type", "application/json");
    let answer = apply.body(json!({"tenants": tenants}).to_string()).send().await.expect("it answers");
    assert_eq!(answer.status().as_u16(), 200);
    let changed = standalone.logged("config.changed").await;
    assert_eq!(
        [&changed["author"], &changed["client"], &changed["items"], &changed["count"], &changed["tenant"]],
        [
            &json!("operator"),
            &json!("127.0.0.1"),
            &json!("create tenant/acme,create endpoint/crm,create tenant/other"),
            &json!(3),
            &Value::Null
        ]
    );
    let id = answer.headers()["x-request-id"].to_str().expect("text");
    assert_eq!((&changed["span"]["request_id"], id.len()), (&json!(id), 32));
    let nothing = standalone.api().ask(KEY, Method::PUT, "/v1/tenants/other", Some(json!({}))).await;
    assert_eq!(nothing.0, 200);
    let ended = standalone.logged("process.ended");
    standalone.terminate().await;
    ended.await;
    assert_eq!(lines_with(&[&standalone], "config.changed").len(), 1, "a write that changes nothing is not logged");
}

#[tokio::test]
async fn a_broker_that_stays_away_is_logged_once_for_each_host_however_often_it_is_tried() {
    let site = Site::on("amqp://guest:guest@127.0.0.1:9,127.0.0.1:10", "tenants: []")
        .set("telemetry.level", "info,broker=debug");
    let producer = site.start("producer").await;
    eventually("it was tried five times", || async {
        (lines_with(&[&producer], "broker.not_reached").len() >= 5).then_some(())
    })
    .await;
    assert_eq!(lines_with(&[&producer], "\"broker.away\"").len(), 2);
    assert_eq!(lines_with(&[&producer], "broker.lost").len(), 0);
}
