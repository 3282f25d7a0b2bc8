//! Fields that are shown masked: absent keeps, null removes, a mask is refused.

use serde_json::json;

use super::Api;

const CRM: &str = "/v1/tenants/acme/endpoints/crm";

async fn with_secrets() -> Api {
    let api = Api::new();
    let body = json!({"url": "https://a.example/", "n8n_api_key": "S3CRET-key",
        "headers": {"x-plain": "plain", "x-secret": {"secret": "S3CRET-header"}}});
    api.put(CRM, body).await.expect(201);
    api
}

#[tokio::test]
async fn secrets_are_shown_masked_and_never_otherwise() {
    let api = with_secrets().await;
    let shown = api.get(CRM).await.body;
    assert_eq!((&shown["n8n_api_key"], &shown["headers"]["x-plain"]), (&json!("***"), &json!("plain")));
    assert_eq!(shown["headers"]["x-secret"], json!({"secret": "***"}));
    let listed = api.get("/v1/tenants/acme/endpoints").await.body;
    assert!(!(shown.to_string() + &listed.to_string()).contains("S3CRET"));
}

#[tokio::test]
async fn what_a_put_leaves_out_is_kept_and_what_is_null_is_removed() {
    let api = with_secrets().await;
    api.put(CRM, json!({"url": "https://b.example/", "headers": {"x-new": "new"}})).await.expect(200);
    let kept = api.tenant("acme").endpoints["crm"].clone();
    assert_eq!(kept.n8n_api_key.as_ref().unwrap().reveal(), "S3CRET-key");
    assert_eq!(kept.headers["x-secret"].reveal(), "S3CRET-header");
    assert!(kept.headers.contains_key("x-new") && !kept.headers.contains_key("x-plain"));
    let nothing =
        json!({"url": "https://b.example/", "n8n_api_key": null, "secrets": null, "headers": {"x-secret": null}});
    api.put(CRM, nothing).await.expect(200);
    let bare = api.tenant("acme").endpoints["crm"].clone();
    assert!(bare.n8n_api_key.is_none() && bare.secrets.is_empty() && bare.headers.is_empty());
}

#[tokio::test]
async fn a_mask_that_is_written_back_is_refused_where_it_stands() {
    let api = with_secrets().await;
    let shown = api.get(CRM).await.body;
    let refused = api.put(CRM, shown).await;
    assert_eq!(refused.code(), (422, "invalid_body"));
    assert_eq!(refused.pointers(), ["/headers/x-secret", "/n8n_api_key", "/secrets/0"]);
    let source = api.post("/v1/tenants/acme/sources", json!({"id": "main", "dialect": "whazing"})).await.body;
    let refused = api.put("/v1/tenants/acme/sources/main", json!({"dialect": "whazing", "token": "***"})).await;
    assert_eq!(refused.pointers(), ["/token"]);
    let kept = api.tenant("acme").sources[0].token.clone();
    assert_eq!(kept.reveal(), source["token"]);
}

#[tokio::test]
async fn a_sources_token_cannot_be_removed() {
    let api = Api::new();
    api.put("/v1/tenants/acme/sources/main", json!({"dialect": "whazing"})).await.expect(201);
    for method in ["PUT", "PATCH"] {
        let body = json!({"dialect": "whazing", "token": null});
        let refused = api.call(method, "/v1/tenants/acme/sources/main").json(body).send().await;
        assert_eq!((refused.code(), refused.pointers()), ((422, "invalid_body"), vec!["/token"]));
    }
}
