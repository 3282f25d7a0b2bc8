//! How new a snapshot is: when nothing newer was there, and how often that could not be found out.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// What came of a store's looks at what it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncStatus {
    /// When the snapshot was last known to be the newest there is; none while it never was: it is from the disk, or there
    /// is none.
    pub synced_at: Option<Instant>,
    /// Looks that failed since the store was opened: it could not be asked, or what it keeps cannot be used.
    pub failures: u64,
}

impl SyncStatus {
    /// Of a snapshot that is the newest at any time.
    pub(crate) fn always() -> Self {
        Self { synced_at: Some(Instant::now()), failures: 0 }
    }
}

/// The looks of a store that others write to.
#[derive(Debug)]
pub(crate) struct SyncTracker(Mutex<SyncStatus>);

impl Default for SyncTracker {
    fn default() -> Self {
        Self(Mutex::new(SyncStatus { synced_at: None, failures: 0 }))
    }
}

impl SyncTracker {
    pub(crate) fn sync_status(&self) -> SyncStatus {
        *self.lock()
    }

    /// What is kept was the snapshot's revision at the time of a look.
    pub(crate) fn succeeded(&self) {
        self.lock().synced_at = Some(Instant::now());
    }

    pub(crate) fn failed(&self) {
        self.lock().failures += 1;
    }

    fn lock(&self) -> MutexGuard<'_, SyncStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
