//! Signatures of Standard Webhooks 1.0: the signed content, and the keys that sign and verify it.
//!
//! `v1` is HMAC-SHA256 with a secret `whsec_…` that both sides have. `v1a` is ed25519 with a private key `whsk_…` and a
//! public key `whpk_…`. Callers select the secrets of an endpoint that are valid.

mod sign;
mod verify;

use std::{fmt, ops::RangeInclusive};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use sign::{InvalidSigningKey, SigningKey};
pub use verify::{InvalidVerifyingKey, TOLERANCE, Unverified, VerifyingKey, check};

/// Header of the id, which is equal on every attempt, for deduplication by the receiver.
pub const ID_HEADER: &str = "webhook-id";
/// Header of the attempt's time, in unix seconds.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// Header of the signatures, separated by spaces.
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
    /// Prefix of every signature.
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

/// The signed content: `<id>.<timestamp>.<body>`, the body byte for byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed<'a> {
    pub id: &'a str,
    /// Value of the header `webhook-timestamp`, in unix seconds.
    pub timestamp: &'a str,
    pub body: &'a [u8],
}

impl<'a> Signed<'a> {
    /// The signed content in pieces, which avoids a copy of the body.
    fn pieces(&self) -> [&'a [u8]; 5] {
        [self.id.as_bytes(), b".", self.timestamp.as_bytes(), b".", self.body]
    }
}

#[cfg(test)]
mod tests;
