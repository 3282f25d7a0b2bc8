//! Checks secrets: they are not empty, not the mask that answers show, and have the form that their use needs. No
//! message repeats one.

use schemas::{
    Endpoint, MASK, Secret, SecretFields, SecretForm, SigningSecret, SourceConfig,
    signature::{Signature, SigningKey},
};

use super::header;
use crate::invalid_field::ValidationReport;

/// Checks every secret field that the resource type declares.
pub(super) fn check_fields<T: SecretFields>(resource: &T, report: &mut ValidationReport) {
    for field in T::SECRET_FIELDS {
        match &field.form {
            SecretForm::HeaderValue(read) => {
                if let Some(secret) = read(resource) {
                    report.key(field.name, |report| check_header_value(secret, report));
                }
            }
            SecretForm::UrlSegment(read) => {
                if let Some(secret) = read(resource) {
                    report.key(field.name, |report| check_url_segment(secret, report));
                }
            }
            SecretForm::RetiringUrlSegment(read) => {
                if let Some(retiring) = read(resource) {
                    let check = |report: &mut ValidationReport| check_url_segment(&retiring.secret, report);
                    report.key(field.name, |report| report.key("secret", check));
                }
            }
            SecretForm::Signing(read) => report.list(field.name, read(resource), |secret, report| match secret {
                SigningSecret::Lasting(secret) => check_signing_key(secret, report),
                SigningSecret::Retiring(retiring) => {
                    report.key("secret", |report| check_signing_key(&retiring.secret, report));
                }
            }),
            SecretForm::Headers(read) => report.key(field.name, |report| {
                header::check(read(resource), report);
                let secret = read(resource).iter().filter_map(|(name, text)| Some((name, text.secret()?)));
                secret.for_each(|(name, secret)| report.key(name.clone(), |report| check(secret, report)));
            }),
            // The type of a hash accepts nothing but hashes.
            SecretForm::Hash => {}
        }
    }
}

/// Refuses an empty secret and the mask: a caller that writes back what it was shown would overwrite the secret with
/// asterisks.
fn check(secret: &Secret, report: &mut ValidationReport) {
    match secret.reveal() {
        "" => report.add("is empty"),
        MASK => report.add("is the mask, not the secret: leave it out to keep what is stored"),
        _ => {}
    }
}

fn check_header_value(secret: &Secret, report: &mut ValidationReport) {
    check(secret, report);
    header::check_value(secret.reveal(), report);
}

/// Checks that a segment of a URL's path arrives as it was written.
fn check_url_segment(secret: &Secret, report: &mut ValidationReport) {
    check(secret, report);
    let token = secret.reveal();
    if token == MASK || token.is_empty() {
        return;
    }
    let (shortest, longest) = (SourceConfig::SHORTEST_TOKEN, SourceConfig::LONGEST_TOKEN);
    if !(shortest..=longest).contains(&token.len()) {
        report.add(format!("must have {shortest} to {longest} characters"));
    } else if !token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~=+@:,!$*".contains(&byte)) {
        report.add("expected letters, digits and -._~=+@:,!$*: it is part of a URL's path");
    }
}

fn check_signing_key(secret: &Secret, report: &mut ValidationReport) {
    match SigningKey::parse(secret.reveal()) {
        Err(_) if secret.reveal() == MASK => check(secret, report),
        Err(invalid) => report.add(invalid.to_string()),
        Ok(_) => {}
    }
}

/// Checks an endpoint's signing secrets together: their number, their order, and that the first one signs as the
/// endpoint asks for.
pub(super) fn check_signing(endpoint: &Endpoint, report: &mut ValidationReport) {
    let secrets = &endpoint.secrets;
    if secrets.len() > Endpoint::MAX_SECRETS {
        report.key("secrets", |report| report.add(format!("has more than {}", Endpoint::MAX_SECRETS)));
    }
    // If the newest secret expired, requests would be unsigned from then on, which no one intends.
    if secrets.first().is_some_and(|newest| newest.until().is_some()) {
        let message = "begins with one that is retiring: the newest, which stays, comes first";
        report.key("secrets", |report| report.add(message));
    }
    report.key("signature", |report| check_signature(endpoint.signature, secrets.first(), report));
}

fn check_signature(wanted: Signature, newest: Option<&SigningSecret>, report: &mut ValidationReport) {
    let newest = newest.map(|secret| SigningKey::parse(secret.secret().reveal()));
    match (wanted, newest) {
        // Without secrets nothing is signed, which is allowed for `v1`, the default. An endpoint with `v1a` asks for
        // signatures.
        (Signature::V1a, None) => report.add("v1a needs a secret whsk_…"),
        (wanted, Some(Ok(key))) if key.kind() != wanted => {
            let (own, other) = (wanted.prefix(), key.kind().prefix());
            report
                .add(format!("{wanted} needs the newest secret to be {own}…, and it is {other}…: give one, or rotate"));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use schemas::{
        Key, KeyHash, Subscription,
        secret_fields::testing::{declared, with_secrets},
    };
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;
    use crate::{InvalidField, validate};

    /// In which of the declared fields an empty text and the mask are not refused.
    fn accepted<T: SecretFields + DeserializeOwned>(
        fields: &Value,
        validate: fn(&T) -> Vec<InvalidField>,
    ) -> Vec<String> {
        let mut accepted = Vec::new();
        for text in ["", MASK] {
            let problems = validate(&with_secrets::<T>(fields, |_| text.to_owned()));
            let refused: Vec<_> = problems.iter().map(|problem| problem.path.to_string()).collect();
            let is_accepted = |name: &String| !refused.iter().any(|path| path.split(['.', '[']).next() == Some(name));
            accepted.extend(declared::<T>().into_iter().filter(is_accepted));
        }
        accepted
    }

    #[test]
    fn every_secret_field_refuses_an_empty_text_and_the_mask() {
        let endpoint = json!({"id": "crm", "url": "https://crm.example/"});
        assert_eq!(accepted::<Endpoint>(&endpoint, validate::endpoint), [""; 0]);
        assert_eq!(accepted::<SourceConfig>(&json!({"id": "main", "dialect": "whazing"}), validate::source), [""; 0]);
        let subscription = json!({"id": "all", "endpoint_id": "crm"});
        assert_eq!(accepted::<Subscription>(&subscription, validate::subscription), [""; 0]);
        // A hash is never masked, and its type refuses everything else.
        let key = json!({"id": "backend", "scopes": ["read"], "hash": String::from(KeyHash::of("k"))});
        let hashes = accepted::<Key>(&key, validate::key);
        assert!(hashes.iter().all(|name| name.ends_with("hash")), "{hashes:?}");
    }
}
