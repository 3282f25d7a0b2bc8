//! What an event would do.

use serde_json::{Value, json};

use super::Api;

#[tokio::test]
async fn every_subscription_says_whether_it_matches_and_why_not() {
    let api = Api::with(json!([{"id": "acme", "keys": [super::key("manager", &["read"])],
    "endpoints": [
        {"id": "any", "url": "https://a.example/", "format": "canonical"},
        {"id": "boticario", "url": "https://a.example/", "format": "boticario"},
    ],
    "subscriptions": [
        {"id": "a", "endpoint_id": "any", "event_types": ["message.*"]},
        {"id": "b", "endpoint_id": "any", "event_types": ["ticket.closed"]},
        {"id": "c", "endpoint_id": "any", "event_types": ["*"], "channel_ids": [8]},
        {"id": "d", "endpoint_id": "any", "event_types": ["*"], "queue_ids": ["-"]},
        {"id": "e", "endpoint_id": "any", "event_types": ["*"], "directions": ["sent"]},
        {"id": "f", "endpoint_id": "any", "event_types": ["*"], "ticket_statuses": ["closed"]},
        {"id": "g", "endpoint_id": "any", "event_types": ["*"], "groups": false},
        {"id": "h", "endpoint_id": "any", "event_types": ["*"], "enabled": false},
    ]}]));
    let event = json!({"type": "message.received", "channel": {"id": 7}, "contact": {"is_group": true},
        "ticket": {"id": 1, "status": "open", "queue": {"id": 12}}});
    let results = api.post("/v1/tenants/acme/explain", event).await.expect(200).body["results"].clone();
    let reasons: Vec<_> = results.as_array().unwrap().iter().map(|result| result["reason"].clone()).collect();
    let expected = [
        Value::Null,
        json!("event_types"),
        json!("channel_ids"),
        json!("queue_ids"),
        json!("directions"),
        json!("ticket_statuses"),
        json!("groups"),
        json!("disabled"),
    ];
    assert_eq!(reasons, expected);
    let matched = json!({"subscription_id": "a", "endpoint_id": "any", "matched": true, "reason": null, "expected": null,
        "actual": null, "endpoint_state": "active", "disabled_reason": null, "would_deliver": true});
    assert_eq!(results[0], matched);
    let differences: Vec<_> = results.as_array().unwrap()[1..7]
        .iter()
        .map(|result| (result["expected"].clone(), result["actual"].clone()))
        .collect();
    let expected = [
        (json!(["ticket.closed"]), json!("message.received")),
        (json!(["8"]), json!("7")),
        (json!(["-"]), json!("12")),
        (json!(["sent"]), json!("received")),
        (json!(["closed"]), json!("open")),
        (json!(false), json!(true)),
    ];
    assert_eq!(differences, expected);
}

#[tokio::test]
async fn a_disabled_endpoint_matches_and_gets_nothing() {
    let api = Api::with(json!([{"id": "acme", "keys": [super::key("manager", &["read"])],
    "endpoints": [{"id": "gone", "url": "https://a.example/", "state": "disabled",
        "disabled_reason": "the receiver answered 410 Gone"}],
    "subscriptions": [{"id": "s", "endpoint_id": "gone", "event_types": ["*"]}]}]));
    let answer = api.post("/v1/tenants/acme/explain", json!({"type": "mesage.received"})).await.expect(200);
    let result = &answer.body["results"][0];
    assert_eq!((&result["matched"], &result["reason"]), (&json!(true), &Value::Null));
    assert_eq!((&result["endpoint_state"], &result["would_deliver"]), (&json!("disabled"), &json!(false)));
    assert_eq!(result["disabled_reason"], "the receiver answered 410 Gone");
    assert_eq!(answer.body["warnings"][0]["pointer"], "/type");
}

#[tokio::test]
async fn a_paused_endpoint_matches_and_what_is_for_it_waits() {
    let api = Api::with(json!([{"id": "acme", "keys": [super::key("manager", &["read"])],
    "endpoints": [{"id": "later", "url": "https://a.example/", "state": "paused"}],
    "subscriptions": [
        {"id": "a", "endpoint_id": "later", "event_types": ["*"]},
        {"id": "b", "endpoint_id": "later", "event_types": ["ticket.*"]},
    ]}]));
    let results =
        api.post("/v1/tenants/acme/explain", json!({"type": "message.received"})).await.expect(200).body["results"]
            .clone();
    assert_eq!((&results[0]["matched"], &results[0]["reason"]), (&json!(true), &json!("paused")));
    assert_eq!((&results[0]["endpoint_state"], &results[0]["would_deliver"]), (&json!("paused"), &json!(false)));
    assert_eq!((&results[1]["matched"], &results[1]["reason"]), (&json!(false), &json!("event_types")));
}

#[tokio::test]
async fn a_vendors_body_is_explained_by_its_dialect_or_its_source() {
    let api = Api::with(json!([{"id": "acme", "keys": [super::key("manager", &["read"])],
    "endpoints": [{"id": "any", "url": "https://a.example/"}],
    "subscriptions": [{"id": "s", "endpoint_id": "any", "event_types": ["message.*"], "channel_ids": [7]}],
    "sources": [{"id": "shop", "dialect": "boticario", "channel_id": 7, "token": "t"}]}]));
    let body = include_str!("../../../../tests/fixtures/vendor/boticario-response.json");
    let explained = async |query: &str| {
        let path = format!("/v1/tenants/acme/explain?{query}");
        api.call("POST", path).text(body).send().await
    };
    for (query, reason) in [
        ("dialect=boticario", json!("channel_ids")),
        ("dialect=boticario&channel_id=7", Value::Null),
        ("source_id=shop", Value::Null),
        ("source_id=shop&channel_id=8", json!("channel_ids")),
        ("dialect=whazing", json!("event_types")),
    ] {
        let answer = explained(query).await.expect(200);
        assert_eq!(answer.body["results"][0]["reason"], reason, "{query}");
        let is_warned = answer.body["warnings"][0]["code"] == "unknown_body";
        assert_eq!(is_warned, query == "dialect=whazing", "{query}: {}", answer.body);
    }
    for (query, detail) in [
        ("dialect=whazin", "dialect: unknown word, did you mean whazing?"),
        ("source_id=none", "source_id: the tenant has no such source"),
        ("source_id=shop&dialect=boticario", "give dialect or source_id, not both"),
        ("channel_id=7", "channel_id: needs a dialect or a source_id"),
    ] {
        let refused = explained(query).await;
        assert_eq!((refused.code(), &refused.body["detail"]), ((400, "invalid_parameter"), &json!(detail)));
    }
}

#[tokio::test]
async fn a_transfer_without_a_message_and_a_format_without_the_event_have_their_own_reasons() {
    let api = Api::with(json!([{"id": "acme", "keys": [super::key("manager", &["read"])],
    "endpoints": [{"id": "b", "url": "https://a.example/", "format": "boticario"}],
    "subscriptions": [
        {"id": "shot", "endpoint_id": "b", "event_types": [], "queue_ids": [12], "start_on_transfer": true},
        {"id": "tickets", "endpoint_id": "b", "event_types": ["ticket.*"]},
    ]}]));
    let event = json!({"type": "ticket.transferred", "ticket": {"id": 1, "queue": {"id": 12}},
        "change": {"kind": "queue", "from": null, "to": {"id": 12}}});
    let results = api.post("/v1/tenants/acme/explain", event).await.expect(200).body["results"].clone();
    assert_eq!(
        (&results[0]["reason"], &results[1]["reason"]),
        (&json!("no_last_message"), &json!("format_has_no_such_event"))
    );
}

#[tokio::test]
async fn an_event_that_is_none_is_refused_as_the_intake_would() {
    let api = Api::new();
    for (body, code, pointers) in [
        (r#"{"type":"x"}"#, "invalid_event", vec!["/type"]),
        (r#"{"type":"ticket.created","ticket":{"is_group":1}}"#, "invalid_event", vec!["/ticket/is_group"]),
        ("{}", "invalid_event", vec!["/type"]),
        ("{", "malformed_json", vec![]),
    ] {
        let refused = api.call("POST", "/v1/tenants/acme/explain").text(body).send().await;
        assert_eq!((refused.code(), refused.pointers()), ((422, code), pointers), "{body}");
    }
}
