//! Why a store could not be opened: what only a person can mend. A caller ends with a configuration error on any of these.

/// Why a database store was not opened. Nothing was written. The texts hold neither passwords nor keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreOpenError {
    /// Another process has it.
    #[error("{0} is in use by another process: only one may have it open")]
    Held(String),
    /// A later version of this program wrote it.
    #[error("{place} has the format {found}, this program knows formats up to {known}: use a newer one")]
    Newer {
        /// The file, or the database.
        place: String,
        /// Its format.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// What it keeps encrypted cannot be read with the keys there are.
    #[error("store.encryption_key does not fit {place}: {reason}")]
    Key {
        /// The file, or the database.
        place: String,
        /// What could not be read, and why.
        reason: String,
    },
    /// It cannot be used: no permission, not a database, damaged.
    #[error("cannot open the store {place}: {reason}")]
    Unusable {
        /// The file, or the database.
        place: String,
        /// What the system says.
        reason: String,
    },
}
