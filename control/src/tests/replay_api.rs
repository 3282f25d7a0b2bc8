//! The answers of the replay calls.

use broker::{Lane, Queue};
use serde_json::{Value, json};

use super::fixture::{DeadDelivery, Fixture, OPERATOR, append};

const REPLAYS: &str = "/v1/tenants/acme/replays";
const ALL: &str = r#"{"filter":{}}"#;

fn code_of((status, body): &(u16, Value)) -> (u16, String) {
    (*status, body["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_dry_run_counts_the_tenants_own_and_replays_nothing() {
    let fixture = Fixture::new();
    fixture.append(2).await;
    append(&fixture.broker, &DeadDelivery::default().to("zeta", "crm")).await;
    let answer = fixture.ask("POST", REPLAYS, r#"{"filter":{"reason":"exhausted"},"dry_run":true}"#).await;
    assert_eq!(answer, (200, json!({"matched": 2, "at_least": false})));
    assert_eq!(fixture.broker.depth(Queue::Lane(Lane::Slow)), 0);
}

#[tokio::test]
async fn a_replay_answers_with_itself() {
    let fixture = Fixture::new();
    fixture.append(2).await;
    let filter = json!({"ids": ["0", "1", "7"], "endpoint_id": "crm"});
    let (status, started) = fixture.ask("POST", REPLAYS, &json!({"filter": filter}).to_string()).await;
    assert_eq!((status, &started["matched"], &started["filter"]), (202, &json!(2), &filter));
    let keys: Vec<_> = started.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "id",
            "tenant",
            "state",
            "matched",
            "at_least",
            "replayed",
            "skipped",
            "started_at",
            "ended_at",
            "from",
            "filter",
            "to_endpoint_id"
        ]
    );
    assert_eq!(started["id"].as_str().unwrap().as_bytes()[14], b'7', "a UUIDv7");
}

#[tokio::test]
async fn a_caller_without_permission_gets_the_code_that_says_so() {
    let fixture = Fixture::new();
    let path = format!("{REPLAYS}/x");
    for (key, method, path, expected) in [
        (None, "POST", REPLAYS, (401, "unauthorized")),
        (Some("wrong"), "POST", REPLAYS, (401, "unauthorized")),
        (Some("reader's"), "POST", REPLAYS, (403, "forbidden")),
        (Some("publisher's"), "GET", &path, (403, "forbidden")),
        (Some("reader's"), "DELETE", &path, (403, "forbidden")),
        (Some("zeta's"), "POST", REPLAYS, (404, "not_found")),
        (Some("reader's"), "GET", &path, (404, "not_found")),
        (Some(OPERATOR), "GET", &path, (404, "not_found")),
        (Some(OPERATOR), "POST", "/v1/tenants/nobody/replays", (404, "not_found")),
    ] {
        let answer = code_of(&fixture.ask_as(key, method, path, ALL).await);
        assert_eq!(answer, (expected.0, expected.1.to_owned()), "{key:?} {method} {path}");
    }
    let (status, _) = fixture.ask_as(Some(OPERATOR), "POST", REPLAYS, ALL).await;
    assert_eq!(status, 202);
}

#[tokio::test]
async fn another_tenants_replay_is_not_there() {
    let fixture = Fixture::new();
    let id = fixture.replay(ALL).await["id"].as_str().unwrap().to_owned();
    let answer = fixture.ask_as(Some(OPERATOR), "GET", &format!("/v1/tenants/zeta/replays/{id}"), "").await;
    assert_eq!(code_of(&answer), (404, "not_found".into()));
}

#[tokio::test]
async fn bodies_that_are_wrong_start_nothing() {
    let fixture = Fixture::new();
    fixture.append(1).await;
    let wrong = r#"{"filter":{},"dry-run":true}"#;
    for (body, code) in
        [("{", "malformed_json"), ("[]", "invalid_body"), ("{}", "invalid_body"), (wrong, "invalid_body")]
    {
        assert_eq!(code_of(&fixture.ask("POST", REPLAYS, body).await), (422, code.into()), "{body}");
    }
    let (_, problem) = fixture.ask("POST", REPLAYS, r#"{"filter":{"until":"2026-01-01"}}"#).await;
    assert_eq!(problem["errors"][0]["pointer"], "/filter/until");
    assert_eq!(fixture.broker.depth(Queue::Lane(Lane::Slow)), 0);
}

#[tokio::test]
async fn replays_are_listed_newest_first_to_their_tenant_and_all_to_the_operator() {
    let fixture = Fixture::new();
    fixture.append(2).await;
    append(&fixture.broker, &DeadDelivery::default().to("zeta", "crm")).await;
    let first = fixture.replay(r#"{"filter":{"ids":["0"]}}"#).await;
    fixture.now.fetch_add(1_000, std::sync::atomic::Ordering::Relaxed);
    let second = fixture.replay(ALL).await;
    let (status, _) = fixture.ask_as(Some("zeta's"), "POST", "/v1/tenants/zeta/replays", ALL).await;
    assert_eq!(status, 202);
    assert_eq!(fixture.ask("GET", REPLAYS, "").await, (200, json!({"items": [second, first], "next": null})));
    assert_eq!((&first["ended_at"], &first["state"]), (&json!("2026-01-01T00:00:00.000Z"), &json!("done")));
    let (_, page) = fixture.ask("GET", &format!("{REPLAYS}?limit=1"), "").await;
    assert_eq!(page["items"], json!([second]));
    let next = format!("{REPLAYS}?limit=1&cursor={}", page["next"].as_str().unwrap());
    assert_eq!(fixture.ask("GET", &next, "").await.1, json!({"items": [first], "next": null}));
    let (_, all) = fixture.ask_as(Some(OPERATOR), "GET", "/v1/replays", "").await;
    let tenants: Vec<_> = all["items"].as_array().unwrap().iter().map(|replay| &replay["tenant"]).collect();
    assert_eq!(tenants.len(), 3, "{tenants:?}");
    assert_eq!(fixture.ask("GET", "/v1/replays", "").await.0, 403);
}

#[tokio::test(start_paused = true)]
async fn only_so_many_replays_run_at_once() {
    let fixture = Fixture::new();
    fixture.append(1).await;
    fixture.broker.block("alarm");
    for expected in [202, 202, 429] {
        assert_eq!(fixture.ask("POST", REPLAYS, ALL).await.0, expected);
    }
}
