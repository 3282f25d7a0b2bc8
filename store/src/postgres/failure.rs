//! Why something did not work: for now, or until a person mends it.

use crate::{EditError, EditRefusal, StoreError, StoreOpenError, row::RowError};

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostgresFailure {
    /// The database is away, or busy.
    #[error(transparent)]
    Away(#[from] StoreError),
    /// What is in the database is not for this process.
    #[error(transparent)]
    Defect(#[from] StoreOpenError),
    /// What was wanted is not allowed.
    #[error(transparent)]
    Refused(#[from] EditRefusal),
}

impl PostgresFailure {
    /// A row that could not be read, in the database of this name.
    pub(super) fn of_row(error: &RowError, place: &str) -> Self {
        let (place, reason) = (place.to_owned(), error.to_string());
        Self::Defect(match error {
            RowError::Sealed { .. } => StoreOpenError::Key { place, reason },
            RowError::Strange { .. } => StoreOpenError::Unusable { place, reason },
        })
    }
}

impl From<PostgresFailure> for StoreError {
    fn from(failure: PostgresFailure) -> Self {
        match failure {
            PostgresFailure::Away(error) => error,
            other => Self(other.to_string()),
        }
    }
}

impl From<PostgresFailure> for EditError {
    fn from(failure: PostgresFailure) -> Self {
        match failure {
            PostgresFailure::Refused(refused) => Self::Refused(refused),
            other => Self::Away(other.into()),
        }
    }
}
