//! Apply and export.

use serde_json::{Value, json};

use super::{Api, ApiAnswer, key};

async fn apply(api: &Api, body: Value) -> ApiAnswer {
    api.call("POST", "/v1/apply").operator().json(body).send().await
}

async fn export(api: &Api, query: &str) -> Value {
    api.call("GET", format!("/v1/export{query}")).operator().send().await.expect(200).body
}

fn changes(answer: &ApiAnswer) -> Vec<String> {
    let text = |change: &Value, name: &str| change[name].as_str().unwrap().to_owned();
    let line = |change: &Value| {
        format!("{} {} {}/{}", text(change, "change"), text(change, "kind"), text(change, "tenant"), text(change, "id"))
    };
    answer.body["changes"].as_array().unwrap().iter().map(line).collect()
}

/// A tenant with one of everything.
fn beta() -> Value {
    json!({"id": "beta", "name": "Beta", "quota": {"endpoints": 9},
        "endpoints": [
            {"id": "crm", "url": "https://CRM.example", "format": "whazing", "n8n_api_key": "S3CRET-1",
             "headers": {"x-plain": "p", "x-secret": {"secret": "S3CRET-2"}}, "retry": {"schedule": ["5s"], "max_age": "1h"}},
            {"id": "channel-7", "url": "https://n8n.example/"},
        ],
        "subscriptions": [{"id": "channel-7", "endpoint_id": "channel-7", "channel_ids": [7], "event_types": ["ticket.*"]}],
        "sources": [{"id": "main", "dialect": "whazing"}],
        "keys": [key("backend", &["publish"])]})
}

#[tokio::test]
async fn a_description_makes_everything_it_names_and_shows_what_was_made() {
    let api = Api::new();
    let applied = apply(&api, json!({"tenants": [beta()]})).await.expect(200);
    assert_eq!(
        changes(&applied),
        [
            "created tenant beta/beta",
            "created endpoint beta/channel-7",
            "created endpoint beta/crm",
            "created subscription beta/channel-7",
            "created source beta/main",
            "created key beta/backend",
        ]
    );
    let once: Vec<_> =
        applied.body["shown_once"].as_array().unwrap().iter().map(|one| one["field"].as_str().unwrap()).collect();
    assert_eq!(once, ["token", "path"]);
    let tenant = api.tenant("beta");
    assert!(tenant.endpoints["crm"].secrets.is_empty(), "as from a file");
    assert_eq!(tenant.endpoints["crm"].url, "https://crm.example/");
    assert_eq!(tenant.sources[0].token.reveal(), applied.body["shown_once"][0]["value"]);
}

#[tokio::test]
async fn the_same_description_again_changes_nothing_and_neither_does_an_export() {
    let api = Api::new();
    apply(&api, json!({"tenants": [beta()]})).await.expect(200);
    assert_eq!(changes(&apply(&api, json!({"tenants": [beta()]})).await), [""; 0]);
    for query in ["", "?with_secrets=true", "?tenant=beta"] {
        let mut description = export(&api, query).await;
        description["prune"] = (query != "?tenant=beta").into();
        let again = apply(&api, description).await.expect(200);
        assert_eq!(again.body, json!({"changes": [], "shown_once": []}), "{query}");
    }
    assert_eq!(api.tenant("beta").endpoints["crm"].headers["x-secret"].reveal(), "S3CRET-2");
}

#[tokio::test]
async fn an_export_says_no_more_than_need_be_and_no_secret_unless_asked() {
    let api = Api::new();
    apply(&api, json!({"tenants": [beta()]})).await.expect(200);
    let bare = export(&api, "?tenant=beta").await;
    assert!(!bare.to_string().contains("S3CRET") && !bare.to_string().contains("***"), "{bare}");
    assert_eq!(bare["tenants"][0]["endpoints"][0], json!({"id": "channel-7", "url": "https://n8n.example/"}));
    assert_eq!(bare["tenants"][0]["sources"], json!([{"id": "main", "dialect": "whazing"}]));
    let whole = export(&api, "?tenant=beta&with_secrets=true").await;
    assert_eq!(whole["tenants"][0]["endpoints"][1]["headers"]["x-secret"], json!({"secret": "S3CRET-2"}));
    let elsewhere = Api::with(json!([]));
    apply(&elsewhere, whole.clone()).await.expect(200);
    assert_eq!(export(&elsewhere, "?with_secrets=true").await, whole, "a restore is complete");
    api.call("GET", "/v1/export?tenant=nobody").operator().send().await.expect(404);
}

#[tokio::test]
async fn an_apply_that_is_bound_to_a_tenant_touches_no_other() {
    let api = Api::new();
    apply(&api, json!({"tenants": [beta()]})).await.expect(200);
    let others = ["acme", "zeta"];
    let before = others.map(|tenant| api.tenant(tenant));
    let refused = apply(&api, json!({"tenants": [beta(), {"id": "acme"}], "tenant": "beta", "prune": true})).await;
    assert_eq!((refused.code().0, refused.pointers()), (422, vec!["/tenants/1/id"]));
    apply(&api, json!({"tenants": [], "tenant": "beta", "prune": true})).await.expect(422);
    let mut smaller = beta();
    smaller["sources"] = json!([]);
    let body = json!({"tenants": [smaller], "tenant": "beta", "prune": true});
    assert_eq!(changes(&apply(&api, body).await.expect(200)), ["deleted source beta/main"]);
    assert_eq!(others.map(|tenant| api.tenant(tenant).to_tenant()), before.map(|tenant| tenant.to_tenant()));
}

#[tokio::test]
async fn a_dry_run_says_what_would_change_field_by_field_and_changes_nothing() {
    let api = Api::new();
    apply(&api, json!({"tenants": [beta()]})).await.expect(200);
    let mut other = beta();
    other["endpoints"][0]["url"] = "https://new.example/".into();
    other["endpoints"][0]["n8n_api_key"] = "S3CRET-3".into();
    other["sources"] = json!([{"id": "second", "dialect": "boticario"}]);
    let told = apply(&api, json!({"tenants": [other], "dry_run": true})).await.expect(200);
    assert_eq!(changes(&told), ["updated endpoint beta/crm", "created source beta/second"]);
    assert_eq!(told.body["changes"][0]["fields"], json!(["/url", "/n8n_api_key"]));
    assert_eq!(told.body["shown_once"], json!([]));
    assert!(!told.body.to_string().contains("S3CRET"));
    assert_eq!(api.tenant("beta").endpoints["crm"].url, "https://crm.example/");
}

#[tokio::test]
async fn only_a_prune_deletes_what_is_not_described() {
    let api = Api::new();
    apply(&api, json!({"tenants": [beta()]})).await.expect(200);
    let less =
        json!([{"id": "beta", "name": "Beta", "quota": {"endpoints": 9}, "keys": [key("backend", &["publish"])]}]);
    assert_eq!(changes(&apply(&api, json!({"tenants": less})).await), [""; 0]);
    let pruned = apply(&api, json!({"tenants": less, "prune": true})).await.expect(200);
    let gone = changes(&pruned);
    assert!(
        gone.contains(&"deleted tenant acme/acme".to_owned()) && gone.contains(&"deleted tenant zeta/zeta".to_owned())
    );
    assert!(
        gone.contains(&"deleted endpoint beta/crm".to_owned()) && gone.contains(&"deleted source beta/main".to_owned())
    );
    assert!(!gone.iter().any(|line| line.contains("key beta")), "{gone:?}");
}

#[tokio::test]
async fn a_prune_by_an_empty_description_is_refused() {
    let api = Api::new();
    for dry_run in [true, false] {
        let refused = apply(&api, json!({"tenants": [], "prune": true, "dry_run": dry_run})).await;
        assert_eq!((refused.code(), refused.pointers()), ((422, "invalid_body"), vec!["/tenants"]));
    }
    api.tenant("acme");
    assert_eq!(changes(&apply(&api, json!({"tenants": []})).await), [""; 0]);
}

#[tokio::test]
async fn what_was_unsigned_when_it_was_exported_with_secrets_is_unsigned_again() {
    let api = Api::new();
    let crm = "/v1/tenants/acme/endpoints/crm";
    api.put(crm, json!({"url": "https://a.example/", "secrets": []})).await.expect(201);
    let (whole, bare) = (export(&api, "?with_secrets=true").await, export(&api, "").await);
    api.call("POST", format!("{crm}/secrets/rotate")).send().await.expect(200);
    assert_eq!(changes(&apply(&api, bare).await), [""; 0], "without secrets, those that are stored are kept");
    assert_eq!(changes(&apply(&api, whole).await), ["updated endpoint acme/crm"]);
    assert!(api.tenant("acme").endpoints["crm"].secrets.is_empty());
}

#[tokio::test]
async fn every_mistake_is_named_where_it_stands_and_nothing_is_changed() {
    let api = Api::new();
    apply(&api, json!({"tenants": [beta()]})).await.expect(200);
    let broken = json!([
        {"id": "beta", "endpoints": [
            {"id": "new", "url": "http://127.0.0.1/"},
            {"id": "other", "urll": "https://a.example/"},
            {"id": "other", "url": "ftp://a.example/"},
            7,
        ], "subscriptions": {}},
        {"id": "gamma", "sources": [{"id": "x", "dialect": "whazing", "token": "***"}], "nmae": "Gamma"},
        "delta",
    ]);
    let refused = apply(&api, json!({"tenants": broken})).await;
    assert_eq!(refused.code(), (422, "invalid_body"));
    let pointers = refused.pointers();
    for expected in [
        "/tenants/0/subscriptions",
        "/tenants/0/endpoints/0/url",
        "/tenants/0/endpoints/1/urll",
        "/tenants/0/endpoints/3",
        "/tenants/1/nmae",
        "/tenants/2",
    ] {
        assert!(pointers.contains(&expected), "{expected}: {pointers:?}");
    }
    assert!(api.tenant("beta").endpoints.len() == 2);
}

#[tokio::test]
async fn what_is_wrong_only_together_is_named_where_it_stands_as_well() {
    let api = Api::new();
    apply(&api, json!({"tenants": [beta()]})).await.expect(200);
    let taken = json!({"id": "taken", "dialect": "whazing", "token": "one-token-for-two"});
    let broken = json!([
        {"id": "beta", "endpoints": [{"id": "a", "url": "https://a.example/"}, {"id": "a", "url": "https://b.example/"}]},
        {"id": "gamma", "subscriptions": [{"id": "s", "endpoint_id": "nobody"}], "sources": [taken]},
        {"id": "delta", "sources": [taken], "keys": [key("mine", &["read"]), {"id": "stolen", "scopes": ["read"], "hash": key("reader", &[])["hash"]}]},
    ]);
    let first = apply(&api, json!({"tenants": broken})).await;
    assert_eq!(first.pointers(), ["/tenants/0/endpoints/1/id"]);
    let rest = apply(&api, json!({"tenants": [broken[1], broken[2]]})).await;
    assert_eq!(
        rest.pointers(),
        ["/tenants/0/subscriptions/0/endpoint_id", "/tenants/1/sources/0/token", "/tenants/1/keys/1"]
    );
    let twice = apply(&api, json!({"tenants": [{"id": "gamma"}, {"id": "gamma"}]})).await;
    assert_eq!(twice.pointers(), ["/tenants/1/id"]);
    let many: Value = (0..9).map(|nth| json!({"id": format!("e{nth}"), "url": "https://a.example/"})).collect();
    let quota = apply(&api, json!({"tenants": [{"id": "beta", "quota": {"endpoints": 9}, "endpoints": many}]})).await;
    assert_eq!((quota.code(), quota.pointers()), ((422, "quota_reached"), vec!["/tenants/0"]));
}

#[tokio::test]
async fn what_clashes_with_something_that_is_not_described_is_named_with_its_place() {
    let api = Api::new();
    let source = |id: &str| json!({"id": id, "dialect": "whazing", "token": "one-token-for-two"});
    let key = |id: &str| json!({"id": id, "scopes": ["read"], "hash": key("one-key-for-two", &[])["hash"]});
    let first = json!([{"id": "beta", "sources": [source("main")], "keys": [key("backend")]}]);
    apply(&api, json!({"tenants": first})).await.expect(200);
    let plain = |id: &str| json!({"id": id, "dialect": "whazing", "token": "the-token-of-another"});
    let second = json!([{"id": "beta", "sources": [plain("other"), source("new")], "keys": [key("new")]}]);
    let refused = apply(&api, json!({"tenants": second})).await;
    assert_eq!(refused.pointers(), ["/tenants/0/sources/1/token", "/tenants/0/keys/0/hash"]);
    let message = |nth: usize| refused.body["errors"][nth]["message"].as_str().unwrap();
    assert_eq!(message(0), "the token is already used at the source main of beta, which is not described");
    assert_eq!(message(1), "the key is already used at the key backend of beta, which is not described");
    // Here the tenant that owns the token is described second. The problem is reported for the first one nevertheless.
    let third = json!([{"id": "alpha", "sources": [source("new")]}, {"id": "beta", "sources": [plain("other")]}]);
    let refused = apply(&api, json!({"tenants": third})).await;
    assert_eq!(refused.pointers(), ["/tenants/0/sources/0/token"]);
    let message = &refused.body["errors"][0]["message"];
    assert_eq!(message, "the token is already used at the source main of beta, which is not described");
}

#[tokio::test]
async fn apply_and_export_are_the_operators() {
    let api = Api::new();
    api.post("/v1/apply", json!({"tenants": []})).await.expect(403);
    api.get("/v1/export").await.expect(403);
    api.call("GET", "/v1/export").nobody().send().await.expect(401);
}
