//! Why a database cannot be used.

use service::postgres::DatabaseError;

use crate::HistoryError;

#[derive(Debug, thiserror::Error)]
pub enum HistoryDatabaseError {
    /// The URL cannot be used, or the database is away.
    #[error("the database of history: {0}")]
    Database(#[from] DatabaseError),
    #[error(
        "{place}: a later version of this program wrote the schema carteiro_history (format {found}, known: {known})"
    )]
    Newer { place: String, found: i64, known: i64 },
}

impl From<HistoryDatabaseError> for HistoryError {
    fn from(error: HistoryDatabaseError) -> Self {
        match error {
            HistoryDatabaseError::Database(error) => error.into(),
            newer @ HistoryDatabaseError::Newer { .. } => Self(newer.to_string()),
        }
    }
}

impl From<DatabaseError> for HistoryError {
    fn from(error: DatabaseError) -> Self {
        Self(error.0)
    }
}
