//! What is probably a mistake is stored, and the answer warns about it; a strict request is refused.

use serde_json::{Value, json};

use super::{Api, ApiAnswer};

const SUBSCRIPTION: &str = "/v1/tenants/acme/subscriptions/s";

impl ApiAnswer {
    /// Code and pointer of each warning.
    fn warnings(&self) -> Vec<(&str, &str)> {
        let listed = self.body["warnings"].as_array().map(Vec::as_slice).unwrap_or_default();
        listed.iter().map(|one| (one["code"].as_str().unwrap(), one["pointer"].as_str().unwrap())).collect()
    }
}

async fn api_with_endpoint() -> Api {
    let api = Api::new();
    api.put("/v1/tenants/acme/endpoints/crm", json!({"url": "https://crm.example/", "format": "whazing"}))
        .await
        .expect(201);
    api
}

#[tokio::test]
async fn a_subscription_that_matches_nothing_is_stored_with_a_warning_that_no_later_answer_has() {
    let api = api_with_endpoint().await;
    let made = api.put(SUBSCRIPTION, json!({"endpoint_id": "crm"})).await.expect(201);
    assert_eq!(made.warnings(), [("never_matches", "/event_types")]);
    let shown = api.get(SUBSCRIPTION).await.expect(200);
    assert_eq!((&shown.body["warnings"], shown.etag()), (&Value::Null, made.etag()));
    let again = api.put(SUBSCRIPTION, made.body.clone()).await.expect(200);
    assert_eq!((again.warnings(), again.etag()), (made.warnings(), made.etag()), "its own answer may be written back");
    let mended = api.patch(SUBSCRIPTION, json!({"event_types": ["message.*"]})).await.expect(200);
    assert_eq!(mended.warnings(), []);
    let changed = api.patch(SUBSCRIPTION, json!({"event_types": ["message.recieved", "ticket.tags_changed"]})).await;
    assert_eq!(changed.warnings(), [("unknown_type", "/event_types"), ("not_in_format", "/event_types")]);
}

#[tokio::test]
async fn a_strict_change_with_warnings_is_refused_and_changes_nothing() {
    let api = api_with_endpoint().await;
    let strict = format!("{SUBSCRIPTION}?strict=true");
    let refused = api.put(&strict, json!({"endpoint_id": "crm", "event_types": ["*"], "channel_ids": []})).await;
    assert_eq!((refused.code(), refused.pointers()), ((422, "warned"), vec!["/channel_ids"]));
    api.get(SUBSCRIPTION).await.expect(404);
    let made = api.put(&strict, json!({"endpoint_id": "crm", "event_types": ["message.*"]})).await.expect(201);
    assert_eq!(made.headers["location"], SUBSCRIPTION);
    let refused = api.patch(&strict, json!({"event_types": []})).await;
    assert_eq!(refused.code(), (422, "warned"));
    assert_eq!(api.get(SUBSCRIPTION).await.expect(200).etag(), made.etag());
    let refused = api.put(&format!("{SUBSCRIPTION}?strict=yes"), json!({})).await;
    assert_eq!(refused.code(), (400, "invalid_parameter"));
}

#[tokio::test]
async fn a_ticked_event_that_the_format_lacks_is_warned_about_and_an_unticked_box_is_not() {
    let api = Api::new();
    let webhook = "/v1/tenants/acme/channels/7/webhook";
    let url = "https://n8n.example/";
    let made = api.put(webhook, json!({"url": url, "events": [], "ticket_statuses": []})).await.expect(201);
    assert_eq!(made.warnings(), []);
    let changed = api.patch(webhook, json!({"format": "boticario", "events": ["closed", "received"]})).await;
    assert_eq!(changed.expect(200).warnings(), [("not_in_format", "/events")]);
}

#[tokio::test]
async fn a_source_without_a_channel_is_warned_about_where_subscriptions_want_one() {
    let api = api_with_endpoint().await;
    let source = "/v1/tenants/acme/sources/shop";
    assert_eq!(api.put(source, json!({"dialect": "boticario"})).await.expect(201).warnings(), []);
    let subscription = json!({"endpoint_id": "crm", "event_types": ["*"], "channel_ids": [7]});
    assert_eq!(api.put(SUBSCRIPTION, subscription).await.expect(201).warnings(), []);
    let warned = api.put(source, json!({"dialect": "boticario"})).await.expect(200);
    assert_eq!(warned.warnings(), [("no_channel", "/channel_id")]);
    assert_eq!(api.put(source, json!({"dialect": "boticario", "channel_id": 7})).await.expect(200).warnings(), []);
    assert_eq!(api.put(source, json!({"dialect": "whazing"})).await.expect(200).warnings(), []);
}

#[tokio::test]
async fn a_description_is_applied_with_warnings_that_have_their_places_and_strictly_not_at_all() {
    let api = Api::new();
    let described = json!({"tenants": [{"id": "acme",
        "endpoints": [{"id": "crm", "url": "https://crm.example/"}],
        "subscriptions": [
            {"id": "good", "endpoint_id": "crm", "event_types": ["*"], "channel_ids": [7]},
            {"id": "bad", "endpoint_id": "crm", "event_types": ["message.recieved"]},
        ],
        "sources": [{"id": "shop", "dialect": "boticario", "token": "a-token-of-many-characters"}]}]});
    let refused = api.call("POST", "/v1/apply?strict=true").operator().json(described.clone()).send().await;
    let places = ["/tenants/0/subscriptions/1/event_types", "/tenants/0/sources/0/channel_id"];
    assert_eq!((refused.code(), refused.pointers()), ((422, "warned"), places.to_vec()));
    api.get("/v1/tenants/acme/endpoints/crm").await.expect(404);
    let applied = api.call("POST", "/v1/apply").operator().json(described).send().await.expect(200);
    assert_eq!(applied.warnings(), [("unknown_type", places[0]), ("no_channel", places[1])]);
}
