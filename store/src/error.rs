//! Errors of reading and of opening a store. The texts contain neither passwords nor keys.

/// Why the store could not be read. The last good snapshot stays in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// Why a database store was not opened. Nothing was written, and only the operator can help, so callers report a
/// configuration error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreOpenError {
    /// Another process has the file.
    #[error("{0} is in use by another process: only one may have it open")]
    Held(String),
    /// A later version of this program wrote the file or database.
    #[error("{place} has the format {found}, this program knows formats up to {known}: use a newer one")]
    Newer { place: String, found: i64, known: i64 },
    /// Secrets in the store were encrypted with other keys.
    #[error("store.encryption_key does not fit {place}: {reason}")]
    Key { place: String, reason: String },
    /// The file or database cannot be used: no permission, not a database, damaged.
    #[error("cannot open the store {place}: {reason}")]
    Unusable { place: String, reason: String },
}
