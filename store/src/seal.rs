//! Encrypts secrets at rest with XChaCha20-Poly1305 under the first of several keys. Each sealed text names the key
//! that opens it.
//!
//! Several keys allow a rotation without downtime: every process can open with the new key before any process seals
//! with it. Callers decide what is sealed, and for which place.

use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead as _, KeyInit as _, Payload},
};
use schemas::Secret;
use service::chance;
use sha2::{Digest as _, Sha256};

use crate::StoreError;

/// Shortest key, in characters. An attacker who has the file could guess a shorter one.
const SHORTEST: usize = 16;

/// First byte of a sealed text. After it come the key's id, the nonce, and the ciphertext with its tag.
const LAYOUT: u8 = 1;
const KEY_ID: usize = 4;
const NONCE: usize = 24;

const PROOF_PLACE: &str = "proof";
const PROOF_TEXT: &[u8] = b"carteiro";

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected at least {SHORTEST} characters: best a random text, such as `openssl rand -hex 32` makes")]
pub struct WeakKey;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnsealError {
    /// The key that sealed it is not in the ring.
    #[error("it was encrypted with a key that neither store.encryption_key nor store.old_encryption_keys has")]
    OtherKey,
    /// The key is right, but the text was changed, or sealed for another place.
    #[error("it is damaged, or was moved here from another place")]
    Damaged,
}

/// The keys in use. The first one seals, and all of them open.
#[derive(Clone)]
pub struct Keyring(Vec<SealingKey>);

#[derive(Clone)]
struct SealingKey {
    id: [u8; KEY_ID],
    cipher: XChaCha20Poly1305,
}

impl Keyring {
    /// Makes a ring of keys, the newest first.
    ///
    /// # Errors
    /// A key is too short.
    pub fn new<'a>(newest: &'a Secret, older: impl IntoIterator<Item = &'a Secret>) -> Result<Self, WeakKey> {
        std::iter::once(newest).chain(older).map(SealingKey::new).collect::<Result<_, _>>().map(Self)
    }

    /// Encrypts a text for a named place. It opens only for the same place, so that one tenant's secret cannot be moved
    /// to another.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub(crate) fn seal(&self, place: &str, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        let key = &self.0[0];
        // A repeated nonce would break the cipher, so it is never an argument.
        let nonce = chance::random::<NONCE>();
        let nonce = nonce.map_err(|error| StoreError(format!("the system gives no randomness: {error}")))?;
        let payload = Payload { msg: plain, aad: place.as_bytes() };
        let encrypted = key.cipher.encrypt(&XNonce::from(nonce), payload);
        let encrypted = encrypted.map_err(|_| StoreError("too much to encrypt at once".to_owned()))?;
        Ok([&[LAYOUT], &key.id[..], &nonce, &encrypted].concat())
    }

    /// Decrypts a text that was sealed for this place.
    pub(crate) fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, UnsealError> {
        let (id, rest) = parts(sealed).ok_or(UnsealError::Damaged)?;
        let (nonce, encrypted) = rest.split_first_chunk::<NONCE>().ok_or(UnsealError::Damaged)?;
        let mut failure = UnsealError::OtherKey;
        for key in self.0.iter().filter(|key| key.id == *id) {
            let payload = Payload { msg: encrypted, aad: place.as_bytes() };
            match key.cipher.decrypt(&XNonce::from(*nonce), payload) {
                Ok(plain) => return Ok(plain),
                Err(_) => failure = UnsealError::Damaged,
            }
        }
        Err(failure)
    }

    /// Seals a known text. A database keeps it from its creation on, so that a wrong key is detected before anything is
    /// written with it.
    pub(crate) fn seal_proof(&self) -> Result<Vec<u8>, StoreError> {
        self.seal(PROOF_PLACE, PROOF_TEXT)
    }

    /// Checks that one of the keys made this proof.
    pub(crate) fn check_proof(&self, sealed: &[u8]) -> Result<(), UnsealError> {
        self.open(PROOF_PLACE, sealed).map(drop)
    }

    /// True when the first key sealed the text, so that the other keys are not needed for it.
    pub(crate) fn is_current(&self, sealed: &[u8]) -> bool {
        parts(sealed).is_some_and(|(id, _)| *id == self.0[0].id)
    }
}

fn parts(sealed: &[u8]) -> Option<(&[u8; KEY_ID], &[u8])> {
    sealed.strip_prefix(&[LAYOUT])?.split_first_chunk()
}

impl SealingKey {
    fn new(text: &Secret) -> Result<Self, WeakKey> {
        if text.reveal().chars().count() < SHORTEST {
            return Err(WeakKey);
        }
        let hash = |domain: &str| Sha256::new().chain_update(domain).chain_update(text.reveal()).finalize();
        let id = hash("carteiro store key id\0");
        let cipher = XChaCha20Poly1305::new(&hash("carteiro store key\0"));
        Ok(Self { id: std::array::from_fn(|at| id[at]), cipher })
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyring({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        text.to_owned().into()
    }

    fn ring(texts: &[&str]) -> Keyring {
        let texts: Vec<_> = texts.iter().map(|text| secret(text)).collect();
        Keyring::new(&texts[0], &texts[1..]).unwrap()
    }

    const OLD: &str = "an old key of many characters";
    const NEW: &str = "a new key of many characters";

    #[test]
    fn what_was_sealed_is_opened_at_its_place_and_nowhere_else() {
        let ring = ring(&[NEW]);
        let sealed = ring.seal("acme/endpoint/crm", b"S3CRET").unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"S3CRET"));
        assert_eq!(ring.open("acme/endpoint/crm", &sealed), Ok(b"S3CRET".to_vec()));
        assert_eq!(ring.open("beta/endpoint/crm", &sealed), Err(UnsealError::Damaged));
        assert_ne!(ring.seal("acme/endpoint/crm", b"S3CRET").unwrap(), sealed, "no nonce comes twice");
    }

    #[test]
    fn a_new_key_in_front_still_opens_what_the_old_one_sealed() {
        let sealed = ring(&[OLD]).seal("here", b"S3CRET").unwrap();
        let both = ring(&[NEW, OLD]);
        assert_eq!(both.open("here", &sealed), Ok(b"S3CRET".to_vec()));
        assert!(!both.is_current(&sealed));
        assert!(both.is_current(&both.seal("here", b"S3CRET").unwrap()));
        assert_eq!(ring(&[NEW]).open("here", &sealed), Err(UnsealError::OtherKey));
    }

    #[test]
    fn what_is_damaged_is_never_opened() {
        let ring = ring(&[NEW]);
        let sealed = ring.seal("here", b"S3CRET").unwrap();
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(ring.open("here", &damaged).is_err(), "byte {at}");
            assert!(ring.open("here", &sealed[..at]).is_err(), "up to byte {at}");
        }
    }

    #[test]
    fn a_short_key_is_refused_and_none_is_ever_shown() {
        assert_eq!(Keyring::new(&secret("fifteen letters"), []).unwrap_err(), WeakKey);
        assert_eq!(format!("{:?}", ring(&[NEW, OLD])), "Keyring(2)");
    }
}
