//! The `file:` store: a folder of YAML, read at start and again whenever it changes.
//!
//! It detects changes by listing the folder every second or so, because no notification mechanism works on every
//! mounted file system. It never writes into the folder. Files that cannot be used leave the last good snapshot in force.

mod decode;
mod description;
mod document;
mod folder;
mod merge;
mod reader;
mod tenants;

#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

pub use self::description::Description;
use self::reader::{FolderReader, ReadMode};
use crate::{ControlState, Snapshot, SqliteControlState, Store, StoreError, SyncStatus};

/// Pause before the next reading that somebody asks for. Events of unknown tenants may ask at any rate.
const PAUSE: Duration = Duration::from_millis(100);

/// A folder of YAML as a store. The caller spawns [`FileStore::watch`], and stops it.
#[derive(Debug)]
pub struct FileStore {
    reader: Arc<FolderReader>,
    /// Locked while a reading is under way, so that there is one at a time. Holds the end of the last one that somebody
    /// asked for.
    turn: Arc<Mutex<Option<Instant>>>,
    control_state: Option<SqliteControlState>,
}

impl FileStore {
    /// Reads the folder for the first time. A missing or empty one is a valid, empty configuration.
    ///
    /// # Errors
    /// Everything that is wrong with the files, each in one line. There is no good snapshot to keep.
    pub async fn open(folder: &Path) -> Result<Self, StoreError> {
        let folder = folder.to_owned();
        let reader = off_the_runtime(move || FolderReader::open(folder)).await??;
        Ok(Self { reader: Arc::new(reader), turn: Arc::default(), control_state: None })
    }

    /// Adds what control keeps besides the configuration, in a file outside of the folder.
    pub fn with_control_state(self, state: SqliteControlState) -> Self {
        Self { control_state: Some(state), ..self }
    }

    /// Looks for changes at every interval until `stop` is cancelled. Each error is logged once and does not end the
    /// watch.
    pub async fn watch(&self, interval: Duration, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
            // The reader keeps and logs the error.
            let _ = self.refresh().await;
        }
    }

    /// Looks for changes once. Reads the files only if their names, lengths or modification times have changed.
    ///
    /// # Errors
    /// Everything that is wrong with the files. The last good snapshot stays in force.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        self.look(ReadMode::IfListingChanged).await
    }

    /// Returns what is wrong with the folder now, for `/readyz`. None while the snapshot has what the files say.
    pub fn last_error(&self) -> Option<Arc<StoreError>> {
        self.reader.last_error()
    }

    async fn look(&self, look: ReadMode) -> Result<(), StoreError> {
        let asked = self.reader.begun();
        let mut turn = self.turn.clone().lock_owned().await;
        if self.reader.begun() > asked {
            // A reading has begun after this call and is over, so it has seen the newest files. A thousand calls at
            // once cause two readings.
            return self.last_error().map_or(Ok(()), |error| Err(StoreError::clone(&error)));
        }
        if look == ReadMode::Always
            && let Some(ended) = *turn
        {
            sleep_until(ended + PAUSE).await;
        }
        let reader = self.reader.clone();
        // The lock moves to the thread, so that a caller that stops waiting does not let a second reading begin
        // beside the first.
        off_the_runtime(move || {
            let result = reader.look(look);
            if look == ReadMode::Always {
                *turn = Some(Instant::now());
            }
            result
        })
        .await?
    }
}

impl Store for FileStore {
    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        Some(self.reader.snapshot())
    }

    fn revision(&self) -> watch::Receiver<u64> {
        self.reader.revision()
    }

    /// Counts one state of broken files as one failure, however often it is read.
    fn sync_status(&self) -> SyncStatus {
        self.reader.sync_status()
    }

    /// Reads all files even if the listing is unchanged, because two changes within one tick of the clock look like
    /// one.
    fn pull(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.look(ReadMode::Always).boxed()
    }

    fn control_state(&self) -> Option<&dyn ControlState> {
        self.control_state.as_ref().map(|state| state as &dyn ControlState)
    }
}

/// Runs blocking work on a thread that may block.
async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| StoreError(format!("reading the folder: {error}")))
}
