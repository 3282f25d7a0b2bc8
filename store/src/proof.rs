//! Something sealed that every database has from its first moment, so that a wrong key is found out before anything is
//! written with it.

use crate::{Keyring, StoreError};

const PLACE: &str = "proof";
const TEXT: &[u8] = b"carteiro";

/// To be kept in `meta`.
pub(crate) fn make(keyring: &Keyring) -> Result<Vec<u8>, StoreError> {
    keyring.seal(PLACE, TEXT)
}

/// Whether the keys are the right ones.
///
/// # Errors
/// Why not.
pub(crate) fn check(keyring: &Keyring, sealed: &[u8]) -> Result<(), String> {
    keyring.open(PLACE, sealed).map(drop).map_err(|error| error.to_string())
}
