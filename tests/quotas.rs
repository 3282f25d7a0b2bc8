//! Quotas of events and of dead letters.

use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Api, KEY, Process, Receiver, Site, acme, eventually, ids};

/// Waits until a site has so many dead letters.
pub(crate) async fn dead_letters(site: &Site, count: usize) -> Vec<Value> {
    eventually("they are in the log", || async {
        let output =
            site.look(&["dead-letters", "list", "--order", "oldest", "--limit", "1000", "--output", "json"]).await;
        let text = String::from_utf8(output.stdout).expect("text");
        let letters: Vec<_> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        (letters.len() == count).then_some(letters)
    })
    .await
}

/// Publishes one event of a type. Returns the answer's status.
pub(crate) async fn publish(standalone: &Process, event_type: &str) -> StatusCode {
    let request = standalone.api().request(Method::POST, "/v1/tenants/acme/events");
    let body = json!({"type": event_type}).to_string();
    request.header("content-type", "application/json").body(body).send().await.expect("an answer").status()
}

#[tokio::test]
async fn an_exceeded_quota_of_events_is_answered_429_and_published_as_an_event() {
    let receiver = Receiver::accepting().await;
    let conf = format!(
        "tenants:
  - id: acme
    quota: {{events_per_second: 0.5}}
    endpoints:
      - {{id: ops, url: \"{}\"}}
    subscriptions:
      - {{id: ops, endpoint_id: ops, event_types: [quota.reached]}}
",
        receiver.url("/ops")
    );
    let site = Site::embedded(&conf);
    let standalone = site.start("standalone").await;
    assert_eq!(publish(&standalone, "ticket.created").await, StatusCode::ACCEPTED);
    assert_eq!(publish(&standalone, "ticket.created").await, StatusCode::TOO_MANY_REQUESTS);
    receiver.until("the event arrives", |recorder| recorder.delivered("/ops") == 1).await;
    let event: Value =
        receiver.look(|recorder| serde_json::from_slice(&recorder.requests("/ops")[0].body).expect("JSON"));
    assert_eq!((&event["type"], &event["source"]["platform"]), (&"quota.reached".into(), &"carteiro".into()));
    assert_eq!(event["quota"], json!({"name": "events_per_second", "limit": 0.5}));
}

#[tokio::test]
async fn dead_letters_beyond_their_quota_are_kept_without_their_bodies() {
    let receiver = Receiver::accepting().await;
    let conf = acme(&receiver.url("/crm")).replace("- id: acme", "- id: acme\n    quota: {dead_letters: 2}");
    // Not quota.reached, which carteiro itself publishes.
    let conf = conf.replace("[\"*\"]", "[ticket.created]");
    let site = Site::embedded(&conf.replace("{id: crm,", "{id: crm, state: disabled,"));
    let mut standalone = site.start("standalone").await;
    standalone.api().publish("acme", ids("first", 2)).await;
    dead_letters(&site, 2).await;
    // Dead letters are counted at the start, and then every ten seconds.
    standalone.terminate().await;
    assert_eq!(standalone.ended().await, Some(0));
    standalone.restart().await;
    let letters = AtomicUsize::new(2);
    let bare = eventually("one is kept without", || async {
        let letters = letters.fetch_add(1, Ordering::Relaxed) + 1;
        standalone.api().publish("acme", ids(&format!("later-{letters}"), 1)).await;
        dead_letters(&site, letters).await.into_iter().find(|letter| letter["body_withheld"] == true)
    });
    let bare = bare.await;
    assert!(bare["body"].is_null(), "{bare}");
    let id = bare["id"].as_str().expect("an id");
    let replay = ["dead-letters", "replay", id, "--server", &standalone.api().url(), "--key", KEY];
    let refused = site.run(&replay).await;
    let said = String::from_utf8(refused.stderr).expect("text");
    assert!(!refused.status.success() && said.contains("endpoints that are disabled or do not exist"), "{said}");
    let kept = dead_letters(&site, letters.load(Ordering::Relaxed)).await;
    assert!(kept.iter().any(|letter| letter["id"] == id), "a refused replay ends no dead letter");

    standalone.terminate().await;
    assert_eq!(standalone.ended().await, Some(0));
    site.configure(&conf);
    standalone.restart().await;
    let output = site.run(&["dead-letters", "replay", id, "--server", &standalone.api().url(), "--key", KEY]).await;
    let said = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("1 cannot be: their bodies were not kept"), "{said}");
}

/// Reads what a tenant uses.
async fn used(api: &Api, tenant: &str) -> Value {
    api.done(KEY, Method::GET, &format!("/v1/tenants/{tenant}"), None).await["used"].clone()
}

/// Lists a tenant's dead letters, up to a thousand.
async fn listed(api: &Api, tenant: &str) -> Vec<Value> {
    let path = format!("/v1/tenants/{tenant}/dead-letters?limit=1000");
    let page = api.done(KEY, Method::GET, &path, None).await;
    page["items"].as_array().expect("items").clone()
}

/// Lets one tenant's large dead letters flood a small log in which another has a single one.
async fn a_flood_leaves_the_letters_of_others(site: impl AsyncFnOnce(&str) -> Site) {
    let receiver = Receiver::accepting().await;
    let conf = format!(
        "tenants:
  - id: acme
    endpoints:
      - {{id: crm, url: \"http://127.0.0.1:9/\", state: disabled}}
      - {{id: ops, url: \"{}\"}}
    subscriptions:
      - {{id: crm, endpoint_id: crm, event_types: [ticket.created]}}
      - {{id: ops, endpoint_id: ops, event_types: [quota.reached]}}
  - id: zeta
    endpoints:
      - {{id: crm, url: \"http://127.0.0.1:9/\", state: disabled}}
    subscriptions:
      - {{id: crm, endpoint_id: crm, event_types: [\"*\"]}}
",
        receiver.url("/ops")
    );
    let site = site(&conf).await.set("broker.dead_letters_bytes", "100000000");
    let standalone = site.start("standalone").await;
    let api = standalone.api();
    api.publish("zeta", ids("quiet", 1)).await;
    eventually("it is dead", || async { (listed(&api, "zeta").await.len() == 1).then_some(()) }).await;

    let mut published: u64 = 0;
    while receiver.look(|recorder| recorder.delivered("/ops")) == 0 {
        assert!(published < 400, "acme is told: {}", used(&api, "acme").await);
        let events: Vec<_> = (0..4).map(|_| json!({"type": "ticket.created", "text": "x".repeat(1_000_000)})).collect();
        api.done(KEY, Method::POST, "/v1/tenants/acme/events", Some(json!({"events": events}))).await;
        published += 4;
        let is_dead = || async { (listed(&api, "acme").await.len() as u64 == published).then_some(()) };
        eventually("they are dead", is_dead).await;
    }
    let event: Value =
        receiver.look(|recorder| serde_json::from_slice(&recorder.requests("/ops")[0].body).expect("JSON"));
    assert_eq!(event["quota"], json!({"name": "dead_letter_bytes", "limit": 33_333_333}));
    // Now it is in force: what came before may be of the second before it was.
    api.publish("acme", ids("later", 1)).await;
    let letters = eventually("it is dead", || async {
        Some(listed(&api, "acme").await).filter(|letters| letters.len() as u64 > published)
    })
    .await;
    assert_eq!(letters.first().expect("many")["body_withheld"], true);
    let quiet = listed(&api, "zeta").await.remove(0);
    let path = format!("/v1/tenants/zeta/dead-letters/{}", quiet["id"].as_str().expect("an id"));
    assert_eq!(api.done(KEY, Method::GET, &path, None).await["body"]["type"], "ticket.created");
    let [of_acme, of_zeta] = [used(&api, "acme").await, used(&api, "zeta").await];
    assert!((25_000_000..50_000_000).contains(&of_acme["dead_letter_bytes"].as_u64().expect("bytes")), "{of_acme}");
    assert_eq!((&of_zeta["dead_letters"], &of_zeta["endpoints"]), (&json!(1), &json!(1)), "{of_zeta}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_dead_letters_leaves_those_of_others_in_place_on_the_embedded_broker() {
    a_flood_leaves_the_letters_of_others(async |conf| Site::embedded(conf)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_dead_letters_leaves_those_of_others_in_place_on_rabbitmq() {
    a_flood_leaves_the_letters_of_others(async |conf| Site::on_rabbitmq(conf).await).await;
}
