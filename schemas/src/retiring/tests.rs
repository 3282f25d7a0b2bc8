//! What a rotation leaves valid, and until when.

use super::*;

/// 2026-11-21T08:00:00Z.
const NOW: u64 = 1_795_248_000_000;
const HOUR: u64 = 3_600_000;

fn rotation(now: u64, hours: u64) -> Rotation {
    Rotation { now, overlap: Span::hours(hours) }
}

fn secret(text: &str) -> Secret {
    text.to_owned().into()
}

fn source() -> SourceConfig {
    serde_json::from_value(json!({"id": "main", "dialect": "whazing", "token": "S3CRET-1"})).unwrap()
}

fn endpoint(secrets: &Value) -> Endpoint {
    serde_json::from_value(json!({"id": "crm", "url": "https://crm.example/", "secrets": secrets})).unwrap()
}

fn signing(endpoint: &Endpoint, now: u64) -> Vec<&str> {
    endpoint.signing_secrets(now).map(Secret::reveal).collect()
}

#[test]
fn a_token_stays_until_its_overlap_is_over_and_only_the_newest_does() {
    let mut source = source();
    source.rotate(secret("S3CRET-2"), rotation(NOW, 24));
    let old = RetiringSecret { secret: secret("S3CRET-1"), until: Moment(NOW + 24 * HOUR) };
    assert_eq!((source.token.reveal(), &source.old_token), ("S3CRET-2", &Some(old)));

    source.rotate(secret("S3CRET-3"), rotation(NOW + HOUR, 1));
    let old = RetiringSecret { secret: secret("S3CRET-2"), until: Moment(NOW + 2 * HOUR) };
    assert_eq!((source.token.reveal(), &source.old_token), ("S3CRET-3", &Some(old)));

    source.forget_ended(NOW + 2 * HOUR - 1);
    assert!(source.old_token.is_some());
    source.forget_ended(NOW + 2 * HOUR);
    assert_eq!(source.old_token, None);
}

#[test]
fn without_an_overlap_what_was_before_ends_at_once() {
    let mut source = source();
    source.rotate(secret("S3CRET-2"), rotation(NOW, 24));
    source.rotate(secret("S3CRET-3"), rotation(NOW, 0));
    assert_eq!((source.token.reveal(), &source.old_token), ("S3CRET-3", &None));

    let mut endpoint = endpoint(&json!(["S3CRET-2", {"secret": "S3CRET-1", "until": "2026-11-22T00:00:00Z"}]));
    endpoint.rotate(secret("S3CRET-3"), rotation(NOW, 0));
    assert_eq!(endpoint.secrets, [SigningSecret::from("S3CRET-3".to_owned())]);
}

#[test]
fn a_keys_hash_stays_as_a_token_does() {
    let hash = String::from(KeyHash::of("1"));
    let mut key: Key = serde_json::from_value(json!({"id": "k", "scopes": ["read"], "hash": hash})).unwrap();
    key.rotate(KeyHash::of("2"), rotation(NOW, 1));
    key.rotate(KeyHash::of("3"), rotation(NOW, 2));
    let old = RetiringHash { hash: KeyHash::of("2"), until: Moment(NOW + 2 * HOUR) };
    assert_eq!((key.hash, key.old_hash), (KeyHash::of("3"), Some(old)));
    key.forget_ended(NOW + 2 * HOUR);
    assert_eq!(key.old_hash, None);
}

#[test]
fn all_signing_secrets_that_have_not_ended_sign_the_newest_first() {
    let mut endpoint = endpoint(&json!(["1", "0"]));
    endpoint.rotate(secret("2"), rotation(NOW, 24));
    endpoint.rotate(secret("3"), rotation(NOW + HOUR, 1));
    assert_eq!(signing(&endpoint, NOW + HOUR), ["3", "2", "1", "0"]);
    assert_eq!(signing(&endpoint, NOW + 2 * HOUR), ["3", "1", "0"], "who was promised longer gets it");
    assert_eq!(signing(&endpoint, NOW + 24 * HOUR), ["3"]);
    assert_eq!(endpoint.secrets.len(), 4, "nothing has to be written for it");

    endpoint.rotate(secret("4"), rotation(NOW + 24 * HOUR, 1));
    assert_eq!(endpoint.secrets.len(), 2, "what has ended is forgotten with the next rotation");
}

#[test]
fn signing_secrets_do_not_pile_up() {
    let mut endpoint = endpoint(&json!([]));
    for number in 0..20 {
        endpoint.rotate(secret(&number.to_string()), rotation(NOW, 1));
    }
    let newest: Vec<_> = (10..20).rev().map(|number: u32| number.to_string()).collect();
    assert_eq!(signing(&endpoint, NOW), newest);
}

#[test]
fn a_retiring_secret_is_written_with_its_time_and_without_its_text() {
    let secrets = json!(["S3CRET-2", {"secret": "S3CRET-1", "until": "2026-11-22T08:00:00Z"}]);
    let endpoint = endpoint(&secrets);
    let shown = json!(["***", {"secret": "***", "until": "2026-11-22T08:00:00.000Z"}]);
    assert_eq!(serde_json::to_value(&endpoint.secrets).unwrap(), shown);
    assert!(!format!("{endpoint:?}").contains("S3CRET"));
    let revealed: Vec<_> = endpoint.secrets.iter().map(SigningSecret::reveal).collect();
    assert_eq!(serde_json::from_value::<Vec<SigningSecret>>(revealed.into()).unwrap(), endpoint.secrets);
}

#[test]
fn a_text_that_is_no_signing_secret_is_refused() {
    for wrong in [
        json!(7),
        json!({"secret": "s"}),
        json!({"secret": "s", "until": 7}),
        json!({"secret": "s", "until": "2026-11-22T08:00:00Z", "x": 1}),
    ] {
        assert!(serde_json::from_value::<SigningSecret>(wrong.clone()).is_err(), "{wrong}");
    }
}
