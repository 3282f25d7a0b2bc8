//! The keys that sign, parsed once and used for many requests.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::{
    hmac,
    signature::{Ed25519KeyPair, KeyPair as _},
};

use super::{PRIVATE_PREFIX, PUBLIC_PREFIX, SECRET_BYTES, SECRET_PREFIX, SEED_BYTES, Signature, Signed};

/// A key that signs requests. `Debug` does not show it.
pub enum SigningKey {
    Symmetric(hmac::Key),
    Private(Ed25519KeyPair),
}

/// Reason why a text is not a signing key, without quoting it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSigningKey {
    #[error("expected whsec_… (for v1) or whsk_… (for v1a)")]
    Prefix,
    #[error("expected whsec_ and the base64 of 24 to 64 bytes")]
    Symmetric,
    #[error("expected whsk_ and the base64 of an ed25519 key: its 32 bytes, or these and the 32 of its public key")]
    Private,
    /// The two halves of a key of 64 bytes do not match.
    #[error("the private key and the public key in it do not belong together")]
    Halves,
}

impl SigningKey {
    /// Reads a configured secret.
    pub fn parse(text: &str) -> Result<Self, InvalidSigningKey> {
        if let Some(text) = text.strip_prefix(SECRET_PREFIX) {
            let bytes = decode(text).filter(|bytes| SECRET_BYTES.contains(&bytes.len()));
            let bytes = bytes.ok_or(InvalidSigningKey::Symmetric)?;
            return Ok(Self::Symmetric(hmac::Key::new(hmac::HMAC_SHA256, &bytes)));
        }
        let text = text.strip_prefix(PRIVATE_PREFIX).ok_or(InvalidSigningKey::Prefix)?;
        let bytes = decode(text).ok_or(InvalidSigningKey::Private)?;
        let (seed, public) = bytes.split_at_checked(SEED_BYTES).ok_or(InvalidSigningKey::Private)?;
        let pair = match public.len() {
            0 => Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| InvalidSigningKey::Private)?,
            SEED_BYTES => {
                Ed25519KeyPair::from_seed_and_public_key(seed, public).map_err(|_| InvalidSigningKey::Halves)?
            }
            _ => return Err(InvalidSigningKey::Private),
        };
        Ok(Self::Private(pair))
    }

    /// A configurable secret of this kind, made of 256 random bits.
    pub fn write(kind: Signature, seed: [u8; SEED_BYTES]) -> String {
        let mut bytes = seed.to_vec();
        if kind == Signature::V1a
            && let Ok(pair) = Ed25519KeyPair::from_seed_unchecked(&seed)
        {
            // Other implementations of v1a write the private key followed by the public one.
            bytes.extend_from_slice(pair.public_key().as_ref());
        }
        format!("{}{}", kind.prefix(), BASE64_STANDARD.encode(bytes))
    }

    pub fn kind(&self) -> Signature {
        match self {
            Self::Symmetric(_) => Signature::V1,
            Self::Private(_) => Signature::V1a,
        }
    }

    /// The public key `whpk_…`, which is not secret; none for a symmetric secret.
    pub fn public(&self) -> Option<String> {
        match self {
            Self::Symmetric(_) => None,
            Self::Private(pair) => Some(format!("{PUBLIC_PREFIX}{}", BASE64_STANDARD.encode(pair.public_key()))),
        }
    }

    pub fn sign(&self, signed: &Signed<'_>) -> String {
        let signature = match self {
            Self::Symmetric(key) => {
                let mut context = hmac::Context::with_key(key);
                signed.pieces().into_iter().for_each(|piece| context.update(piece));
                BASE64_STANDARD.encode(context.sign())
            }
            Self::Private(pair) => BASE64_STANDARD.encode(pair.sign(&signed.pieces().concat())),
        };
        format!("{},{signature}", self.kind())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.kind())
    }
}

/// Decodes standard base64, the encoding of all official libraries.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(text).ok()
}
