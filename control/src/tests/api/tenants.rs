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
    assert_eq!(operator(&api, "GET", "/v1/tenants/beta", json!({})).await.body, patched.body);
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
    assert_eq!(first.body["items"], json!([{"id": "acme"}]));
    let next = format!("/v1/tenants?cursor={}", first.body["next"].as_str().unwrap());
    let second = api.call("GET", next).operator().send().await.expect(200);
    assert_eq!(second.body, json!({"items": [{"id": "zeta"}], "next": null}));
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
