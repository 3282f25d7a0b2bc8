//! `If-Match` and `If-None-Match`.

use serde_json::json;

use super::Api;

const CRM: &str = "/v1/tenants/acme/endpoints/crm";

#[tokio::test]
async fn a_write_onto_another_version_is_refused_and_changes_nothing() {
    let api = Api::new();
    let body = json!({"url": "https://a.example/"});
    let old = api.put(CRM, body.clone()).await.etag().to_owned();
    let new = api.patch(CRM, json!({"name": "x"})).await.etag().to_owned();
    for method in ["PUT", "PATCH", "DELETE"] {
        let stale = api.call(method, CRM).header("if-match", &old).json(body.clone()).send().await;
        assert_eq!(stale.code(), (412, "precondition_failed"), "{method}");
    }
    assert_eq!(api.get(CRM).await.etag(), new);
    api.call("PATCH", CRM).header("if-match", &new).json(json!({"name": "y"})).send().await.expect(200);
    api.call("DELETE", CRM).header("if-match", "*").send().await.expect(200);
}

#[tokio::test]
async fn something_may_be_made_only_if_it_is_not_there_or_only_if_it_is() {
    let api = Api::new();
    let put =
        |name, value: &str| api.call("PUT", CRM).header(name, value).json(json!({"url": "https://a.example/"})).send();
    put("if-match", "*").await.expect(412);
    put("if-none-match", "*").await.expect(201);
    put("if-none-match", "*").await.expect(412);
    put("if-match", "*").await.expect(200);
}

#[tokio::test]
async fn tenants_have_versions_too() {
    let api = Api::new();
    let put = |name, value: String| {
        api.call("PUT", "/v1/tenants/beta").operator().header(name, value).json(json!({"name": "B"})).send()
    };
    let made = put("if-none-match", "*".to_owned()).await.expect(201);
    put("if-none-match", "*".to_owned()).await.expect(412);
    put("if-match", made.etag().to_owned()).await.expect(200);
    put("if-match", "\"99\"".to_owned()).await.expect(412);
}
