//! Permissions of keys.

use serde_json::json;

use super::Api;

#[tokio::test]
async fn reading_needs_read_and_changing_needs_manage() {
    let api = Api::new();
    for list in ["endpoints", "subscriptions", "sources", "keys"] {
        let path = format!("/v1/tenants/acme/{list}");
        for (key, read, write) in
            [("reader", 200, 403), ("publisher", 403, 403), ("wrong", 401, 401), ("zeta-all", 404, 404)]
        {
            assert_eq!(api.call("GET", &path).key(key).send().await.status, read, "{key} {list}");
            let made = api.call("POST", &path).key(key).json(json!({})).send().await;
            assert_eq!(made.status, write, "{key} {list}");
        }
        api.call("GET", &path).nobody().send().await.expect(401);
        api.call("GET", &path).operator().send().await.expect(200);
        api.call("GET", format!("/v1/tenants/nobody/{list}")).operator().send().await.expect(404);
    }
}

#[tokio::test]
async fn what_is_missing_is_named_and_a_tenant_learns_nothing_of_others() {
    let api = Api::new();
    let endpoint = "/v1/tenants/acme/endpoints/nobody";
    for (method, path, key, said) in [
        ("GET", "/v1/tenants/nobody", None, "there is no tenant `nobody`"),
        ("GET", "/v1/tenants/nobody/endpoints", None, "there is no tenant `nobody`"),
        ("DELETE", "/v1/tenants/nobody", None, "there is no tenant `nobody`"),
        ("GET", endpoint, Some("reader"), "there is no endpoint `nobody`"),
        ("DELETE", endpoint, None, "there is no endpoint `nobody`"),
        ("POST", "/v1/tenants/acme/endpoints/nobody/enable", None, "there is no endpoint `nobody`"),
        ("GET", "/v1/tenants/acme/channels/9/webhook", Some("reader"), "the channel `9` has no webhook"),
        ("GET", "/v1/tenants/acme/dead-letters/77", Some("reader"), "there is no dead letter `77`"),
        ("GET", "/v1/tenants/acme/endpoints", Some("zeta-all"), "this key is of another tenant than the path names"),
        ("GET", "/v1/tenants/nobody/endpoints", Some("zeta-all"), "this key is of another tenant than the path names"),
        ("GET", "/v1/foo", Some("reader"), "there is no path `/v1/foo` here"),
    ] {
        let call = api.call(method, path);
        let answer = match key {
            Some(key) => call.key(key),
            None => call.operator(),
        };
        let answer = answer.send().await.expect(404);
        assert_eq!(answer.body["detail"], said, "{method} {path}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
    }
    api.call("GET", "/v1/tenants/%ff/endpoints").operator().send().await.expect(404);
}

#[tokio::test]
async fn a_key_grants_at_most_its_own_scopes() {
    let api = Api::new();
    let keys = "/v1/tenants/acme/keys";
    let refused = api.post(keys, json!({"scopes": ["read", "publish"]})).await;
    assert_eq!(refused.code(), (403, "forbidden"));
    assert_eq!(refused.body["detail"], "a key grants at most its own scopes");
    api.post(keys, json!({"scopes": ["read", "manage"]})).await.expect(201);
    api.patch("/v1/tenants/acme/keys/reader", json!({"scopes": ["publish"]})).await.expect(403);
    let hash = super::key("known-to-me", &[])["hash"].clone();
    api.patch("/v1/tenants/acme/keys/publisher", json!({"hash": hash})).await.expect(403);
    api.call("POST", keys).operator().json(json!({"scopes": ["publish"]})).send().await.expect(201);
}

#[tokio::test]
async fn what_was_changed_is_in_the_audit_log_with_who_did_it() {
    let api = Api::new();
    api.put("/v1/tenants/acme/endpoints/crm", json!({"url": "https://a.example/", "n8n_api_key": "S3CRET"}))
        .await
        .expect(201);
    api.call("PUT", "/v1/tenants/beta").operator().json(json!({})).send().await.expect(201);
    let entries = store::UsageAndAudit::audit(&*api.store, None, None, 10).await.unwrap();
    let who: Vec<_> = entries.iter().map(|entry| (entry.author.as_str(), entry.item.as_str())).collect();
    assert_eq!(who, [("operator", "beta"), ("key:acme/manager", "crm")]);
    assert!(!serde_json::to_string(&entries).unwrap().contains("S3CRET"));
}
