//! Why a store cannot be read, and why one could not be opened. The texts hold neither passwords nor keys.

/// Why the store could not be read. The last good snapshot stays in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// Why a database store was not opened. Nothing was written, and only a change by the operator helps: a caller ends with
/// a configuration error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreOpenError {
    /// Another process has the file.
    #[error("{0} is in use by another process: only one may have it open")]
    Held(String),
    /// A later version of this program wrote the file or database.
    #[error("{place} has the format {found}, this program knows formats up to {known}: use a newer one")]
    Newer {
        /// The file, or the database.
        place: String,
        /// The format of its tables.
        found: i64,
        /// The newest format that this program knows.
        known: i64,
    },
    /// Secrets in the store were encrypted with other keys.
    #[error("store.encryption_key does not fit {place}: {reason}")]
    Key {
        /// The file, or the database.
        place: String,
        /// What could not be read, and why.
        reason: String,
    },
    /// The file or database cannot be used: no permission, not a database, damaged.
    #[error("cannot open the store {place}: {reason}")]
    Unusable {
        /// The file, or the database.
        place: String,
        /// What the system says.
        reason: String,
    },
}
