//! Lists in pages.

use serde_json::json;

use super::Api;

#[tokio::test]
async fn pages_have_everything_once_in_the_order_of_ids() {
    let api = Api::new();
    for nth in (0..5).rev() {
        let path = format!("/v1/tenants/acme/endpoints/e{nth}");
        api.put(&path, json!({"url": "https://a.example/"})).await.expect(201);
    }
    let (mut seen, mut path) = (Vec::new(), "/v1/tenants/acme/endpoints?limit=2".to_owned());
    loop {
        let page = api.get(&path).await.expect(200).body;
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/tenants/acme/endpoints?limit=2&cursor={next}");
    }
    assert_eq!(seen, ["e0", "e1", "e2", "e3", "e4"]);
}

#[tokio::test]
async fn parameters_that_are_not_known_or_cannot_be_read_are_refused() {
    let api = Api::new();
    for query in ["limit=0", "limit=1001", "limit=many", "cursor=%21", "limmit=5"] {
        let answer = api.get(&format!("/v1/tenants/acme/keys?{query}")).await;
        assert_eq!(answer.code(), (400, "invalid_parameter"), "{query}");
    }
}
