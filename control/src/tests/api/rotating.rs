//! Tokens, keys and signing secrets get successors, and stay valid beside them as long as is asked for.

use serde_json::{Value, json};

use super::Api;

const SOURCE: &str = "/v1/tenants/acme/sources/main";
const READER: &str = "/v1/tenants/acme/keys/reader";
const CRM: &str = "/v1/tenants/acme/endpoints/crm";
/// A day after the clock's beginning.
const TOMORROW: &str = "2026-01-02T00:00:00.000Z";

/// An API with one of everything that can be rotated, and the source's token.
async fn with_everything() -> (Api, String) {
    let api = Api::new();
    let source = api.put(SOURCE, json!({"dialect": "whazing"})).await.expect(201).body;
    api.put(CRM, json!({"url": "https://a.example/"})).await.expect(201);
    (api, source["token"].as_str().unwrap().to_owned())
}

async fn rotate(api: &Api, path: &str, body: Value) -> Value {
    api.post(&format!("{path}/rotate"), body).await.expect(200).body
}

fn source_of(api: &Api, token: &Value) -> Option<String> {
    let snapshot = store::Store::snapshot(&*api.store).unwrap();
    snapshot.source(token.as_str().unwrap(), api.now()).map(|found| found.source.id.clone())
}

#[tokio::test]
async fn the_token_before_leads_to_its_source_for_a_day_and_the_new_one_is_shown_once() {
    let (api, first) = with_everything().await;
    let rotated = rotate(&api, &format!("{SOURCE}/token"), json!({})).await;
    assert_eq!(rotated["path"], format!("/v1/in/{}", rotated["token"].as_str().unwrap()));
    let retiring = json!({"secret": "***", "until": TOMORROW});
    assert_eq!((&rotated["old_token"], &api.get(SOURCE).await.body["old_token"]), (&retiring, &retiring));
    assert_eq!(api.get(SOURCE).await.body["token"], "***");
    for (hours, valid) in [(0, true), (23, true), (1, false)] {
        api.pass(hours);
        assert_eq!(source_of(&api, &json!(first)).is_some(), valid);
        assert_eq!(source_of(&api, &rotated["token"]).as_deref(), Some("main"));
    }
}

#[tokio::test]
async fn a_token_that_is_rotated_again_leaves_the_newest_before_it_and_without_an_overlap_none() {
    let (api, first) = with_everything().await;
    let second = rotate(&api, &format!("{SOURCE}/token"), json!({"overlap": "2d"})).await;
    let third = rotate(&api, &format!("{SOURCE}/token"), json!({"overlap": "1h"})).await;
    let valid = |token: &Value| source_of(&api, token).is_some();
    assert_eq!([&json!(first), &second["token"], &third["token"]].map(valid), [false, true, true]);
    let fourth = rotate(&api, &format!("{SOURCE}/token"), json!({"overlap": "0s"})).await;
    assert_eq!([&second["token"], &third["token"], &fourth["token"]].map(valid), [false, false, true]);
    assert!(fourth.get("old_token").is_none());
}

#[tokio::test]
async fn a_key_acts_beside_its_successor_until_it_ends() {
    let (api, _) = with_everything().await;
    let new = rotate(&api, READER, json!({"overlap": "2h"})).await["key"].as_str().unwrap().to_owned();
    for (hours, old) in [(0, 200), (1, 200), (1, 401)] {
        api.pass(hours);
        api.call("GET", "/v1/tenants/acme").key("reader").send().await.expect(old);
        api.call("GET", "/v1/tenants/acme").key(&new).send().await.expect(200);
        let operators = if old == 200 { 403 } else { 401 };
        api.call("GET", "/v1/tenants").key("reader").send().await.expect(operators);
    }
    let more = api.call("POST", "/v1/tenants/acme/keys/publisher/rotate").send().await;
    assert_eq!(more.code(), (403, "forbidden"), "a manager could make itself a publisher so");
}

#[tokio::test]
async fn requests_are_signed_with_all_secrets_that_have_not_ended() {
    let (api, _) = with_everything().await;
    let path = format!("{CRM}/secrets");
    let second = rotate(&api, &path, json!({})).await["secret"].as_str().unwrap().to_owned();
    let third = rotate(&api, &path, json!({"overlap": "1h"})).await["secret"].as_str().unwrap().to_owned();
    let retiring = |until: &str| json!({"secret": "***", "until": until});
    let shown = json!(["***", retiring("2026-01-01T01:00:00.000Z"), retiring(TOMORROW)]);
    assert_eq!(api.get(CRM).await.body["secrets"], shown);
    let signing = |api: &Api| -> Vec<String> {
        let endpoint = api.tenant("acme").endpoints["crm"].clone();
        endpoint.signing_secrets(api.now()).map(|secret| secret.reveal().to_owned()).collect()
    };
    assert_eq!((&signing(&api)[..2], signing(&api).len()), (&[third.clone(), second][..], 3));
    api.pass(24);
    assert_eq!(signing(&api), std::slice::from_ref(&third));
    let newest = rotate(&api, &path, json!({"overlap": "0s"})).await;
    assert_eq!((signing(&api), &newest["secrets"]), (vec![newest["secret"].as_str().unwrap().into()], &json!(["***"])));
}

#[tokio::test]
async fn an_overlap_that_is_none_is_named() {
    let (api, token) = with_everything().await;
    for path in [format!("{SOURCE}/token"), READER.to_owned(), format!("{CRM}/secrets")] {
        for overlap in [json!("31d"), json!("a day"), json!(24), json!("-1h")] {
            let refused = api.post(&format!("{path}/rotate"), json!({"overlap": overlap})).await;
            assert_eq!((refused.code(), refused.pointers()), ((422, "invalid_body"), vec!["/overlap"]), "{overlap}");
        }
        let refused = api.post(&format!("{path}/rotate"), json!({"overlapp": "1h"})).await;
        assert_eq!(refused.pointers(), ["/overlapp"]);
        api.post(&format!("{path}/rotate"), json!({"overlap": "30d"})).await.expect(200);
    }
    assert!(source_of(&api, &json!(token)).is_some());
}

#[tokio::test]
async fn what_is_retiring_is_kept_by_a_put_that_leaves_it_out_and_removed_by_null() {
    let (api, first) = with_everything().await;
    rotate(&api, &format!("{SOURCE}/token"), json!({})).await;
    rotate(&api, READER, json!({})).await;
    api.put(SOURCE, json!({"dialect": "whazing", "name": "Main"})).await.expect(200);
    api.put(READER, json!({"scopes": ["read"], "name": "Reader"})).await.expect(200);
    assert!(source_of(&api, &json!(first)).is_some());
    api.call("GET", "/v1/tenants/acme").key("reader").send().await.expect(200);

    let mut shown = api.get(SOURCE).await.body;
    shown.as_object_mut().unwrap().shift_remove("token");
    assert_eq!(api.put(SOURCE, shown).await.pointers(), ["/old_token/secret"], "a mask is no secret");
    let longer = json!({"old_token": {"until": "2026-01-03T00:00:00Z"}});
    api.patch(SOURCE, longer).await.expect(200);
    assert_eq!(api.tenant("acme").sources[0].old_token.as_ref().unwrap().secret.reveal(), first);

    api.put(SOURCE, json!({"dialect": "whazing", "old_token": null})).await.expect(200);
    api.patch(READER, json!({"old_hash": null})).await.expect(200);
    assert_eq!(source_of(&api, &json!(first)), None);
    api.call("GET", "/v1/tenants/acme").key("reader").send().await.expect(401);
}

#[tokio::test]
async fn what_has_ended_is_not_in_the_answer_to_the_change_that_forgets_it() {
    let (api, _) = with_everything().await;
    rotate(&api, &format!("{SOURCE}/token"), json!({})).await;
    rotate(&api, &format!("{CRM}/secrets"), json!({})).await;
    api.pass(24);
    assert!(api.get(SOURCE).await.body.get("old_token").is_some(), "nothing was written when it ended");
    let renamed = api.patch(SOURCE, json!({"name": "Main"})).await.expect(200).body;
    assert_eq!(renamed, api.get(SOURCE).await.body);
    assert!(renamed.get("old_token").is_none());
    let disabled = api.call("POST", format!("{CRM}/disable")).send().await.expect(200).body;
    let mut shown = api.get(CRM).await.body;
    // Only a look at an endpoint observes it.
    assert_eq!(shown.as_object_mut().unwrap().remove("health"), Some(json!({"state": "unknown"})));
    assert_eq!((&disabled, &disabled["secrets"]), (&shown, &json!(["***"])));
}

#[tokio::test]
async fn a_token_that_is_retiring_elsewhere_is_not_given_away() {
    let (api, first) = with_everything().await;
    rotate(&api, &format!("{SOURCE}/token"), json!({})).await;
    let taken = api.put("/v1/tenants/acme/sources/other", json!({"dialect": "whazing", "token": first})).await;
    assert_eq!(taken.code(), (409, "conflict"));
    let other = json!({"dialect": "whazing", "token": "another-token",
        "old_token": {"secret": first, "until": TOMORROW}});
    assert_eq!(api.put("/v1/tenants/acme/sources/other", other).await.code(), (409, "conflict"));
}

#[tokio::test]
async fn a_description_keeps_what_is_retiring_and_an_export_hides_its_secrets() {
    let (api, first) = with_everything().await;
    for path in [format!("{SOURCE}/token"), READER.to_owned(), format!("{CRM}/secrets")] {
        rotate(&api, &path, json!({})).await;
    }
    api.pass(25);
    for (query, shows) in [("", false), ("?with_secrets=true", true)] {
        let exported = api.call("GET", format!("/v1/export{query}")).operator().send().await.expect(200).body;
        assert_eq!(exported.to_string().contains(&first), shows);
        assert!(!exported.to_string().contains("***"), "{exported}");
        let applied = api.call("POST", "/v1/apply").operator().json(exported).send().await.expect(200).body;
        assert_eq!(applied["changes"], json!([]), "also when it has ended");
    }
    assert!(api.tenant("acme").sources[0].old_token.is_some());
}

#[tokio::test]
async fn the_audit_log_has_no_secret_of_a_rotation() {
    let (api, first) = with_everything().await;
    rotate(&api, &format!("{SOURCE}/token"), json!({})).await;
    let log = api.get("/v1/tenants/acme/audit").await.expect(200).body;
    assert_eq!(log["items"][0]["after"]["old_token"], json!({"secret": "***", "until": TOMORROW}));
    assert!(!log.to_string().contains(&first));
}
