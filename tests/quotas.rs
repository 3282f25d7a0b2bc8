//! Quotas of events and of dead letters.

use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{KEY, Process, Receiver, Site, acme, eventually, ids};

/// Waits until a site has so many dead letters.
pub(crate) async fn dead_letters(site: &Site, count: usize) -> Vec<Value> {
    eventually("they are in the log", || async {
        let output = site.run(&["dead-letters", "list", "--output", "json"]).await;
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
    let replay = ["dead-letters", "replay", id, "--url", &standalone.api().url(), "--key", KEY];
    let refused = site.run(&replay).await;
    let said = String::from_utf8(refused.stderr).expect("text");
    assert!(!refused.status.success() && said.contains("endpoints that are disabled or do not exist"), "{said}");
    let kept = dead_letters(&site, letters.load(Ordering::Relaxed)).await;
    assert!(kept.iter().any(|letter| letter["id"] == id), "a refused replay ends no dead letter");

    standalone.terminate().await;
    assert_eq!(standalone.ended().await, Some(0));
    site.configure(&conf);
    standalone.restart().await;
    let output = site.run(&["dead-letters", "replay", id, "--url", &standalone.api().url(), "--key", KEY]).await;
    let said = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("1 cannot be: their bodies were not kept"), "{said}");
}
