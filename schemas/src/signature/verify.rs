//! A receiver's checks of a request: its signature, its time and its three headers.

use std::fmt;

use ring::{hmac, signature};

use super::{
    ID_HEADER, PUBLIC_PREFIX, SEED_BYTES, SIGNATURE_HEADER, Signature, Signed, SigningKey, TIMESTAMP_HEADER,
    sign::decode,
};

/// A key that verifies requests: a secret `whsec_…`, or a public key `whpk_…`.
#[derive(Clone)]
pub enum VerifyingKey {
    Symmetric(hmac::Key),
    Public([u8; SEED_BYTES]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a secret whsec_… or a public key whpk_…, as the endpoint has it")]
pub struct InvalidVerifyingKey;

impl VerifyingKey {
    /// Reads a receiver's key. Fails for a private key, which receivers should not have.
    pub fn parse(text: &str) -> Result<Self, InvalidVerifyingKey> {
        if let Some(text) = text.strip_prefix(PUBLIC_PREFIX) {
            let bytes = decode(text).and_then(|bytes| bytes.try_into().ok());
            return bytes.map(Self::Public).ok_or(InvalidVerifyingKey);
        }
        match SigningKey::parse(text) {
            Ok(SigningKey::Symmetric(key)) => Ok(Self::Symmetric(key)),
            Ok(SigningKey::Private(_)) | Err(_) => Err(InvalidVerifyingKey),
        }
    }

    /// True when this key made one of the signatures. Compares in constant time.
    pub fn verify(&self, signed: &Signed<'_>, signatures: &str) -> bool {
        let message = signed.pieces().concat();
        let mut of_its_kind = signatures
            .split(' ')
            .filter_map(|signature| signature.split_once(','))
            .filter_map(|(kind, signature)| (kind == self.kind().as_str()).then(|| decode(signature)).flatten());
        of_its_kind.any(|signature| match self {
            Self::Symmetric(key) => hmac::verify(key, &message, &signature).is_ok(),
            Self::Public(key) => {
                signature::UnparsedPublicKey::new(&signature::ED25519, key).verify(&message, &signature).is_ok()
            }
        })
    }

    fn kind(&self) -> Signature {
        match self {
            Self::Symmetric(_) => Signature::V1,
            Self::Public(_) => Signature::V1a,
        }
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", self.kind())
    }
}

/// Largest difference of the request's time to now, in seconds, as in the official libraries. An older request may be
/// an attacker's replay.
pub const TOLERANCE: u64 = 5 * 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    #[error("missing header {0}")]
    Missing(&'static str),
    #[error("the timestamp cannot be read")]
    Timestamp,
    #[error("too old: sent {0} s ago")]
    TooOld(u64),
    #[error("from the future: {0} s ahead of this clock")]
    TooEarly(u64),
    #[error("bad signature")]
    Signature,
}

/// Checks a request. `header` looks up a header, `now` is in unix seconds. One matching key is enough, because two are
/// valid while a secret is rotated.
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
