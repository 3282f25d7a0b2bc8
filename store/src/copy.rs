//! Moves everything between a file and a database: for a tenant base that outgrows one machine, and for a backup of a
//! database.
//!
//! Secrets stay encrypted on the way: both ends need the same keys.

use std::path::Path;

use tokio::task::spawn_blocking;

use crate::{StoreError, postgres, sqlite};

/// Copies everything in the database of a URL into a new file of the `sqlite:` store, mode 0600: what was committed at
/// one moment, while processes use the database.
///
/// # Errors
/// Where the file exists or cannot be written, or the database cannot be read.
pub async fn copy_out(url: &str, to: &Path) -> Result<(), StoreError> {
    let (dump, to) = (postgres::read(url).await?, to.to_owned());
    blocking(move || sqlite::write(&to, &dump)).await
}

/// Fills the database of a URL, in which nothing may be configured, with everything in a file of the `sqlite:` store or
/// in a copy of one. All or nothing.
///
/// # Errors
/// Where the database is not empty, or either cannot be used.
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
