//! The first statements of a session, and what may fail on it.

use service::postgres::DatabaseError;

use crate::{EditError, EditRefusal, StoreError, StoreOpenError, row::RowError};

/// First statements of every session. The server's limits are a little longer than this program's, and make it release
/// the locks of a process that vanished. A statement that waits for a lock fails within this program's limit.
pub(super) const BEGINNING: &str = "
    SET search_path TO carteiro;
    SET client_min_messages TO warning;
    SET statement_timeout TO '25s';
    SET lock_timeout TO '2s';
    SET idle_in_transaction_session_timeout TO '25s';
    LISTEN carteiro_store;
";

#[derive(Debug, thiserror::Error)]
pub(super) enum PostgresFailure {
    /// The database is away, or busy.
    #[error(transparent)]
    Away(#[from] StoreError),
    /// The content of the database cannot be used by this process, and only the operator can change that.
    #[error(transparent)]
    Defect(#[from] StoreOpenError),
    #[error(transparent)]
    Refused(#[from] EditRefusal),
}

impl PostgresFailure {
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
            PostgresFailure::Refused(refusal) => Self::Refused(refusal),
            other => Self::Away(other.into()),
        }
    }
}

impl From<DatabaseError> for StoreError {
    fn from(error: DatabaseError) -> Self {
        Self(error.0)
    }
}

impl From<DatabaseError> for PostgresFailure {
    fn from(error: DatabaseError) -> Self {
        Self::Away(error.into())
    }
}
