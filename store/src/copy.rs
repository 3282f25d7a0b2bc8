//! Copies everything between a file and a database: to move to a larger installation, or to back up a database.
//!
//! Secrets stay encrypted on the way, so both ends need the same keys. Jobs stay behind: they go on with the broker that
//! they began with.

use std::path::Path;

use tokio::task::spawn_blocking;

use crate::{StoreError, postgres, sqlite};

/// Copies the database of a URL into a new file of the `sqlite:` store with mode 0600. The copy has what was committed
/// at one moment, even while processes use the database.
///
/// # Errors
/// The file exists or cannot be written, or the database cannot be read.
pub async fn copy_out(url: &str, to: &Path) -> Result<(), StoreError> {
    let (dump, to) = (postgres::read(url).await?, to.to_owned());
    blocking(move || sqlite::write(&to, &dump)).await
}

/// Copies a file of the `sqlite:` store into the database of a URL, all or nothing. Nothing may be configured in the
/// database.
///
/// # Errors
/// The database is not empty, or one of the two cannot be used.
pub async fn copy_in(from: &Path, url: &str) -> Result<(), StoreError> {
    let from = from.to_owned();
    let dump = blocking(move || sqlite::read(&from)).await?;
    postgres::write(url, &dump).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(StoreError(error.to_string())))
}
