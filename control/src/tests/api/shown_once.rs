//! Generated secrets, which are shown only once.

use serde_json::json;

use super::Api;

#[tokio::test]
async fn an_endpoint_without_secrets_gets_one_and_an_empty_list_means_unsigned() {
    let api = Api::new();
    let made =
        api.post("/v1/tenants/acme/endpoints", json!({"id": "crm", "url": "https://a.example/"})).await.expect(201);
    let secret = made.body["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("whsec_"));
    assert_eq!(made.body["secrets"], json!(["***"]));
    assert_eq!(api.tenant("acme").endpoints["crm"].secrets[0].secret().reveal(), secret);
    let shown = api.get("/v1/tenants/acme/endpoints/crm").await;
    assert!(shown.body.get("secret").is_none() && !shown.body.to_string().contains(&secret));
    let again = api.put("/v1/tenants/acme/endpoints/crm", json!({"url": "https://a.example/"})).await.expect(200);
    assert!(again.body.get("secret").is_none());
    assert_eq!(api.tenant("acme").endpoints["crm"].secrets[0].secret().reveal(), secret, "it is kept");
    let unsigned = json!({"url": "https://a.example/", "secrets": []});
    let unsigned = api.put("/v1/tenants/acme/endpoints/bi", unsigned).await.expect(201);
    assert!(unsigned.body.get("secret").is_none());
    api.put("/v1/tenants/acme/endpoints/bi", json!({"url": "https://a.example/"})).await.expect(200);
    assert!(api.tenant("acme").endpoints["bi"].secrets.is_empty(), "unsigned it stays");
}

#[tokio::test]
async fn a_token_and_a_key_are_shown_once_and_given_ones_are_not_repeated() {
    let api = Api::new();
    let source =
        api.post("/v1/tenants/acme/sources", json!({"id": "main", "dialect": "whazing"})).await.expect(201).body;
    assert!(source["token"].as_str().unwrap().starts_with("in_"));
    assert_eq!(api.get("/v1/tenants/acme/sources/main").await.body["token"], "***");
    let given = json!({"dialect": "whazing", "token": "given-by-the-tenant"});
    let given = api.put("/v1/tenants/acme/sources/second", given).await.expect(201).body;
    assert_eq!((&given["token"], given.get("path")), (&json!("***"), None));
    let key = api.post("/v1/tenants/acme/keys", json!({"id": "k", "scopes": ["read"]})).await.expect(201).body;
    assert!(key["key"].as_str().unwrap().starts_with("key_"));
    assert!(api.get("/v1/tenants/acme/keys/k").await.body.get("key").is_none());
}
