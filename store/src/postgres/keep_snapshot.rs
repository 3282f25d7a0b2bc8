//! Keeps the snapshot on the disk, so that a restart finds it while the database is away.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{task::spawn_blocking, time::sleep};

use super::database::PostgresDatabase;
use crate::disk;

/// Between two writes: an import that makes a thousand changes does not write a thousand snapshots.
const PAUSE: Duration = Duration::from_secs(3);

/// Takes up what is on the disk, unless the database has answered in the meantime.
pub(super) async fn recall(database: &PostgresDatabase, path: &Path) {
    let (looking, path) = (database.clone(), path.to_owned());
    let read = spawn_blocking(move || disk::read(&path, &looking.place, &looking.keyring)).await;
    if let Ok(Some(snapshot)) = read
        && database.current.begin(Arc::new(snapshot))
    {
        tracing::info!(revision = *database.current.revision().borrow(), "store.snapshot_recalled");
    }
}

/// Writes every change to the disk, until it is dropped.
pub(super) async fn keep(database: PostgresDatabase, path: PathBuf) {
    let mut revision = database.current.revision();
    let mut failed = false;
    loop {
        if let Some(snapshot) = database.current.snapshot() {
            revision.mark_unchanged();
            let (writing, path) = (database.clone(), path.clone());
            let written = spawn_blocking(move || disk::write(&path, &writing.place, &snapshot, &writing.keyring)).await;
            let error =
                written.map_or_else(|error| Some(error.to_string()), |written| written.err().map(|error| error.0));
            if let Some(error) = &error
                && !failed
            {
                tracing::warn!(error, "store.snapshot_not_written");
            }
            failed = error.is_some();
            sleep(PAUSE).await;
        }
        if revision.changed().await.is_err() {
            return;
        }
    }
}
