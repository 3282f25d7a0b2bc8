//! Limits of the API's requests: by tenant, and by address for requests without a known key.

use std::time::Instant;

use reqwest::Method;
use serde_json::Value;

use crate::harness::{Site, ids};

const SOURCE_TOKEN: &str = "token-of-the-source-0123456789abcdef";
const TENANT_KEY: &str = "key-of-the-tenant-0123456789abcdef";
const GUESSED_TOKEN: &str = "token-that-was-guessed";

#[tokio::test]
async fn a_key_that_asks_too_often_is_refused_with_a_retry_after_and_the_intake_is_not_limited() {
    let hash = serde_json::to_value(schemas::KeyHash::of(TENANT_KEY)).expect("a hash");
    let site =
        Site::embedded(&format!("tenants: [{{id: acme, keys: [{{id: backend, scopes: [read], hash: {hash}}}]}}]"));
    let site = site.set("http.requests_per_second", "1").set("http.requests_burst", "2");
    let standalone = site.start("standalone").await;
    let api = standalone.api();
    let ask = || api.anonymous(Method::GET, "/v1/tenants/acme").bearer_auth(TENANT_KEY).send();
    let mut answers = Vec::new();
    for _ in 0..50 {
        answers.push(ask().await.expect("an answer"));
    }
    assert_eq!((answers[0].status().as_u16(), answers[1].status().as_u16()), (200, 200), "the burst");
    let refused = answers.into_iter().find(|answer| answer.status() == 429).expect("more than a second's worth");
    assert_eq!(refused.headers()["retry-after"], "1");
    let problem: Value = serde_json::from_str(&refused.text().await.expect("a body")).expect("JSON");
    assert_eq!(problem["code"], "too_many_requests");
    let wrong = || api.anonymous(Method::GET, "/v1/tenants/acme").bearer_auth("guessed");
    let mut statuses = Vec::new();
    for _ in 0..50 {
        statuses.push(wrong().send().await.expect("an answer").status().as_u16());
    }
    assert_eq!(statuses[..2], [401, 401], "an address without a valid key has an allowance of its own");
    assert!(statuses.contains(&429), "that limit is reached, too: {statuses:?}");
    assert_eq!(api.publish("acme", ids("free", 500)).await.len(), 500);
}

#[tokio::test]
async fn the_keys_of_a_tenant_share_its_allowance() {
    let keys: Vec<_> = (0..10).map(|number| format!("key-{number}-of-the-tenant-0123456789abcdef")).collect();
    let listed = keys.iter().enumerate().map(|(number, key)| {
        let hash = serde_json::to_value(schemas::KeyHash::of(key)).expect("a hash");
        format!("{{id: \"{number}\", scopes: [read], hash: {hash}}}")
    });
    let listed = listed.collect::<Vec<_>>().join(", ");
    let site = Site::embedded(&format!("tenants: [{{id: acme, keys: [{listed}]}}]"));
    let site = site.set("http.requests_per_second", "1").set("http.requests_burst", "2");
    let standalone = site.start("standalone").await;
    let (begun, mut answered) = (Instant::now(), 0);
    for key in &keys {
        let request = standalone.api().anonymous(Method::GET, "/v1/tenants/acme").bearer_auth(key);
        answered += u64::from(request.send().await.expect("an answer").status() == 200);
    }
    let most = 3 + begun.elapsed().as_secs();
    assert!((2..=most).contains(&answered), "{answered} of at most {most}");
}

#[tokio::test]
async fn guesses_of_tokens_and_keys_at_the_intake_are_limited_and_known_tokens_are_not() {
    let source = format!("{{id: main, dialect: whazing, token: {SOURCE_TOKEN}}}");
    let site = Site::embedded(&format!("tenants: [{{id: acme, sources: [{source}]}}]"));
    let site = site.set("http.requests_per_second", "1").set("http.requests_burst", "2");
    let standalone = site.start("standalone").await;
    let api = standalone.api();
    let post = async |path: &str| {
        let request =
            api.anonymous(Method::POST, path).bearer_auth("guessed").header("content-type", "application/json");
        request.body(r#"{"event":"test"}"#).send().await.expect("an answer").status().as_u16()
    };
    let mut guesses = Vec::new();
    for guess in 0..25 {
        guesses.push(post(&format!("/v1/in/{GUESSED_TOKEN}-{guess}")).await);
        guesses.push(post("/v1/tenants/acme/events").await);
    }
    assert_eq!(guesses[..2], [404, 401]);
    assert!(guesses.contains(&429), "{guesses:?}");
    for _ in 0..10 {
        assert_eq!(post(&format!("/v1/in/{SOURCE_TOKEN}")).await, 202, "a vendor behind the same address");
    }
}
