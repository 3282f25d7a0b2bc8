//! Usage and the audit log.

use schemas::Counts;
use serde_json::json;
use store::{UsageAndAudit as _, UsageReport};

use super::{Api, NOW};

#[tokio::test]
async fn usage_is_by_day_or_by_endpoint_and_day() {
    let api = Api::new();
    let today = &schemas::time::rfc3339(NOW)[..10];
    let from = schemas::time::day(NOW - 30 * 86_400_000);
    let report = |tenant: &str, endpoint: Option<&str>, day: &str, attempts| UsageReport {
        process: "p".into(),
        sequence: 1,
        tenant: tenant.into(),
        endpoint_id: endpoint.map(str::to_owned),
        day: day.into(),
        counts: Counts { attempts, ..Counts::default() },
    };
    let reports = vec![
        report("acme", Some("crm"), today, 2),
        report("acme", Some("bi"), today, 3),
        report("acme", Some("bi"), &from, 7),
        report("zeta", None, today, 100),
    ];
    api.store.record_usage(reports).await.unwrap();
    let days = api.get("/v1/tenants/acme/usage").await.expect(200).body;
    assert_eq!((days["items"].as_array().unwrap().len(), &days["items"][0]["attempts"]), (1, &json!(5)));
    let all = api.get(&format!("/v1/tenants/acme/usage?from={from}&by=endpoint")).await.expect(200).body;
    let rows: Vec<_> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["endpoint_id"].as_str(), row["attempts"].as_u64()))
        .collect();
    assert_eq!(rows, [(Some("bi"), Some(7)), (Some("bi"), Some(3)), (Some("crm"), Some(2))]);
    for query in [
        "from=yesterday",
        "to=2026-13-01",
        "by=month",
        "from=2020-01-01&to=2021-02-04",
        "from=2020-01-01&to=2020-02-01&by=endpoint",
    ] {
        assert_eq!(
            api.get(&format!("/v1/tenants/acme/usage?{query}")).await.code(),
            (400, "invalid_parameter"),
            "{query}"
        );
    }
}

#[tokio::test]
async fn the_audit_log_is_read_from_its_newest_entry_in_pages() {
    let api = Api::new();
    for nth in 0..5 {
        let name = json!({"name": format!("n{nth}"), "url": "https://a.example/", "n8n_api_key": "S3CRET"});
        api.put("/v1/tenants/acme/endpoints/crm", name).await;
    }
    api.call("PUT", "/v1/tenants/beta").operator().json(json!({})).send().await.expect(201);
    let (mut names, mut path) = (Vec::new(), "/v1/tenants/acme/audit?limit=2".to_owned());
    loop {
        let page = api.get(&path).await.expect(200).body;
        assert!(!page.to_string().contains("S3CRET"));
        names.extend(
            page["items"].as_array().unwrap().iter().map(|entry| entry["after"]["name"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/tenants/acme/audit?limit=2&cursor={next}");
    }
    assert_eq!(names, ["n4", "n3", "n2", "n1", "n0"]);
    let all = api.call("GET", "/v1/audit?limit=1").operator().send().await.expect(200).body;
    assert_eq!((&all["items"][0]["tenant"], &all["items"][0]["author"]), (&json!("beta"), &json!("operator")));
    api.get("/v1/audit").await.expect(403);
}

#[tokio::test]
async fn a_store_without_usage_answers_409() {
    let fixture = crate::tests::fixture::Fixture::new();
    for path in ["/v1/tenants/acme/usage", "/v1/tenants/acme/audit"] {
        let (status, problem) = fixture.ask_as(Some("reader's"), "GET", path, "").await;
        assert_eq!((status, problem["code"].as_str()), (409, Some("conflict")), "{path}");
    }
}
