//! The status of the installation and of a tenant, and the health of endpoints.

use broker::Broker as _;
use schemas::{
    Notice, OutcomeClass,
    process_report::{EndpointFailure, FailedAttempt, ProcessReport},
};
use serde_json::{Value, json};
use store::ItemKind;

use super::*;

const CRM: &str = "/v1/tenants/acme/endpoints/crm";

/// An API whose control follows what processes announce, and an endpoint of acme and one of zeta.
async fn listening() -> Api {
    let api = Api::new();
    let control = api.control.clone();
    tokio::spawn(async move { control.watch_fleet().await });
    // Until it listens.
    tokio::task::yield_now().await;
    for tenant in ["acme", "zeta"] {
        let path = format!("/v1/tenants/{tenant}/endpoints/crm");
        api.call("PUT", path).operator().json(json!({"url": "https://crm.example/"})).send().await.expect(201);
    }
    api
}

fn report(role: &str) -> Notice {
    let (process, roles) = (role.to_owned(), vec![role.to_owned()]);
    Notice::Process(Box::new(ProcessReport {
        process,
        roles,
        version: "1.0.0".into(),
        host: "box".into(),
        pid: 7,
        started_at: NOW,
        synced_ms_ago: Some(10),
        ..ProcessReport::default()
    }))
}

fn failing(api: &Api, tenant: &str, endpoint_id: &str) -> Notice {
    let last = FailedAttempt {
        at: NOW,
        outcome: OutcomeClass::ServerError,
        status: Some(500),
        excerpt: Some(format!("the words of {tenant}")),
    };
    let failure = EndpointFailure {
        tenant: tenant.into(),
        endpoint_id: endpoint_id.into(),
        version: api.tenant(tenant).versions.of(ItemKind::Endpoint, endpoint_id),
        since: NOW,
        failures: 3,
        last,
        last_success_at: None,
        waiting: 2,
        next_at: Some(NOW + 5_000),
        only_operational: false,
    };
    Notice::Endpoints { process: "deliverer".into(), failing: vec![failure], recovered: vec![], unnamed: Some(0) }
}

/// Asks until the answer is as expected.
async fn until(api: &Api, path: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    loop {
        let answer = api.call("GET", path).operator().send().await.expect(200).body;
        if is_it(&answer) {
            return answer;
        }
        tokio::task::yield_now().await;
    }
}

fn codes(messages: &Value) -> Vec<&str> {
    messages.as_array().unwrap().iter().map(|message| message["code"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_status_names_what_is_missing_until_it_is_announced() {
    let api = listening().await;
    let alone = api.call("GET", "/v1/status").operator().send().await.expect(200).body;
    assert_eq!((&alone["well"], &codes(&alone["problems"])[..2]), (&json!(false), &["role_missing"; 2][..]));
    for role in ["router", "deliverer"] {
        api.broker.announce(report(role).write().into());
    }
    let answer = until(&api, "/v1/status", |answer| answer["processes"].as_array().unwrap().len() == 2).await;
    assert_eq!(codes(&answer["problems"]), ["no_consumers"; 4], "they announce themselves and consume nothing");
    assert_eq!(answer["processes"][0]["host"], "box");
    let queues: Vec<_> =
        answer["queues"].as_array().unwrap().iter().map(|queue| queue["queue"].as_str().unwrap()).collect();
    assert_eq!(queues, ["ingest", "ingest.slow", "deliver.fast", "deliver.slow", "delays"]);
}

#[tokio::test]
async fn an_endpoint_shows_how_it_fails_until_it_is_changed() {
    let api = listening().await;
    assert_eq!(api.get(CRM).await.body["health"], json!({"state": "unknown"}));
    api.broker.announce(failing(&api, "acme", "crm").write().into());
    let shown = until(&api, CRM, |endpoint| endpoint["health"]["state"] == "failing").await;
    let expected = json!({
        "state": "failing", "since": "2026-01-01T00:00:00.000Z", "consecutive_failures": 3, "waiting": 2,
        "last_error": {"at": "2026-01-01T00:00:00.000Z", "outcome": "5xx", "status": 500, "excerpt": "the words of acme"},
        "next_attempt_at": "2026-01-01T00:00:05.000Z",
    });
    assert_eq!(shown["health"], expected);
    assert_eq!(api.get("/v1/tenants/acme/endpoints").await.body["items"][0]["health"], expected);
    // A body may repeat what was shown, but for the mask of a secret.
    let mut body = shown;
    body.as_object_mut().unwrap().remove("secrets");
    api.put(CRM, body).await.expect(200);
    assert_eq!(api.get(CRM).await.body["health"]["state"], "failing", "nothing was changed");
    api.patch(CRM, json!({"url": "https://other.example/"})).await.expect(200);
    assert_eq!(api.get(CRM).await.body["health"], json!({"state": "unknown"}));
}

#[tokio::test]
async fn a_channel_and_an_integration_show_the_health_of_their_endpoints() {
    let api = listening().await;
    for (path, endpoint_id) in
        [("/v1/tenants/acme/channels/4/webhook", "channel-4"), ("/v1/tenants/acme/integrations/bot", "integration-bot")]
    {
        api.put(path, json!({"url": "https://n8n.example/"})).await.expect(201);
        assert_eq!(api.get(path).await.body["health"], json!({"state": "unknown"}));
        api.broker.announce(failing(&api, "acme", endpoint_id).write().into());
        let mut shown = until(&api, path, |view| view["health"]["state"] == "failing").await;
        assert_eq!(shown["health"]["last_error"]["status"], 500);
        shown.as_object_mut().unwrap().remove("secrets");
        api.put(path, shown).await.expect(200);
    }
}

#[tokio::test]
async fn a_tenants_status_has_its_own_endpoints_only() {
    let api = listening().await;
    for tenant in ["acme", "zeta"] {
        api.broker.announce(failing(&api, tenant, "crm").write().into());
    }
    let all = until(&api, "/v1/status?limit=1", |answer| answer["endpoints"]["failing"] == 2).await;
    assert_eq!((&all["endpoints"]["tenants"], all["endpoints"]["items"].as_array().unwrap().len()), (&json!(2), 1));
    assert_eq!(codes(&all["notices"]), ["endpoints_failing"]);
    let own = api.call("GET", "/v1/tenants/acme/status").key("reader").send().await.expect(200).body;
    assert_eq!((&all["endpoints"]["paused"], &own["endpoints"]["paused"]), (&json!(0), &json!(0)));
    assert_eq!((&own["well"], codes(&own["problems"])), (&json!(false), vec!["endpoints_failing"]));
    assert!(own["endpoints"]["failing"] == 1 && !own.to_string().contains("zeta"), "{own}");
    api.call("GET", "/v1/tenants/acme/status").key("zeta-all").send().await.expect(404);
    api.call("GET", "/v1/status").key("reader").send().await.expect(403);
    api.call("POST", "/v1/tenants/zeta/endpoints/crm/pause").key("zeta-all").send().await.expect(200);
    let all = api.call("GET", "/v1/status").operator().send().await.expect(200).body;
    assert_eq!(
        (&all["endpoints"]["failing"], &all["endpoints"]["paused"]),
        (&json!(1), &json!(1)),
        "it gets nothing now"
    );
    assert_eq!(codes(&all["notices"]), ["endpoints_failing", "endpoints_paused"]);
    let own = api.call("GET", "/v1/tenants/acme/status").key("reader").send().await.expect(200).body;
    assert_eq!(own["endpoints"]["paused"], 0, "another tenant's is not counted");
    let wrong = api.call("GET", "/v1/status?limit=0").operator().send().await.expect(400);
    assert_eq!(wrong.body["detail"], "limit: expected a whole number from 1 to 1000");
}
