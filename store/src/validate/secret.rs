//! Secrets: never the mask that they are shown as, and of the form their use asks for. No message repeats one.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use schemas::{MASK, Secret};

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

/// One that signs: `whsec_` and base64.
pub(super) fn check_signing(secret: &Secret, report: &mut Report) {
    let bytes = secret.reveal().strip_prefix("whsec_").and_then(|text| BASE64_STANDARD.decode(text).ok());
    if secret.reveal() == MASK {
        check(secret, report);
    } else if !bytes.is_some_and(|bytes| SIGNING_BYTES.contains(&bytes.len())) {
        report.say("expected whsec_ and the base64 of 24 to 64 bytes");
    }
}
