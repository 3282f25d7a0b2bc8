//! Why the files cannot be used.

use std::{io, path::PathBuf};

use crate::HistoryError;

#[derive(Debug, thiserror::Error)]
pub enum HistoryFileError {
    #[error("{path} is in use by another process: only one may write (it holds the file `lock` in it)", path = .path.display())]
    Held { path: PathBuf },
    #[error("{path}: {source}", path = .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{path}: {source}", path = .path.display())]
    Database { path: PathBuf, source: rusqlite::Error },
    #[error("{path}: a later version of this program wrote it (format {version})", path = .path.display())]
    Newer { path: PathBuf, version: i64 },
}

impl From<HistoryFileError> for HistoryError {
    fn from(error: HistoryFileError) -> Self {
        Self(error.to_string())
    }
}

impl From<rusqlite::Error> for HistoryError {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<io::Error> for HistoryError {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}
