//! Retiring secrets must satisfy the same rules as their successors.

use schemas::{RetiringHash, RetiringSecret, time::Moment};
use serde_json::{Value, json};

use super::*;

fn secret(number: usize) -> Value {
    json!(format!("whsec_{}", "QUJD".repeat(8 + number)))
}

fn retiring(number: usize) -> Value {
    json!({"secret": secret(number), "until": "2026-11-22T08:00:00Z"})
}

fn with_secrets(secrets: &[Value]) -> Vec<String> {
    with_json(&json!({"secrets": secrets}))
}

fn with_old_token(text: &str) -> SourceConfig {
    let old = RetiringSecret { secret: Secret::from(text.to_owned()), until: Moment(0) };
    SourceConfig { old_token: Some(old), ..a_source("12345678") }
}

#[test]
fn signing_secrets_begin_with_one_that_stays_and_are_not_too_many() {
    assert_eq!(with_secrets(&[secret(0), retiring(1), secret(2)]), [""; 0]);
    assert_eq!(with_secrets(&[retiring(0), secret(1)]), ["secrets"]);
    let many = |count| std::iter::once(secret(0)).chain((1..count).map(retiring)).collect::<Vec<_>>();
    assert_eq!(with_secrets(&many(10)), [""; 0]);
    assert_eq!(with_secrets(&many(11)), ["secrets"]);
}

#[test]
fn a_retiring_secret_is_as_good_as_any_other() {
    for wrong in ["***", "", "whsec_"] {
        let old = json!({"secret": wrong, "until": "2026-11-22T08:00:00Z"});
        assert_eq!(with_secrets(&[secret(0), old]), ["secrets[1].secret"], "{wrong}");
    }
    for wrong in ["***", "", "1234567", "with/slash"] {
        assert_eq!(paths(&source(&with_old_token(wrong))), ["old_token.secret"], "{wrong}");
    }
    assert_eq!(source(&with_old_token("87654321")), []);
}

#[test]
fn old_tokens_and_keys_are_as_unique_as_new_ones() {
    let key = |id: &str, text: &str, old: Option<&str>| Key {
        id: id.into(),
        name: None,
        scopes: vec![Scope::Read],
        hash: KeyHash::of(text),
        old_hash: old.map(|old| RetiringHash { hash: KeyHash::of(old), until: Moment(0) }),
    };
    let one =
        Tenant { sources: vec![with_old_token("87654321")], keys: vec![key("k", "new", Some("old"))], ..a_tenant("a") };
    let other = Tenant { sources: vec![a_source("87654321")], keys: vec![key("k", "old", None)], ..a_tenant("b") };
    let told: Vec<_> = tenants(&[one, other]).iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "tenants[1].sources[0].token: the token is already used at tenants[0].sources[0].old_token",
            "tenants[1].keys[0].hash: the key is already used at tenants[0].keys[0].old_hash",
        ]
    );
    let itself = Tenant { sources: vec![with_old_token("12345678")], ..a_tenant("a") };
    assert_eq!(paths(&tenants(&[itself])), ["tenants[0].sources[0].old_token"]);
}
