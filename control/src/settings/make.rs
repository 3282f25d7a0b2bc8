//! What carteiro makes itself when it is left out: ids and secrets.

use schemas::signature::{Signature, SigningKey};
use service::{
    Chance,
    chance::{self, Secrets},
};
use store::ItemKind;

use super::merge::Object;

/// Makes ids and secrets.
#[derive(Clone)]
pub(crate) struct Maker {
    pub(crate) chance: Chance,
    pub(crate) secrets: Secrets,
}

/// What was made and is shown this once: fields of the answer.
pub(crate) type Made = Object;

/// What ids are made of: no letters or digits that look alike.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";

impl Maker {
    /// An id that is not taken: `ep_k3x9q2m7`.
    pub(crate) fn id(&self, kind: ItemKind, is_taken: impl Fn(&str) -> bool) -> String {
        let prefix = match kind {
            ItemKind::Tenant => "t",
            ItemKind::Endpoint => "ep",
            ItemKind::Subscription => "sub",
            ItemKind::Source => "src",
            ItemKind::Key => "key",
        };
        self.id_of(prefix, is_taken)
    }

    /// The id of an integration that is not taken: `int_k3x9q2m7`.
    pub(crate) fn integration_id(&self, is_taken: impl Fn(&str) -> bool) -> String {
        self.id_of("int", is_taken)
    }

    /// Eight letters of 32 are 40 bits: enough within one tenant.
    fn id_of(&self, prefix: &str, is_taken: impl Fn(&str) -> bool) -> String {
        loop {
            let bits =
                chance::bytes::<5>(&self.chance).into_iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(byte));
            let letter = |nth: u32| char::from(ALPHABET[(bits >> (5 * nth)) as usize % ALPHABET.len()]);
            let id: String = prefix.chars().chain(['_']).chain((0..8).map(letter)).collect();
            if !is_taken(&id) {
                return id;
            }
        }
    }

    /// A signing secret of Standard Webhooks.
    pub(crate) fn signing_secret(&self, kind: Signature) -> std::io::Result<String> {
        Ok(SigningKey::write(kind, (self.secrets)()?))
    }

    /// The token of a source's URL.
    pub(crate) fn token(&self) -> std::io::Result<String> {
        Ok(format!("in_{}", schemas::hex(&(self.secrets)()?)))
    }

    /// A tenant's key.
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
    fn an_id_that_is_taken_is_not_made_again() {
        let draws = AtomicU64::new(0);
        let chance: Chance = Arc::new(move || (draws.fetch_add(1, Ordering::Relaxed) / 2) as f64 / 8.0);
        let maker = Maker { chance, secrets: Arc::new(|| Ok([7; 32])) };
        let first = maker.id(ItemKind::Endpoint, |_| false);
        let second = maker.id(ItemKind::Endpoint, |id| id == first);
        assert_ne!(first, second);
        assert_eq!((first.len(), &first[..3]), (11, "ep_"));
        assert!(maker.integration_id(|_| false).starts_with("int_"));
    }

    #[test]
    fn secrets_have_the_forms_that_are_asked_of_them() {
        let maker = Maker { chance: Arc::new(|| 0.0), secrets: Arc::new(|| Ok([7; 32])) };
        assert_eq!(maker.signing_secret(Signature::V1).unwrap(), "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=");
        assert!(maker.signing_secret(Signature::V1a).unwrap().starts_with("whsk_BwcHBwcH"));
        assert_eq!(maker.token().unwrap(), format!("in_{}", "07".repeat(32)));
        assert!(maker.key().unwrap().starts_with("key_0707"));
    }
}
