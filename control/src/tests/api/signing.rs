//! Which signatures an endpoint has: its secrets, and the public key that anyone may see.

use schemas::signature::{Signature, SigningKey};
use serde_json::{Value, json};

use super::Api;

const CRM: &str = "/v1/tenants/acme/endpoints/crm";
/// The views that own an endpoint, with its id.
const VIEWS: [(&str, &str); 2] =
    [("/v1/tenants/acme/channels/7/webhook", "channel-7"), ("/v1/tenants/acme/integrations/bot", "integration-bot")];

/// The public key of the newest secret that is stored.
fn public_key(api: &Api) -> Value {
    let secret = api.tenant("acme").endpoints["crm"].secrets[0].secret().reveal().to_owned();
    SigningKey::parse(&secret).unwrap().public().into()
}

#[tokio::test]
async fn an_endpoint_that_asks_for_v1a_gets_a_private_key_and_shows_the_public_one() {
    let api = Api::new();
    let body = json!({"url": "https://a.example/", "signature": "v1a"});
    let made = api.put(CRM, body.clone()).await.expect(201).body;
    assert_eq!((&made["public_key"], made.get("secret")), (&public_key(&api), None));
    assert!(made["public_key"].as_str().unwrap().starts_with("whpk_"));
    assert!(!made.to_string().contains("whsk_"), "the private key is nobody's business");
    assert_eq!(api.get(CRM).await.body["public_key"], made["public_key"]);
    let list = api.get("/v1/tenants/acme/endpoints").await.expect(200).body;
    assert_eq!(list["items"][0]["public_key"], made["public_key"]);

    let mut sent_back = body;
    sent_back["public_key"] = made["public_key"].clone();
    assert_eq!(api.put(CRM, sent_back).await.expect(200).body["public_key"], made["public_key"], "passed over");
    api.put("/v1/tenants/acme/endpoints/bi", json!({"url": "https://a.example/"})).await.expect(201);
    assert!(api.get("/v1/tenants/acme/endpoints/bi").await.body.get("public_key").is_none(), "it has none");
}

#[tokio::test]
async fn a_rotation_may_change_the_kind_and_the_secret_before_stays_valid_beside_it() {
    let api = Api::new();
    api.put(CRM, json!({"url": "https://a.example/"})).await.expect(201);
    let refused = api.call("PATCH", CRM).json(json!({"signature": "v1a"})).send().await.expect(422).body;
    assert_eq!(refused["errors"][0]["pointer"], "/signature", "{refused}");

    let rotated = api.call("POST", format!("{CRM}/secrets/rotate")).json(json!({"signature": "v1a"})).send().await;
    let rotated = rotated.expect(200).body;
    assert_eq!((&rotated["signature"], &rotated["public_key"]), (&json!("v1a"), &public_key(&api)));
    assert!(rotated.get("secret").is_none());
    let kinds: Vec<_> = api.tenant("acme").endpoints["crm"]
        .secrets
        .iter()
        .map(|secret| SigningKey::parse(secret.secret().reveal()).unwrap().kind())
        .collect();
    assert_eq!(kinds, [Signature::V1a, Signature::V1]);
    let again = api.call("POST", format!("{CRM}/secrets/rotate")).send().await.expect(200).body;
    assert_eq!(again["signature"], "v1a", "as it was");
    assert_ne!(again["public_key"], rotated["public_key"]);
}

#[tokio::test]
async fn a_secret_that_could_not_sign_is_refused_with_its_place() {
    let api = Api::new();
    for (secrets, pointer) in [
        (json!(["whsec_QUJD"]), "/secrets/0"),
        (json!([SigningKey::write(Signature::V1, [1; 32]), "whsk_QUJD"]), "/secrets/1"),
        (json!([SigningKey::write(Signature::V1a, [1; 32])]), "/signature"),
    ] {
        let refused = api.put(CRM, json!({"url": "https://a.example/", "secrets": secrets})).await.expect(422).body;
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused}");
    }
}

#[tokio::test]
async fn a_view_that_is_made_signs_with_a_secret_that_is_shown_once() {
    let api = Api::new();
    for (view, endpoint) in VIEWS {
        let made = api.put(view, json!({"url": "https://n8n.example/"})).await.expect(201).body;
        let secret = made["secret"].as_str().expect("shown this once").to_owned();
        assert_eq!((&made["secrets"], &made["signature"]), (&json!(["***"]), &json!("v1")));
        assert_eq!(api.tenant("acme").endpoints[endpoint].secrets[0].secret().reveal(), secret);
        let again = api.put(view, json!({"url": "https://new.example/"})).await.expect(200).body;
        assert_eq!((again.get("secret"), &again["secrets"]), (None, &json!(["***"])));
        assert_eq!(api.tenant("acme").endpoints[endpoint].secrets[0].secret().reveal(), secret, "left out, it is kept");
        let mask = api.put(view, json!({"url": "https://new.example/", "secrets": ["***"]})).await;
        assert_eq!((mask.code().0, mask.pointers()), (422, vec!["/secrets/0"]));
    }
    let made = api.post("/v1/tenants/acme/integrations", json!({"url": "https://n8n.example/"})).await.expect(201).body;
    assert!(made["secret"].as_str().is_some_and(|secret| secret.starts_with("whsec_")), "{made}");
}

#[tokio::test]
async fn a_view_takes_secrets_of_ones_own_or_none() {
    let api = Api::new();
    let own = SigningKey::write(Signature::V1, [7; 32]);
    for (view, endpoint) in VIEWS {
        let made = api.put(view, json!({"url": "https://n8n.example/", "secrets": [own]})).await.expect(201).body;
        assert_eq!((made.get("secret"), &made["secrets"]), (None, &json!(["***"])));
        assert_eq!(api.tenant("acme").endpoints[endpoint].secrets[0].secret().reveal(), own);
        let unsigned = api.patch(view, json!({"secrets": []})).await.expect(200).body;
        assert!(unsigned.get("secrets").is_none() && api.tenant("acme").endpoints[endpoint].secrets.is_empty());
        api.put(view, json!({"url": "https://new.example/"})).await.expect(200);
        assert!(api.tenant("acme").endpoints[endpoint].secrets.is_empty(), "it stays unsigned");
    }
}

#[tokio::test]
async fn a_view_without_a_secret_signs_once_it_is_rotated_and_keeps_its_kind_of_signature() {
    let api = Api::new();
    for (view, endpoint) in VIEWS {
        api.put(view, json!({"url": "https://n8n.example/", "secrets": []})).await.expect(201);
        let rotate = async |body: Value| {
            let rotated = api.post(&format!("{view}/secrets/rotate"), body).await.expect(200).body;
            assert_eq!(rotated["endpoint_id"], endpoint);
            rotated
        };
        let rotated = rotate(json!({})).await;
        assert!(rotated["secret"].as_str().is_some_and(|secret| secret.starts_with("whsec_")), "{rotated}");
        let rotated = rotate(json!({"signature": "v1a", "overlap": "1h"})).await;
        assert_eq!((&rotated["signature"], rotated.get("secret")), (&json!("v1a"), None));
        assert!(rotated["public_key"].as_str().is_some_and(|key| key.starts_with("whpk_")), "{rotated}");
        assert_eq!(rotated["secrets"], json!(["***", {"secret": "***", "until": "2026-01-01T01:00:00.000Z"}]));
        let put = api.put(view, json!({"url": "https://new.example/"})).await.expect(200).body;
        assert_eq!((&put["signature"], &put["public_key"]), (&json!("v1a"), &rotated["public_key"]));
    }
}
