//! Why nothing was changed.

use super::item::ItemKind;
use crate::{InvalidField, StoreError};

/// Why a decision was not carried out. Nothing was changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EditRefusal {
    /// There is no such item.
    #[error("there is no such {}", .0.name())]
    NoSuch(ItemKind),
    /// The item was changed since the version that the caller knows.
    #[error("it was changed in the meantime")]
    Stale,
    /// Something else forbids the change.
    #[error("{0}")]
    Conflict(String),
    /// The result would not be valid. Paths begin with `tenants`, in the order of the draft.
    #[error("the result would not be valid")]
    Invalid(Vec<InvalidField>),
    /// The tenant would have more than it may.
    #[error("{0}")]
    Quota(String),
}

/// Why nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EditError {
    /// The decision, or a rule that holds for every configuration, does not allow the change.
    #[error(transparent)]
    Refused(#[from] EditRefusal),
    /// This store is changed by other means.
    #[error("this store is read only: change its files")]
    ReadOnly,
    /// The store cannot be written now. Where the connection broke during the commit, all of the change may have been
    /// made nevertheless.
    #[error("the store is away: {0}")]
    Away(#[from] StoreError),
}
