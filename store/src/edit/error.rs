use super::item::ItemKind;
use crate::{InvalidField, StoreError};

/// Why a decision was not carried out. Nothing was changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EditRefusal {
    #[error("there is no such {}", .0.name())]
    NoSuch(ItemKind),
    /// The item was changed since the version that the caller knows.
    #[error("it was changed in the meantime")]
    Stale,
    #[error("{0}")]
    Conflict(String),
    /// The result would not be valid. Paths begin with `tenants`, in the order of the draft.
    #[error("the result would not be valid")]
    Invalid(Vec<InvalidField>),
    #[error("{0}")]
    Quota(String),
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum EditError {
    /// The decision, or a rule that holds for every configuration, does not allow the change.
    #[error(transparent)]
    Refused(#[from] EditRefusal),
    /// The store is changed by other means, such as files.
    #[error("this store is read only: change its files")]
    ReadOnly,
    /// The store cannot be written now. When the connection broke during the commit, the whole change may have been
    /// made nevertheless.
    #[error("the store is away: {0}")]
    Away(#[from] StoreError),
}
