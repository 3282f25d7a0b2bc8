//! Signatures of Standard Webhooks 1.0: what is signed, and the keys that sign it and verify it.
//!
//! `v1` is HMAC-SHA256 by a secret `whsec_…` that both sides have; `v1a` is ed25519 by `whsk_…`, verified by `whpk_…`.
//! Which secrets an endpoint has, and when they end, is not known here.

mod sign;
mod verify;

use std::{fmt, ops::RangeInclusive};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use sign::{InvalidSigningKey, SigningKey};
pub use verify::{InvalidVerifyingKey, TOLERANCE, Unverified, VerifyingKey, check};

/// Header with the id: the same on every attempt, for deduplication by the receiver.
pub const ID_HEADER: &str = "webhook-id";
/// Header with the time of the attempt, in unix seconds.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// Header with the signatures, separated by spaces.
pub const SIGNATURE_HEADER: &str = "webhook-signature";

const SECRET_PREFIX: &str = "whsec_";
const PRIVATE_PREFIX: &str = "whsk_";
const PUBLIC_PREFIX: &str = "whpk_";
/// Length of a symmetric secret, in bytes. Standard Webhooks: "Random. Between 24 bytes (192 bits) and 64 bytes (512 bits)".
const SECRET_BYTES: RangeInclusive<usize> = 24..=64;
/// Length of an ed25519 private key and of a public key, in bytes (RFC 8032, 5.1.5).
const SEED_BYTES: usize = 32;

/// Kind of signature in Standard Webhooks 1.0.
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
    /// Identifier in front of every signature.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1a => "v1a",
        }
    }

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
    /// Value of the header `webhook-id`.
    pub id: &'a str,
    /// Value of the header `webhook-timestamp`: time of the attempt, in unix seconds.
    pub timestamp: &'a str,
    pub body: &'a [u8],
}

impl<'a> Signed<'a> {
    /// What is signed, in pieces, so that the body need not be copied.
    fn pieces(&self) -> [&'a [u8]; 5] {
        [self.id.as_bytes(), b".", self.timestamp.as_bytes(), b".", self.body]
    }
}

#[cfg(test)]
mod tests;
