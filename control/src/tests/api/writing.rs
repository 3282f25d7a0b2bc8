//! Making, showing, replacing and changing things.

use futures_util::{FutureExt as _, future::join_all, poll};
use serde_json::{Value, json};
use store::Author;

use super::{Api, NOW};

const ENDPOINTS: &str = "/v1/tenants/acme/endpoints";

fn crm() -> Value {
    json!({"url": "https://crm.example/hooks", "format": "whazing"})
}

#[tokio::test]
async fn an_endpoint_is_made_shown_and_changed() {
    let api = Api::new();
    let made = api.put("/v1/tenants/acme/endpoints/crm", crm()).await.expect(201);
    assert_eq!(made.headers["location"], "/v1/tenants/acme/endpoints/crm");
    assert_eq!((made.body["id"].as_str(), made.etag()), (Some("crm"), "\"2\""));
    let shown = api.get("/v1/tenants/acme/endpoints/crm").await.expect(200);
    assert_eq!((&shown.body["url"], shown.etag()), (&json!("https://crm.example/hooks"), "\"2\""));
    let changed = api.patch("/v1/tenants/acme/endpoints/crm", json!({"name": "CRM"})).await.expect(200);
    assert_eq!(
        (&changed.body["name"], &changed.body["format"], changed.etag()),
        (&json!("CRM"), &json!("whazing"), "\"3\"")
    );
    let replaced = api.put("/v1/tenants/acme/endpoints/crm", json!({"url": "https://new.example/"})).await.expect(200);
    assert_eq!((&replaced.body["name"], &replaced.body["format"]), (&Value::Null, &json!("canonical")));
}

#[tokio::test]
async fn the_same_put_again_changes_nothing() {
    let api = Api::new();
    for (path, body) in [
        ("/v1/tenants/acme/endpoints/crm", crm()),
        (
            "/v1/tenants/acme/subscriptions/all",
            json!({"endpoint_id": "crm", "event_types": ["*"], "channel_ids": [7, "8"]}),
        ),
        ("/v1/tenants/acme/sources/main", json!({"dialect": "whazing", "channel_id": 7})),
        ("/v1/tenants/acme/keys/backend", json!({"scopes": ["read"]})),
    ] {
        let first = api.put(path, body.clone()).await.expect(201);
        let again = api.put(path, body).await.expect(200);
        assert_eq!((again.etag(), api.get(path).await.etag()), (first.etag(), first.etag()), "{path}");
    }
    assert_eq!(api.get(&format!("{ENDPOINTS}/crm")).await.etag(), "\"2\"");
}

#[tokio::test]
async fn a_post_makes_an_id_or_takes_one_that_is_free() {
    let api = Api::new();
    let made = api.post(ENDPOINTS, crm()).await.expect(201);
    let id = made.body["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("ep_") && id.len() == 11, "{id}");
    assert_eq!(made.headers["location"].to_str().unwrap(), format!("{ENDPOINTS}/{id}"));
    assert_ne!(api.post(ENDPOINTS, crm()).await.expect(201).body["id"], id);
    let given = json!({"id": "crm", "url": "https://crm.example/"});
    api.post(ENDPOINTS, given.clone()).await.expect(201);
    assert_eq!(api.post(ENDPOINTS, given).await.code(), (409, "conflict"));
}

#[tokio::test]
async fn a_patch_may_call_itself_json_or_merge_patch() {
    let api = Api::new();
    let path = format!("{ENDPOINTS}/crm");
    api.put(&path, crm()).await.expect(201);
    for (kind, status) in [("application/merge-patch+json", 200), ("application/json", 200), ("text/plain", 415)] {
        let patch = api.call("PATCH", &path).header("content-type", kind).text(r#"{"name":"x"}"#);
        patch.send().await.expect(status);
    }
    assert_eq!(api.patch(&format!("{ENDPOINTS}/nobody"), json!({})).await.code(), (404, "not_found"));
}

#[tokio::test]
async fn a_url_is_kept_in_its_normal_form_and_private_ones_are_refused() {
    let api = Api::new();
    let path = format!("{ENDPOINTS}/crm");
    let made = api.put(&path, json!({"url": "https://CRM.exämple"})).await.expect(201);
    assert_eq!(made.body["url"], "https://crm.xn--exmple-cua/");
    for url in
        ["http://127.1/", "http://localhost/", "http://[::1]/", "ftp://crm.example/", "https://u:p@crm.example/", "x"]
    {
        let refused = api.put(&path, json!({"url": url})).await;
        assert_eq!((refused.code(), refused.pointers()), ((422, "invalid_body"), vec!["/url"]), "{url}");
        assert!(!refused.body.to_string().contains("u:p"), "{}", refused.body);
    }
}

#[tokio::test]
async fn a_disabled_endpoint_stays_so_until_it_is_said_to_be_active() {
    let api = Api::new();
    let path = format!("{ENDPOINTS}/crm");
    api.put(&path, json!({"url": "https://a.example/", "state": "disabled", "disabled_reason": "410"}))
        .await
        .expect(201);
    let same = api.put(&path, json!({"url": "https://a.example/"})).await.expect(200);
    assert_eq!((&same.body["state"], &same.body["disabled_reason"]), (&json!("disabled"), &json!("410")));
    let active = api.patch(&path, json!({"state": "active"})).await.expect(200);
    assert_eq!((&active.body["state"], &active.body["disabled_reason"]), (&json!("active"), &Value::Null));
}

#[tokio::test]
async fn a_source_and_a_key_work_from_the_moment_they_are_made() {
    let api = Api::new();
    let source = api.post("/v1/tenants/acme/sources", json!({"dialect": "whazing"})).await.expect(201);
    let token = source.body["token"].as_str().unwrap();
    assert_eq!(source.body["path"], format!("/v1/in/{token}"));
    assert!(store::Store::snapshot(&*api.store).unwrap().source(token, NOW).is_some());
    let made = api.post("/v1/tenants/acme/keys", json!({"scopes": ["read"]})).await.expect(201);
    api.call("GET", ENDPOINTS).key(made.body["key"].as_str().unwrap()).send().await.expect(200);
}

#[tokio::test]
async fn a_tenant_with_many_waiting_changes_is_refused_and_others_are_not() {
    let api = Api::new();
    let author = Author { name: "operator".into(), address: None };
    let turn = api.control.edit_queue.enter(&author).await.expect("the operator is never refused");
    let path = |number: usize| format!("{ENDPOINTS}/{number}");
    let mut waiting: Vec<_> = (0..32).map(|number| api.call("PUT", path(number)).json(crm()).send().boxed()).collect();
    let other = api.call("PUT", "/v1/tenants/zeta/endpoints/crm").key("zeta-all").json(crm());
    waiting.push(other.send().boxed());
    for change in &mut waiting {
        assert!(poll!(change).is_pending());
    }
    let refused = api.put(&path(32), crm()).await;
    assert_eq!((refused.code(), &refused.headers["retry-after"]), ((429, "too_many_requests"), &"1".parse().unwrap()));
    drop(turn);
    assert!(join_all(waiting).await.iter().all(|answer| answer.status == 201));
    api.put(&path(32), crm()).await.expect(201);
}

#[tokio::test]
async fn a_change_that_changes_nothing_says_so() {
    let api = Api::new();
    let path = format!("{ENDPOINTS}/crm");
    let is_changed = |answer: &super::ApiAnswer| answer.headers["carteiro-changed"].to_str().unwrap() == "true";
    assert!(is_changed(&api.put(&path, crm()).await.expect(201)));
    for (method, call, body, expected) in [
        ("PUT", path.clone(), crm(), false),
        ("PATCH", path.clone(), json!({}), false),
        ("PATCH", path.clone(), json!({"name": null}), false),
        ("PATCH", path.clone(), json!({"name": "CRM"}), true),
        ("POST", format!("{path}/enable"), json!({}), false),
        ("POST", format!("{path}/disable"), json!({}), true),
    ] {
        let answer = api.call(method, &call).json(body.clone()).send().await.expect(200);
        assert_eq!(is_changed(&answer), expected, "{method} {call} {body}");
    }
}
