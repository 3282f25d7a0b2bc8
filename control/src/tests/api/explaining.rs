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
    assert_eq!(results[0], json!({"subscription_id": "a", "endpoint_id": "any", "matched": true, "reason": null}));
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
