//! The keys that verify: a receiver's side.

use std::fmt;

use ring::{hmac, signature};

use super::{PUBLIC_PREFIX, SEED_BYTES, Signature, Signed, SigningKey, key::decode};

/// Verifies requests: a secret `whsec_…` itself, or a public key `whpk_…`.
#[derive(Clone)]
pub enum VerifyingKey {
    /// `whsec_…`
    Symmetric(hmac::Key),
    /// `whpk_…`
    Public([u8; SEED_BYTES]),
}

/// A text is no key that verifies. Nothing of the text is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a secret whsec_… or a public key whpk_…, as the endpoint has it")]
pub struct InvalidVerifyingKey;

impl VerifyingKey {
    /// Reads a key as it was handed to a receiver.
    ///
    /// # Errors
    /// When it is none; also when it is a private key, which receivers should not have.
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

    /// Whether one of these signatures, as the header has them, is by it. Compared in constant time.
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
