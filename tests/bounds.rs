//! What a tenant may use, and what is ended before its time.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
};

use carteiro::receiver::Answer;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::harness::{Process, Receiver, Site, acme, eventually, ids};

/// The dead letters of a site, once there are so many.
async fn dead_letters(site: &Site, count: usize) -> Vec<Value> {
    eventually("they are in the log", || async {
        let output = site.run(&["dead-letters", "list", "--output", "json"]).await;
        let text = String::from_utf8(output.stdout).expect("text");
        let letters: Vec<_> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        (letters.len() == count).then_some(letters)
    })
    .await
}

/// Publishes one event of a type; what was answered.
async fn publish(standalone: &Process, event_type: &str) -> StatusCode {
    let request = standalone.api().request(Method::POST, "/v1/tenants/acme/events");
    let body = serde_json::json!({"type": event_type}).to_string();
    request.header("content-type", "application/json").body(body).send().await.expect("an answer").status()
}

#[tokio::test]
async fn what_is_cancelled_while_it_waits_for_a_retry_ends_as_it_wakes_and_what_comes_later_is_delivered() {
    let receiver = Receiver::start(|received| Answer::status(if received.path == "/up" { 200 } else { 503 })).await;
    let site = Site::embedded(&acme(&receiver.url("/down")));
    let standalone = site.start("standalone").await;
    let cancelled = standalone.api().publish("acme", ids("early", 20)).await;
    receiver.until("all have failed", |ledger| ledger.requests("/down").len() >= cancelled.len()).await;

    // Until the last of them was accepted, by the clock of this machine.
    let last = receiver.look(|ledger| {
        let times = ledger.requests("/down").into_iter().map(|request| request.header("webhook-timestamp").to_owned());
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
    eventually("it obeys", || async {
        let later = standalone.api().publish("acme", ids("later", 1)).await;
        receiver.look(|ledger| ledger.has_all("/up", &later)).then_some(())
    })
    .await;
    let replay = ["dead-letters", "replay", "--all", "--url", &standalone.api().url(), "--key", crate::harness::KEY];
    assert!(site.run(&replay).await.status.success());
    receiver.until("a replay counts as accepted anew", |ledger| ledger.has_all("/up", &cancelled)).await;
}

#[tokio::test]
async fn a_quota_of_events_that_bites_is_answered_429_and_told_to_whoever_subscribed() {
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
    receiver.until("it is told", |ledger| ledger.delivered("/ops") == 1).await;
    let told: Value = receiver.look(|ledger| serde_json::from_slice(&ledger.requests("/ops")[0].body).expect("JSON"));
    assert_eq!((&told["type"], &told["source"]["platform"]), (&"quota.reached".into(), &"carteiro".into()));
    assert_eq!(told["quota"], serde_json::json!({"name": "events_per_second", "limit": 0.5}));
}

#[tokio::test]
async fn beyond_a_quota_of_dead_letters_records_are_kept_without_their_bodies() {
    let receiver = Receiver::accepting().await;
    let conf = acme(&receiver.url("/crm")).replace("- id: acme", "- id: acme\n    quota: {dead_letters: 2}");
    // Not the event that tells of the quota itself.
    let conf = conf.replace("[\"*\"]", "[ticket.created]");
    let site = Site::embedded(&conf.replace("{id: crm,", "{id: crm, state: disabled,"));
    let mut standalone = site.start("standalone").await;
    standalone.api().publish("acme", ids("first", 2)).await;
    dead_letters(&site, 2).await;
    // They are counted at its start, and then every ten seconds.
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
    let replay = ["dead-letters", "replay", id, "--url", &standalone.api().url(), "--key", crate::harness::KEY];
    let output = site.run(&replay).await;
    let said = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("1 cannot be: their bodies were not kept"), "{said}");
}
