//! Signatures of Standard Webhooks 1.0: what is signed, and the keys that sign it and verify it.
//!
//! `v1` is HMAC-SHA256 by a secret `whsec_…` that both sides have; `v1a` is ed25519 by `whsk_…`, verified by `whpk_…`.
//! Pure: which secrets an endpoint has, and when they end, is not known here, nor is a clock.

mod check;
mod key;
mod public;

use std::{fmt, ops::RangeInclusive};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use check::{TOLERANCE, Unverified, check};
pub use key::{InvalidSigningKey, SigningKey};
pub use public::{InvalidVerifyingKey, VerifyingKey};

/// The header with the id: the same on every attempt, the receiver's key for deduplication.
pub const ID_HEADER: &str = "webhook-id";
/// The header with the attempt's time, unix seconds.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// The header with the signatures, separated by spaces.
pub const SIGNATURE_HEADER: &str = "webhook-signature";

/// Of a symmetric secret.
const SECRET_PREFIX: &str = "whsec_";
/// Of a private key.
const PRIVATE_PREFIX: &str = "whsk_";
/// Of a public key.
const PUBLIC_PREFIX: &str = "whpk_";
/// "Random. Between 24 bytes (192 bits) and 64 bytes (512 bits)".
const SECRET_BYTES: RangeInclusive<usize> = 24..=64;
/// RFC 8032, 5.1.5: the private key, and the public key.
const SEED_BYTES: usize = 32;

/// Which signature of Standard Webhooks 1.0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Signature {
    /// HMAC-SHA256.
    #[default]
    V1,
    /// ed25519.
    V1a,
}

impl Signature {
    /// Its identifier, in front of every signature.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1a => "v1a",
        }
    }

    /// What its secrets begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::V1 => SECRET_PREFIX,
            Self::V1a => PRIVATE_PREFIX,
        }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is signed: `<id>.<timestamp>.<body>`, the body byte for byte as it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed<'a> {
    /// As in the header `webhook-id`.
    pub id: &'a str,
    /// As in the header `webhook-timestamp`: unix seconds, of the attempt.
    pub timestamp: &'a str,
    /// The request's body.
    pub body: &'a [u8],
}

impl<'a> Signed<'a> {
    /// What is signed, in pieces: the body need not be copied to be authenticated.
    fn pieces(&self) -> [&'a [u8]; 5] {
        [self.id.as_bytes(), b".", self.timestamp.as_bytes(), b".", self.body]
    }
}

#[cfg(test)]
mod tests;
