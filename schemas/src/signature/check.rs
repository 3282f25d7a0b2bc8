//! What a receiver checks of a request: the three headers, the time, the signature.

use super::{ID_HEADER, SIGNATURE_HEADER, Signed, TIMESTAMP_HEADER, VerifyingKey};

/// Seconds that a request may be early or late, as the official libraries have it: older ones may be somebody's replay.
pub const TOLERANCE: u64 = 5 * 60;

/// Why a request is not to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// A header is not there.
    #[error("missing header {0}")]
    Missing(&'static str),
    /// The timestamp is no number of seconds.
    #[error("the timestamp cannot be read")]
    Timestamp,
    /// The timestamp is more than the tolerance before now.
    #[error("too old: sent {0} s ago")]
    TooOld(u64),
    /// The timestamp is more than the tolerance after now.
    #[error("from the future: {0} s ahead of this clock")]
    TooEarly(u64),
    /// No signature is by any of the keys, over what arrived.
    #[error("bad signature")]
    Signature,
}

/// Checks a request as it arrived: `header` looks one up, `now` is unix seconds. One key that verifies is enough, since
/// two are valid while a secret is rotated.
///
/// # Errors
/// Why it is not to be trusted.
pub fn check<'a>(
    keys: &[VerifyingKey],
    header: impl Fn(&str) -> Option<&'a str>,
    body: &'a [u8],
    now: u64,
) -> Result<(), Unverified> {
    let find = |name: &'static str| header(name).filter(|text| !text.is_empty()).ok_or(Unverified::Missing(name));
    let (id, timestamp, signatures) = (find(ID_HEADER)?, find(TIMESTAMP_HEADER)?, find(SIGNATURE_HEADER)?);
    let sent: u64 = timestamp.parse().map_err(|_| Unverified::Timestamp)?;
    if now.saturating_sub(sent) > TOLERANCE {
        return Err(Unverified::TooOld(now - sent));
    }
    if sent.saturating_sub(now) > TOLERANCE {
        return Err(Unverified::TooEarly(sent - now));
    }
    let signed = Signed { id, timestamp, body };
    let is_verified = keys.iter().any(|key| key.verify(&signed, signatures));
    if is_verified { Ok(()) } else { Err(Unverified::Signature) }
}
