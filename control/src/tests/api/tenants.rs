//! Tenants, by the operator.

use serde_json::{Value, json};

use super::{Api, ApiAnswer};

async fn operator(api: &Api, method: &'static str, path: &str, body: Value) -> ApiAnswer {
    api.call(method, path).operator().json(body).send().await
}

#[tokio::test]
async fn the_operator_makes_changes_and_deletes_tenants() {
    let api = Api::new();
    let quota = json!({"endpoints": 1});
    let made = operator(&api, "PUT", "/v1/tenants/beta", json!({"name": "Beta", "quota": quota})).await.expect(201);
    assert_eq!(made.body, json!({"id": "beta", "name": "Beta", "quota": quota}));
    let again = operator(&api, "PUT", "/v1/tenants/beta", json!({"name": "Beta", "quota": quota})).await.expect(200);
    assert_eq!(again.etag(), made.etag());
    let patched = operator(&api, "PATCH", "/v1/tenants/beta", json!({"quota": {"dead_letters": 5}})).await.expect(200);
    assert_eq!(patched.body["quota"], json!({"endpoints": 1, "dead_letters": 5}));
    let shown = operator(&api, "GET", "/v1/tenants/beta", json!({})).await;
    assert_eq!(shown.body["quota"], patched.body["quota"]);
    let gone = operator(&api, "DELETE", "/v1/tenants/beta", json!({})).await.expect(200);
    assert_eq!((&gone.body["deleted"][0]["id"], &gone.body["queued"]), (&json!("beta"), &json!("endpoint_gone")));
    operator(&api, "GET", "/v1/tenants/beta", json!({})).await.expect(404);
    operator(&api, "DELETE", "/v1/tenants/beta", json!({})).await.expect(404);
}

#[tokio::test]
async fn a_tenant_keeps_what_it_has_when_it_is_replaced() {
    let api = Api::new();
    operator(&api, "PUT", "/v1/tenants/acme", json!({"name": "Acme"})).await.expect(200);
    assert_eq!(api.tenant("acme").keys.len(), 3);
    let refused = operator(&api, "PUT", "/v1/tenants/acme", json!({"keys": []})).await;
    assert_eq!(refused.pointers(), ["/keys"]);
}

#[tokio::test]
async fn a_tenants_id_is_made_or_taken_if_it_is_free() {
    let api = Api::new();
    let made = operator(&api, "POST", "/v1/tenants", json!({"name": "New"})).await.expect(201);
    assert!(made.body["id"].as_str().unwrap().starts_with("t_"));
    assert_eq!(operator(&api, "POST", "/v1/tenants", json!({"id": "acme"})).await.code(), (409, "conflict"));
    let wrong = operator(&api, "POST", "/v1/tenants", json!({"id": "Not An Id"})).await;
    assert_eq!(wrong.pointers(), ["/id"]);
}

#[tokio::test]
async fn tenants_are_listed_in_the_order_of_their_ids() {
    let api = Api::new();
    let first = api.call("GET", "/v1/tenants?limit=1").operator().send().await.expect(200);
    assert_eq!(first.body["items"][0]["id"], "acme");
    assert_eq!(first.body["items"][0]["used"]["keys"], 3, "{}", first.body);
    let next = format!("/v1/tenants?cursor={}", first.body["next"].as_str().unwrap());
    let second = api.call("GET", next).operator().send().await.expect(200);
    assert_eq!((&second.body["items"][0]["id"], &second.body["next"]), (&json!("zeta"), &Value::Null));
}

#[tokio::test]
async fn a_tenant_shows_what_it_uses_and_a_body_that_repeats_it_changes_nothing() {
    let api = Api::new();
    let keys = json!({"events_per_second": 0.0, "endpoints": 0, "subscriptions": 0, "sources": 0, "keys": 3});
    let shown = api.get("/v1/tenants/acme").await.expect(200);
    assert_eq!(shown.body["used"], keys, "dead letters were not counted yet");
    api.put("/v1/tenants/acme/endpoints/crm", json!({"url": "https://a.example/"})).await.expect(201);
    let read = api.call("GET", "/v1/tenants/acme").key("reader").send().await.expect(200);
    assert_eq!(read.body["used"]["endpoints"], 1);
    for method in ["PUT", "PATCH"] {
        let again = operator(&api, method, "/v1/tenants/acme", shown.body.clone()).await.expect(200);
        assert_eq!((again.etag(), again.body.get("used")), (shown.etag(), None), "{method}");
    }
}

#[tokio::test]
async fn a_tenant_may_look_at_itself_and_no_more() {
    let api = Api::new();
    assert_eq!(api.call("GET", "/v1/tenants/acme").key("reader").send().await.expect(200).body["id"], "acme");
    for (method, path) in [
        ("PUT", "/v1/tenants/acme"),
        ("PATCH", "/v1/tenants/acme"),
        ("DELETE", "/v1/tenants/acme"),
        ("POST", "/v1/tenants"),
        ("GET", "/v1/tenants"),
    ] {
        let refused = api.call(method, path).json(json!({})).send().await;
        assert_eq!(refused.code(), (403, "forbidden"), "{method} {path}");
        assert_eq!(api.call(method, path).key("wrong").json(json!({})).send().await.status, 401);
    }
    for method in ["GET", "PUT", "PATCH", "DELETE"] {
        for tenant in ["zeta", "nobody"] {
            let hidden = api.call(method, format!("/v1/tenants/{tenant}")).json(json!({})).send().await;
            assert_eq!(hidden.code(), (404, "not_found"), "{method} {tenant}");
        }
    }
}
