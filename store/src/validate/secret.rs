//! Secrets: never the mask that they are shown as, and of the form their use asks for. No message repeats one.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use schemas::{Endpoint, MASK, Secret, SigningSecret};

use super::header;
use crate::problem::Report;

/// Standard Webhooks 1.0: "between 24 bytes (192 bits) and 64 bytes (512 bits)".
const SIGNING_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Neither empty nor a mask: who writes back what was shown to them would overwrite the secret with asterisks.
pub(super) fn check(secret: &Secret, report: &mut Report) {
    match secret.reveal() {
        "" => report.say("is empty"),
        MASK => report.say("is the mask, not the secret: leave it out to keep what is stored"),
        _ => {}
    }
}

/// One that is sent as a header.
pub(super) fn check_sent(secret: &Secret, report: &mut Report) {
    check(secret, report);
    header::check_value(secret.reveal(), report);
}

/// All that sign, newest first.
pub(super) fn check_signing(secrets: &[SigningSecret], report: &mut Report) {
    if secrets.len() > Endpoint::MAX_SECRETS {
        report.key("secrets", |report| report.say(format!("has more than {}", Endpoint::MAX_SECRETS)));
    }
    report.list("secrets", secrets, |secret, report| match secret {
        SigningSecret::Lasting(secret) => check_signs(secret, report),
        SigningSecret::Retiring(retiring) => report.key("secret", |report| check_signs(&retiring.secret, report)),
    });
    // Else requests would be signed until a time, and unsigned from then on, which nobody means.
    if secrets.first().is_some_and(|newest| newest.until().is_some()) {
        let message = "begins with one that is retiring: the newest, which stays, comes first";
        report.key("secrets", |report| report.say(message));
    }
}

/// One that signs: `whsec_` and base64.
fn check_signs(secret: &Secret, report: &mut Report) {
    let bytes = secret.reveal().strip_prefix("whsec_").and_then(|text| BASE64_STANDARD.decode(text).ok());
    if secret.reveal() == MASK {
        check(secret, report);
    } else if !bytes.is_some_and(|bytes| SIGNING_BYTES.contains(&bytes.len())) {
        report.say("expected whsec_ and the base64 of 24 to 64 bytes");
    }
}
