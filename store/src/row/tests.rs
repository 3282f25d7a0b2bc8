//! Items are written, and read again as they were.

use schemas::{
    Tenant,
    secret_fields::testing::{CANARY, with_canaries},
};

use super::*;
use crate::edit::items;

fn acme() -> Tenant {
    let acme = json!({"id": "acme", "name": "Acme", "quota": {"events_per_second": 0.5},
        "endpoints": [
            {"id": "crm", "url": "https://crm.example/", "n8n_api_key": "S3CRET-n8n", "secrets": ["S3CRET-1", {"secret": "S3CRET-2", "until": "2026-11-22T08:00:00Z"}],
             "headers": {"x-a": "shown", "x-b": {"secret": "S3CRET-header"}}, "retry": {"schedule": ["5s"], "max_age": "72h"}},
            {"id": "plain", "url": "http://bi.example/", "rate_limit": {"per_second": 1.5}}],
        "subscriptions": [{"id": "all", "endpoint_id": "crm", "event_types": ["*"], "channel_ids": [7, "a"], "queue_ids": []}],
        "sources": [{"id": "main", "dialect": "whazing", "token": "S3CRET-token", "old_token": {"secret": "S3CRET-old", "until": "2026-11-22T08:00:00Z"}, "channel_id": 7, "n8n_api_key": "S3CRET-in"}],
        "keys": [{"id": "backend", "scopes": ["read"],
            "hash": "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"}]});
    serde_json::from_value(acme).unwrap()
}

fn keyring(text: &str) -> Keyring {
    Keyring::new(&text.to_owned().into(), []).unwrap()
}

fn added(item: Item) -> ItemChange {
    ItemChange {
        tenant: "acme".into(),
        kind: item.kind(),
        id: item.id().into(),
        before: None,
        after: Some(item),
        created: None,
    }
}

#[test]
fn every_kind_is_read_as_it_was_written_and_its_body_shows_no_secret() {
    let keyring = keyring("a key of many characters");
    let mut kinds = std::collections::BTreeSet::new();
    for item in items(&acme()) {
        let row = ItemRow::of(&added(item.clone()), 7, &keyring).unwrap();
        let body = row.body.clone().unwrap();
        // A mask in the body would be a secret that was not taken out, and is lost.
        assert!(!body.contains("S3CRET") && !body.contains(schemas::MASK), "{body}");
        let read = row.read(&keyring).unwrap();
        let version = ItemVersion { changed: 7, created: 7 };
        assert_eq!((read.tenant.as_str(), read.version, read.item), ("acme", version, Some(item.clone())));
        kinds.insert(item.kind());
    }
    assert_eq!(kinds.len(), ItemKind::ALL.len());
}

#[test]
fn what_is_gone_has_a_row_without_a_body() {
    let keyring = keyring("a key of many characters");
    let item = items(&acme()).remove(1);
    let change = ItemChange { after: None, before: Some(item.clone()), ..added(item) };
    let row = ItemRow::of(&change, 8, &keyring).unwrap();
    assert_eq!((&row.body, &row.sealed), (&None, &None));
    assert!(row.read(&keyring).unwrap().item.is_none());
}

#[test]
fn secrets_are_read_with_their_key_in_their_row_only() {
    let (right, wrong) = (keyring("a key of many characters"), keyring("a key of other characters"));
    let row = ItemRow::of(&added(items(&acme()).remove(1)), 7, &right).unwrap();
    let error = row.clone().read(&wrong).unwrap_err();
    assert!(error.to_string().contains("store.encryption_key"), "{error}");
    let moved = ItemRow { tenant: "beta".into(), ..row };
    assert!(matches!(moved.read(&right), Err(RowError::Sealed { source: UnsealError::Damaged, .. })));
}

#[test]
fn a_row_of_an_unknown_kind_or_form_is_named_and_not_quoted() {
    let keyring = keyring("a key of many characters");
    let row = ItemRow::of(&added(items(&acme()).remove(1)), 7, &keyring).unwrap();
    let strange = ItemRow { kind: "fax".into(), sealed: None, ..row.clone() };
    assert!(matches!(strange.read(&keyring), Err(RowError::Strange { .. })));
    let broken = ItemRow { body: Some(r#"{"id":"crm","colour":1}"#.into()), sealed: None, ..row };
    let error = broken.read(&keyring).unwrap_err().to_string();
    assert!(error.contains("acme/endpoint/crm") && error.contains("colour"), "{error}");
}

#[test]
fn every_secret_field_is_sealed_and_read_again() {
    fn check<T: SecretFields + DeserializeOwned>(fields: &Value, item: impl Fn(T) -> Item) {
        let keyring = keyring("a key of many characters");
        let item = item(with_canaries::<T>(fields));
        let row = ItemRow::of(&added(item.clone()), 7, &keyring).unwrap();
        let body = row.body.clone().unwrap();
        assert!(!body.contains(CANARY) && !body.contains(schemas::MASK), "{body}");
        assert_eq!(row.read(&keyring).unwrap().item, Some(item));
    }
    check(&json!({"id": "crm", "url": "https://crm.example/"}), |endpoint| Item::Endpoint(Box::new(endpoint)));
    check(&json!({"id": "main", "dialect": "whazing"}), |source| Item::Source(Box::new(source)));
    let hash = String::from(schemas::KeyHash::of("k"));
    check(&json!({"id": "backend", "scopes": ["read"], "hash": hash}), |key| Item::Key(Box::new(key)));
    check(&json!({"id": "all", "endpoint_id": "crm"}), |one| Item::Subscription(Box::new(one)));
}

#[test]
fn secrets_that_were_sealed_before_fields_were_declared_are_still_read() {
    let sealed = r#"{"n8n_api_key":"k","secrets":["a",{"secret":"b","until":"2026-11-22T08:00:00.000Z"}],"headers":{"x-b":"h"}}"#;
    let body = r#"{"id":"crm","url":"https://crm.example/","headers":{"x-a":"shown"}}"#;
    let Item::Endpoint(endpoint) =
        join_secrets(ItemKind::Endpoint, body, serde_json::from_str(sealed).unwrap()).unwrap()
    else {
        panic!("an endpoint")
    };
    let revealed = json!(endpoint.reveal());
    assert_eq!(revealed["headers"], json!({"x-a": "shown", "x-b": {"secret": "h"}}));
    assert_eq!(revealed["n8n_api_key"], "k");
    assert_eq!(revealed["secrets"], json!(["a", {"secret": "b", "until": "2026-11-22T08:00:00.000Z"}]));
    let sealed = r#"{"token":"t","old_token":{"secret":"o","until":"2026-11-22T08:00:00.000Z"},"n8n_api_key":"k"}"#;
    let body = r#"{"id":"main","dialect":"whazing"}"#;
    let Item::Source(source) = join_secrets(ItemKind::Source, body, serde_json::from_str(sealed).unwrap()).unwrap()
    else {
        panic!("a source")
    };
    assert_eq!(
        serde_json::to_value(split_secrets(&Item::Source(source)).1).unwrap(),
        serde_json::from_str::<Value>(sealed).unwrap()
    );
}
