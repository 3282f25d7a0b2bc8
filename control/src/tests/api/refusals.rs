//! Bodies that are wrong, and stores that cannot be changed.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Api;

#[tokio::test]
async fn every_mistake_has_its_place() {
    let api = Api::new();
    api.put("/v1/tenants/acme/endpoints/crm", json!({"url": "https://a.example/"})).await.expect(201);
    let table = [
        ("endpoints", json!({}), "/url"),
        ("endpoints", json!({"url": 7}), "/url"),
        ("endpoints", json!({"urll": "x"}), "/urll"),
        ("endpoints", json!({"id": "Not An Id", "url": "https://a.example/"}), "/id"),
        ("endpoints", json!({"id": 7, "url": "https://a.example/"}), "/id"),
        ("endpoints", json!({"url": "https://a.example/", "timeout": "1h"}), "/timeout"),
        ("endpoints", json!({"url": "https://a.example/", "retry": {"schedule": ["5s", "0s"]}}), "/retry/schedule/1"),
        ("endpoints", json!({"url": "https://a.example/", "headers": {"webhook-id": "x"}}), "/headers/webhook-id"),
        ("endpoints", json!({"url": "https://a.example/", "secrets": ["short"]}), "/secrets/0"),
        ("subscriptions", json!({"endpoint_id": "nobody"}), "/endpoint_id"),
        ("subscriptions", json!({"endpoint_id": "crm", "event_types": ["ticket"]}), "/event_types/0"),
        ("subscriptions", json!({"endpoint_id": "crm", "start_on_transfer": true}), "/start_on_transfer"),
        ("sources", json!({"dialect": "telegram"}), "/dialect"),
        ("sources", json!({"dialect": "whazing", "token": "short"}), "/token"),
        ("keys", json!({"scopes": []}), "/scopes"),
        ("keys", json!({"scopes": ["read"], "hash": "md5:1"}), "/hash"),
    ];
    for (list, body, pointer) in table {
        let refused = api.post(&format!("/v1/tenants/acme/{list}"), body.clone()).await;
        assert_eq!((refused.code(), refused.pointers()), ((422, "invalid_body"), vec![pointer]), "{list} {body}");
    }
}

#[tokio::test]
async fn null_for_a_field_that_is_not_known_is_refused_with_its_place() {
    let api = Api::new();
    let (crm, channel) = ("/v1/tenants/acme/endpoints/crm", "/v1/tenants/acme/channels/7/webhook");
    for path in [crm, channel] {
        api.put(path, json!({"url": "https://a.example/"})).await.expect(201);
    }
    for (path, body, pointer) in [
        (crm, json!({"nonsense": null}), "/nonsense"),
        (crm, json!({"retry": {"max_ages": null}}), "/retry/max_ages"),
        (channel, json!({"event": null}), "/event"),
        ("/v1/tenants/acme", json!({"quota": {"endpoint": null}}), "/quota/endpoint"),
    ] {
        for method in ["PATCH", "PUT"] {
            let refused = api.call(method, path).operator().json(body.clone()).send().await;
            assert_eq!((refused.code(), refused.pointers()), ((422, "invalid_body"), vec![pointer]), "{method} {body}");
            assert!(
                refused.body["errors"][0]["message"].as_str().unwrap().starts_with("unknown key, "),
                "{}",
                refused.body
            );
        }
    }
    for (path, body) in [
        (crm, json!({"retry": null, "headers": {"x-a": null}, "public_key": null, "rate_limit": {"per_second": null}})),
        (channel, json!({"groups": null, "state": null, "format_options": {"shape": null}})),
        ("/v1/tenants/acme", json!({"quota": {"endpoints": null}, "used": null})),
    ] {
        let answer = api.call("PATCH", path).operator().json(body.clone()).send().await;
        assert_ne!(
            answer.body["errors"][0]["message"].as_str().map(|text| text.starts_with("unknown")),
            Some(true),
            "{}",
            answer.body
        );
    }
}

#[tokio::test]
async fn an_id_in_the_body_may_not_differ_from_the_one_in_the_path() {
    let api = Api::new();
    let refused = api.put("/v1/tenants/acme/endpoints/crm", json!({"id": "bi", "url": "https://a.example/"})).await;
    assert_eq!(refused.pointers(), ["/id"]);
}

#[tokio::test]
async fn a_body_that_is_no_json_object_has_its_own_code() {
    let api = Api::new();
    for (body, code) in
        [("{", "malformed_json"), ("", "malformed_json"), ("[]", "invalid_body"), ("{}", "invalid_body")]
    {
        let refused = api.call("POST", "/v1/tenants/acme/endpoints").text(body).send().await;
        assert_eq!(refused.code(), (422, code), "{body:?}");
    }
    let long = api.call("POST", "/v1/tenants/acme/endpoints").text(" ".repeat((1 << 20) + 1)).send().await;
    assert_eq!(long.code(), (413, "payload_too_large"));
}

#[tokio::test]
async fn a_tenant_has_as_many_of_each_as_its_quota_allows() {
    let quota = json!({"endpoints": 1, "subscriptions": 1, "sources": 1, "keys": 2});
    let api = Api::with(json!([{"id": "acme", "quota": quota, "keys": [super::key("manager", &["manage"])]}]));
    for (list, body) in [
        ("endpoints", json!({"url": "https://a.example/"})),
        ("subscriptions", json!({"endpoint_id": "a"})),
        ("sources", json!({"dialect": "whazing"})),
        ("keys", json!({"scopes": ["manage"]})),
    ] {
        let path = |id: &str| format!("/v1/tenants/acme/{list}/{id}");
        api.put(&path("a"), body.clone()).await.expect(201);
        let refused = api.put(&path("b"), body.clone()).await;
        assert_eq!((refused.code(), refused.pointers()), ((422, "quota_reached"), vec![""]), "{list}");
        assert_eq!(refused.body["detail"], format!("quota.{list}"));
        api.await_event("quota.reached").await;
        api.put(&path("a"), body).await.expect(200);
    }
}

#[tokio::test]
async fn a_tenant_without_a_quota_has_as_many_as_all_may_until_the_operator_says_otherwise() {
    let api = Api::new();
    let put =
        async |nth: u64| api.put(&format!("/v1/tenants/acme/sources/s{nth}"), json!({"dialect": "whazing"})).await;
    for nth in 0..super::MOST_SOURCES {
        put(nth).await.expect(201);
    }
    assert_eq!(put(super::MOST_SOURCES).await.code(), (422, "quota_reached"));
    api.await_event("quota.reached").await;
    let channel = json!({"url": "https://n8n.example/", "events": ["sent"]});
    api.put("/v1/tenants/acme/channels/7/webhook", channel).await.expect(201);
    let quota = json!({"quota": {"sources": super::MOST_SOURCES + 1}});
    api.call("PATCH", "/v1/tenants/acme").operator().json(quota).send().await.expect(200);
    put(super::MOST_SOURCES).await.expect(201);
}

#[tokio::test]
async fn one_event_may_not_make_more_deliveries_than_are_allowed() {
    let api = Api::new();
    for nth in 0..4 {
        let path = format!("/v1/tenants/acme/endpoints/e{nth}");
        api.put(&path, json!({"url": "https://a.example/"})).await.expect(201);
    }
    let subscribe = |nth: usize, types: Value| {
        let body = json!({"endpoint_id": format!("e{nth}"), "event_types": types});
        api.call("PUT", format!("/v1/tenants/acme/subscriptions/s{nth}")).json(body).send()
    };
    for nth in 0..3 {
        subscribe(nth, json!(["ticket.*"])).await.expect(201);
    }
    let refused = subscribe(3, json!(["ticket.closed"])).await;
    assert_eq!((refused.code(), refused.pointers()), ((422, "quota_reached"), vec!["/event_types"]));
    subscribe(3, json!(["message.*"])).await.expect(201);
}

#[tokio::test]
async fn a_token_or_key_of_another_tenant_is_refused_without_naming_it() {
    let api = Api::new();
    let source = json!({"dialect": "whazing", "token": "the-token-of-acme"});
    api.put("/v1/tenants/acme/sources/main", source.clone()).await.expect(201);
    let taken = api.call("PUT", "/v1/tenants/zeta/sources/main").key("zeta-all").json(source).send().await;
    assert_eq!((taken.code(), taken.pointers()), ((409, "conflict"), vec!["/token"]));
    let key = super::key("mine", &["read"]);
    let stolen = json!({"scopes": ["read"], "hash": super::key("reader", &[])["hash"]});
    api.put("/v1/tenants/acme/keys/mine", key).await.expect(201);
    let taken = api.call("PUT", "/v1/tenants/zeta/keys/x").key("zeta-all").json(stolen).send().await;
    assert_eq!((taken.code(), taken.pointers()), ((409, "conflict"), vec!["/hash"]));
    assert!(!taken.body.to_string().contains("acme"));
}

#[tokio::test]
async fn while_the_store_is_away_reads_go_on_and_writes_are_answered_503() {
    let api = Api::new();
    api.put("/v1/tenants/acme/endpoints/crm", json!({"url": "https://a.example/"})).await.expect(201);
    api.store.set_away(true);
    api.get("/v1/tenants/acme/endpoints/crm").await.expect(200);
    for (method, path) in
        [("PUT", "endpoints/crm"), ("PATCH", "endpoints/crm"), ("DELETE", "endpoints/crm"), ("POST", "keys")]
    {
        let body = json!({"url": "https://b.example/"});
        let away = api.call(method, format!("/v1/tenants/acme/{path}")).json(body).send().await;
        assert_eq!(away.code(), (503, "unavailable"), "{method} {path}");
        assert_eq!(away.headers["retry-after"], "1");
    }
    api.store.set_away(false);
    api.delete("/v1/tenants/acme/endpoints/crm").await.expect(200);
}

#[tokio::test]
async fn a_store_of_files_is_read_and_refuses_changes() {
    let fixture = super::super::fixture::Fixture::new();
    let body = r#"{"url":"https://a.example/"}"#;
    let (status, problem) = fixture.ask("PUT", "/v1/tenants/acme/endpoints/crm", body).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("conflict")));
    assert!(problem["detail"].as_str().unwrap().contains("read only"));
    assert_eq!(fixture.ask("GET", "/v1/tenants/acme/endpoints", "").await.0, 200);
}

#[tokio::test]
async fn two_changes_at_once_do_not_lose_one() {
    let api = Arc::new(Api::new());
    api.put("/v1/tenants/acme/endpoints/crm", json!({"url": "https://a.example/"})).await.expect(201);
    let patch = |body| api.patch("/v1/tenants/acme/endpoints/crm", body);
    let (name, timeout) = tokio::join!(patch(json!({"name": "CRM"})), patch(json!({"timeout": "9s"})));
    assert_eq!((name.status, timeout.status), (200, 200));
    let shown = api.get("/v1/tenants/acme/endpoints/crm").await.body;
    assert_eq!((&shown["name"], &shown["timeout"]), (&json!("CRM"), &json!("9s")));
}
