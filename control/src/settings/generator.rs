//! Ids and secrets that carteiro generates when a request leaves them out.

use schemas::signature::{Signature, SigningKey};
use service::{
    Chance,
    chance::{self, Secrets},
};

#[derive(Clone)]
pub(crate) struct Generator {
    pub(crate) chance: Chance,
    pub(crate) secrets: Secrets,
}

/// Characters of generated ids. None looks like another one.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";

impl Generator {
    /// Generates an unused id, such as `ep_k3x9q2m7`. Eight characters of 32 are 40 bits, which is enough within one
    /// tenant.
    pub(crate) fn id(&self, prefix: &str, is_taken: impl Fn(&str) -> bool) -> String {
        loop {
            let bits =
                chance::bytes::<5>(&self.chance).into_iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(byte));
            let character = |nth: u32| char::from(ALPHABET[(bits >> (5 * nth)) as usize % ALPHABET.len()]);
            let id: String = prefix.chars().chain(['_']).chain((0..8).map(character)).collect();
            if !is_taken(&id) {
                return id;
            }
        }
    }

    /// Generates a signing secret in the form of Standard Webhooks.
    pub(crate) fn signing_secret(&self, kind: Signature) -> std::io::Result<String> {
        Ok(SigningKey::write(kind, (self.secrets)()?))
    }

    pub(crate) fn token(&self) -> std::io::Result<String> {
        Ok(format!("in_{}", schemas::hex(&(self.secrets)()?)))
    }

    pub(crate) fn key(&self) -> std::io::Result<String> {
        Ok(format!("key_{}", schemas::hex(&(self.secrets)()?)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use super::*;

    #[test]
    fn an_id_that_is_taken_is_not_generated_again() {
        let draws = AtomicU64::new(0);
        let chance: Chance = Arc::new(move || (draws.fetch_add(1, Ordering::Relaxed) / 2) as f64 / 8.0);
        let generator = Generator { chance, secrets: Arc::new(|| Ok([7; 32])) };
        let first = generator.id("ep", |_| false);
        let second = generator.id("ep", |id| id == first);
        assert_ne!(first, second);
        assert_eq!((first.len(), &first[..3]), (11, "ep_"));
    }

    #[test]
    fn generated_secrets_have_the_form_of_their_use() {
        let generator = Generator { chance: Arc::new(|| 0.0), secrets: Arc::new(|| Ok([7; 32])) };
        assert_eq!(
            generator.signing_secret(Signature::V1).unwrap(),
            "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="
        );
        assert!(generator.signing_secret(Signature::V1a).unwrap().starts_with("whsk_BwcHBwcH"));
        assert_eq!(generator.token().unwrap(), format!("in_{}", "07".repeat(32)));
        assert!(generator.key().unwrap().starts_with("key_0707"));
    }
}
