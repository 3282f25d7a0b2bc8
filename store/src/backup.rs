//! Copies of a store: out of it while it is in use, and into an empty one. A copy is a file of the `sqlite:` store,
//! whatever it was made of; its secrets stay sealed, so that it is of use only with the same keys.

use std::path::Path;

use tokio::task::spawn_blocking;

use crate::{Location, StoreError, postgres, sqlite};

/// Copies everything in a store into a fresh file at `to`, mode 0600: what was committed at one moment, while processes
/// use it.
///
/// # Errors
/// Where `to` exists or cannot be written, the store cannot be read, or is a folder, which anything can copy.
pub async fn back_up(from: &Location, to: &Path) -> Result<(), StoreError> {
    let to = to.to_owned();
    match from {
        Location::Sqlite(file) => {
            let file = file.clone();
            blocking(move || sqlite::copy(&file, &to)).await
        }
        Location::Postgres(url) => {
            let content = postgres::read(url).await?;
            blocking(move || sqlite::write(&to, &content)).await
        }
        Location::Folder(folder) => Err(folder_is_files(folder)),
    }
}

/// Fills an empty store with what is in a copy: a file that is not there yet, or a database in which nothing is
/// configured. Nobody may use it yet but to look. All or nothing.
///
/// # Errors
/// Where it is not empty, or one of them cannot be used.
pub async fn restore(from: &Path, into: &Location) -> Result<(), StoreError> {
    let from = from.to_owned();
    match into {
        Location::Sqlite(file) => {
            let file = file.clone();
            blocking(move || sqlite::restore(&from, &file)).await
        }
        Location::Postgres(url) => {
            let content = blocking(move || sqlite::read(&from)).await?;
            postgres::write(url, &content).await
        }
        Location::Folder(folder) => Err(folder_is_files(folder)),
    }
}

fn folder_is_files(folder: &Path) -> StoreError {
    StoreError(format!("{} is a folder of YAML: copy its files", folder.display()))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(StoreError(error.to_string())))
}
