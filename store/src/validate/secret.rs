//! Secrets: never the mask that they are shown as, and of the form their use asks for. No message repeats one.

use schemas::{
    Endpoint, MASK, Secret, SigningSecret,
    signature::{Signature, SigningKey},
};

use super::header;
use crate::invalid_field::ValidationReport;

/// Neither empty nor a mask: who writes back what was shown to them would overwrite the secret with asterisks.
pub(super) fn check(secret: &Secret, report: &mut ValidationReport) {
    match secret.reveal() {
        "" => report.add("is empty"),
        MASK => report.add("is the mask, not the secret: leave it out to keep what is stored"),
        _ => {}
    }
}

/// One that is sent as a header.
pub(super) fn check_sent(secret: &Secret, report: &mut ValidationReport) {
    check(secret, report);
    header::check_value(secret.reveal(), report);
}

/// All that sign, newest first, and that the newest does so as the endpoint asks for.
pub(super) fn check_signing(endpoint: &Endpoint, report: &mut ValidationReport) {
    let secrets = &endpoint.secrets;
    if secrets.len() > Endpoint::MAX_SECRETS {
        report.key("secrets", |report| report.add(format!("has more than {}", Endpoint::MAX_SECRETS)));
    }
    report.list("secrets", secrets, |secret, report| match secret {
        SigningSecret::Lasting(secret) => check_signs(secret, report),
        SigningSecret::Retiring(retiring) => report.key("secret", |report| check_signs(&retiring.secret, report)),
    });
    // Else requests would be signed until a time, and unsigned from then on, which nobody means.
    if secrets.first().is_some_and(|newest| newest.until().is_some()) {
        let message = "begins with one that is retiring: the newest, which stays, comes first";
        report.key("secrets", |report| report.add(message));
    }
    report.key("signature", |report| check_kind(endpoint.signature, secrets.first(), report));
}

/// One that signs. No message repeats it.
fn check_signs(secret: &Secret, report: &mut ValidationReport) {
    match SigningKey::parse(secret.reveal()) {
        Err(_) if secret.reveal() == MASK => check(secret, report),
        Err(invalid) => report.add(invalid.to_string()),
        Ok(_) => {}
    }
}

fn check_kind(kind: Signature, newest: Option<&SigningSecret>, report: &mut ValidationReport) {
    let newest = newest.map(|secret| SigningKey::parse(secret.secret().reveal()));
    match (kind, newest) {
        // Whoever leaves the secrets out wants no signature, which `v1` is by default; nobody says `v1a` for that.
        (Signature::V1a, None) => report.add("v1a needs a secret whsk_…"),
        (kind, Some(Ok(key))) if key.kind() != kind => {
            let (own, other) = (kind.prefix(), key.kind().prefix());
            report.add(format!("{kind} needs the newest secret to be {own}…, and it is {other}…: give one, or rotate"));
        }
        _ => {}
    }
}
