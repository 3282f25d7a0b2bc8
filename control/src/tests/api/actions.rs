//! Switching endpoints on and off, cancelling, rotating.

use broker::{Log, Queue};
use schemas::{DeadReason, wire};
use serde_json::{Value, json};

use super::{Api, NOW};
use crate::tests::fixture::{DeadDelivery, append};

const CRM: &str = "/v1/tenants/acme/endpoints/crm";

async fn with_crm() -> Api {
    let api = Api::new();
    api.put(CRM, json!({"url": "https://a.example/"})).await.expect(201);
    api
}

#[tokio::test]
async fn an_endpoint_is_disabled_with_an_event_and_enabled_again() {
    let api = with_crm().await;
    let off = api.post(&format!("{CRM}/disable"), json!({"reason": "moving"})).await.expect(200);
    assert_eq!((&off.body["state"], &off.body["disabled_reason"]), (&json!("disabled"), &json!("moving")));
    api.await_event("endpoint.disabled").await;
    let again = api.post(&format!("{CRM}/disable"), json!({"reason": "moving"})).await.expect(200);
    assert_eq!(again.etag(), off.etag());
    let on = api.call("POST", format!("{CRM}/enable")).send().await.expect(200);
    assert_eq!((&on.body["state"], &on.body["disabled_reason"]), (&json!("active"), &Value::Null));
    let silent = api.call("POST", format!("{CRM}/disable")).send().await.expect(200);
    assert_eq!(silent.body["state"], "disabled", "a reason may be left out");
}

#[tokio::test]
async fn a_disabled_endpoint_makes_an_event_whichever_call_disabled_it() {
    let api = with_crm().await;
    let crm = json!({"id": "crm", "url": "https://a.example/", "state": "disabled"});
    let apply = json!({"tenants": [{"id": "acme", "endpoints": [&crm]}]});
    for (method, path, body) in
        [("PATCH", CRM, json!({"state": "disabled"})), ("PUT", CRM, crm), ("POST", "/v1/apply", apply)]
    {
        api.patch(CRM, json!({"state": "active"})).await.expect(200);
        api.call(method, path).operator().json(body).send().await.expect(200);
        api.await_event("endpoint.disabled").await;
    }
}

#[tokio::test]
async fn an_endpoint_is_paused_and_enabled_and_disabled_from_there() {
    let api = with_crm().await;
    api.post(&format!("{CRM}/disable"), json!({"reason": "moving"})).await.expect(200);
    api.await_event("endpoint.disabled").await;
    let paused = api.call("POST", format!("{CRM}/pause")).send().await.expect(200);
    assert_eq!((&paused.body["state"], &paused.body["disabled_reason"]), (&json!("paused"), &Value::Null));
    let again = api.call("POST", format!("{CRM}/pause")).send().await.expect(200);
    assert_eq!(again.etag(), paused.etag());
    let entry = &api.get("/v1/tenants/acme/audit?limit=1").await.expect(200).body["items"][0];
    assert_eq!((&entry["item"], &entry["after"]["state"]), (&json!("crm"), &json!("paused")), "{entry}");
    let off = api.post(&format!("{CRM}/disable"), json!({"reason": "for good"})).await.expect(200);
    assert_eq!(off.body["state"], "disabled");
    api.await_event("endpoint.disabled").await;
    api.call("POST", format!("{CRM}/pause")).send().await.expect(200);
    let on = api.call("POST", format!("{CRM}/enable")).send().await.expect(200);
    assert_eq!(on.body["state"], "active");
}

#[tokio::test]
async fn a_state_that_is_written_as_paused_has_no_reason() {
    let api = with_crm().await;
    let crm = json!({"id": "crm", "url": "https://a.example/", "state": "paused", "disabled_reason": "moving"});
    let apply = json!({"tenants": [{"id": "acme", "endpoints": [&crm]}]});
    for (method, path, body) in [
        ("PATCH", CRM, json!({"state": "paused", "disabled_reason": "moving"})),
        ("PUT", CRM, crm.clone()),
        ("POST", "/v1/apply", apply),
    ] {
        api.patch(CRM, json!({"state": "active"})).await.expect(200);
        api.call(method, path).operator().json(body).send().await.expect(200);
        let shown = api.get(CRM).await.expect(200).body;
        assert_eq!((&shown["state"], &shown["disabled_reason"]), (&json!("paused"), &Value::Null), "{method}");
    }
    let kept = api.put(CRM, json!({"url": "https://b.example/"})).await.expect(200);
    assert_eq!(kept.body["state"], "paused", "a PUT that says nothing of it keeps it");
}

#[tokio::test]
async fn enabling_an_endpoint_offers_a_replay_of_what_ended_meanwhile() {
    let api = with_crm().await;
    let enabled =
        async || api.call("POST", format!("{CRM}/enable")).send().await.expect(200).body["replayable"].clone();
    let filter = json!({"endpoint_id": "crm", "reason": "endpoint_disabled"});
    assert_eq!(enabled().await, json!({"dead_letters": 0, "filter": filter}));
    for nth in 0..3 {
        let disabled =
            DeadDelivery { reason: DeadReason::EndpointDisabled, ..DeadDelivery::default().event(&format!("e{nth}")) };
        append(&api.broker, &disabled).await;
        append(&api.broker, &disabled.clone().to("acme", "bi")).await;
    }
    append(&api.broker, &DeadDelivery::default().event("e9")).await;
    let offer = enabled().await;
    assert_eq!((&offer["dead_letters"], &offer["filter"]), (&json!(3), &filter));
    let command = "carteiro dead-letters replay --tenant acme --endpoint-id crm --reason endpoint_disabled";
    assert!(offer["detail"].as_str().unwrap().ends_with(command), "{offer}");
    let matched = api.post("/v1/tenants/acme/replays", json!({"filter": filter, "dry_run": true})).await.expect(200);
    assert_eq!(matched.body["matched"], 3, "the filter is what a replay takes");
}

#[tokio::test]
async fn cancelling_marks_the_time_and_says_how_many_wait() {
    let api = with_crm().await;
    let cancelled = api.call("POST", format!("{CRM}/cancel")).send().await.expect(200);
    let at = schemas::time::rfc3339(NOW);
    assert_eq!(cancelled.body["cancelled_before"], json!(at));
    assert!(cancelled.body.get("waiting").is_some() && cancelled.body.get("counted").is_some());
    let shown = api.get(CRM).await;
    assert_eq!((&shown.body["cancelled_before"], shown.etag()), (&json!(at), cancelled.etag()));
    assert!(api.tenant("acme").endpoints["crm"].has_cancelled(NOW));
    api.put(CRM, json!({"url": "https://b.example/"})).await.expect(200);
    assert!(api.tenant("acme").endpoints["crm"].has_cancelled(NOW), "a new url does not bring them back");
}

#[tokio::test]
async fn how_much_waits_can_be_asked_for() {
    let api = with_crm().await;
    assert!(api.get(&format!("{CRM}/waiting")).await.expect(200).body.get("waiting").is_some());
    api.get("/v1/tenants/acme/endpoints/nobody/waiting").await.expect(404);
}

#[tokio::test]
async fn actions_heed_conditions_and_scopes() {
    let api = with_crm().await;
    for path in ["enable", "disable", "pause", "cancel", "secrets/rotate"] {
        let call = || api.call("POST", format!("{CRM}/{path}"));
        call().header("if-match", "\"1\"").send().await.expect(412);
        call().key("reader").send().await.expect(403);
        api.call("POST", format!("/v1/tenants/acme/endpoints/nobody/{path}")).send().await.expect(404);
    }
}

#[tokio::test]
async fn dead_letters_are_listed_by_filter_in_pages_and_shown_with_their_bodies() {
    let api = Api::new();
    for nth in 0..5 {
        append(&api.broker, &DeadDelivery::default().event(&format!("e{nth}"))).await;
    }
    append(&api.broker, &DeadDelivery::default().to("zeta", "crm")).await;
    append(&api.broker, &DeadDelivery::default().event("e9").to("acme", "bi")).await;
    let list = "/v1/tenants/acme/dead-letters";
    let (mut seen, mut path) = (Vec::new(), format!("{list}?endpoint_id=crm&limit=2"));
    loop {
        let page = api.get(&path).await.expect(200).body;
        let items = page["items"].as_array().unwrap().clone();
        assert!(items.iter().all(|letter| letter.get("body").is_none() && letter["tenant"] == "acme"));
        seen.extend(items.iter().map(|letter| letter["event_id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("{list}?endpoint_id=crm&limit=2&cursor={next}");
    }
    assert_eq!(seen, ["e4", "e3", "e2", "e1", "e0"]);
    for (order, first) in [("newest", "e4"), ("oldest", "e0")] {
        let query = format!("endpoint_id=crm&bodies=true&order={order}");
        let page = api.get(&format!("{list}?{query}")).await.expect(200).body;
        let items = page["items"].as_array().unwrap();
        assert_eq!((items.len(), &items[0]["body"]), (5, &json!({"of": first})), "{order}");
    }
    assert_eq!(api.get(&format!("{list}/2")).await.expect(200).body["body"], json!({"of": "e2"}));
    api.get(&format!("{list}/5")).await.expect(404);
    api.get(&format!("{list}/none")).await.expect(404);
    for query in ["reason=bored", "sinse=2026", "since=yesterday", "bodies=yes", "order=up"] {
        assert_eq!(api.get(&format!("{list}?{query}")).await.code(), (400, "invalid_parameter"));
    }
}

#[tokio::test]
async fn what_is_parked_is_looked_at_and_published_again_as_it_was() {
    let api = Api::new();
    let mut headers = schemas::Headers::default();
    let record = json!({"reason": "fanout_limit", "tenant": "acme", "event_id": "e1", "parked_at": null,
        "routing_key": "acme.7.-.ticket.created"});
    headers.set(wire::TENANT, schemas::HeaderValue::Text("acme".into()));
    headers.set(wire::RECORD, schemas::HeaderValue::Text(record.to_string().into()));
    let body = bytes::Bytes::from_static(b"{\"type\":\"ticket.created\"}");
    let parked = schemas::Message { id: "e1".into(), kind: "ticket.created".into(), headers, body: body.clone() };
    broker::Broker::publish(&api.broker, &broker::Target::Log(Log::Parked, "fanout_limit.acme".into()), &parked)
        .await
        .unwrap();
    let listed = api.call("GET", "/v1/parked").operator().send().await.expect(200).body;
    let id = listed["items"][0]["id"].as_str().unwrap().to_owned();
    assert!(listed["items"][0].get("body").is_none() && listed["next"].is_null());
    let shown = api.call("GET", format!("/v1/parked/{id}")).operator().send().await.expect(200).body;
    assert_eq!(shown["body"], json!({"type": "ticket.created"}));
    let again = api.call("POST", format!("/v1/parked/{id}/requeue")).operator().send().await.expect(202).body;
    assert_eq!(again, json!({"id": id, "event_id": "e1"}));
    assert_eq!(api.broker.depth(Queue::Ingest), 1);
    for (method, path) in [("GET", "/v1/parked"), ("POST", "/v1/parked/0/requeue")] {
        api.call(method, path).send().await.expect(403);
    }
    api.call("POST", "/v1/parked/77/requeue").operator().send().await.expect(404);
}
