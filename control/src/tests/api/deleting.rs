//! Deletions, and what is deleted along.

use serde_json::json;

use super::Api;

#[tokio::test]
async fn an_endpoint_goes_with_its_subscriptions_and_says_what_becomes_of_its_deliveries() {
    let api = Api::new();
    for id in ["crm", "bi"] {
        api.put(&format!("/v1/tenants/acme/endpoints/{id}"), json!({"url": "https://a.example/"})).await.expect(201);
        let all = json!({"endpoint_id": id, "event_types": ["*"]});
        api.put(&format!("/v1/tenants/acme/subscriptions/{id}-all"), all).await.expect(201);
    }
    let gone = api.delete("/v1/tenants/acme/endpoints/crm").await.expect(200).body;
    assert_eq!(gone["deleted"], json!([{"kind": "endpoint", "id": "crm"}, {"kind": "subscription", "id": "crm-all"}]));
    assert_eq!(gone["queued"], "endpoint_gone");
    let left = api.get("/v1/tenants/acme/subscriptions").await.body;
    assert_eq!(left["items"][0]["id"], "bi-all");
    api.delete("/v1/tenants/acme/endpoints/crm").await.expect(404);
}

#[tokio::test]
async fn a_subscription_a_source_and_a_key_go_alone() {
    let api = Api::new();
    api.put("/v1/tenants/acme/sources/main", json!({"dialect": "whazing"})).await.expect(201);
    let gone = api.delete("/v1/tenants/acme/sources/main").await.expect(200).body;
    assert_eq!(gone, json!({"deleted": [{"kind": "source", "id": "main"}]}));
    api.delete("/v1/tenants/acme/keys/reader").await.expect(200);
    api.call("GET", "/v1/tenants/acme/keys").key("reader").send().await.expect(401);
}
