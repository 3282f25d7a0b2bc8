//! Why something did not work: for now, or until a person mends it.

use crate::{EditError, OpenError, Refused, StoreError, row::RowError};

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The database is away, or busy.
    #[error(transparent)]
    Away(#[from] StoreError),
    /// What is in the database is not for this process.
    #[error(transparent)]
    Defect(#[from] OpenError),
    /// What was wanted is not allowed.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl Failure {
    /// A row that could not be read, in the database of this name.
    pub(super) fn of_row(error: &RowError, place: &str) -> Self {
        let (place, reason) = (place.to_owned(), error.to_string());
        Self::Defect(match error {
            RowError::Sealed { .. } => OpenError::Key { place, reason },
            RowError::Strange { .. } => OpenError::Unusable { place, reason },
        })
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Away(error) => error,
            other => Self(other.to_string()),
        }
    }
}

impl From<Failure> for EditError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refused) => Self::Refused(refused),
            other => Self::Away(other.into()),
        }
    }
}
