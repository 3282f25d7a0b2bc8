//! The snapshot in force, and whether it is known to be the newest.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use tokio::{sync::watch, time::Instant};

use super::Snapshot;

/// The snapshot in force. It has one writer at a time, by whatever lock its owner has, and any number of readers, which
/// never wait.
#[derive(Debug)]
pub(crate) struct CurrentSnapshot {
    snapshot: ArcSwapOption<Snapshot>,
    revision: watch::Sender<u64>,
    pub(crate) sync: SyncTracker,
}

impl Default for CurrentSnapshot {
    fn default() -> Self {
        Self { snapshot: ArcSwapOption::empty(), revision: watch::Sender::new(0), sync: SyncTracker::default() }
    }
}

impl CurrentSnapshot {
    /// None when there never was one.
    pub(crate) fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.load_full()
    }

    /// Sees every change to the latest value; 0 stands for none yet.
    pub(crate) fn revision(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Sets the first snapshot, unless there is one already. True when it was taken.
    pub(crate) fn begin(&self, snapshot: Arc<Snapshot>) -> bool {
        let revision = snapshot.revision();
        let known = self.snapshot.compare_and_swap(&None::<Arc<Snapshot>>, Some(snapshot));
        if known.is_none() {
            // A writer that replaced it since then has published a revision, which is not to be overwritten.
            self.revision.send_if_modified(|known| *known == 0 && std::mem::replace(known, revision) != revision);
        }
        known.is_none()
    }

    /// Sets the snapshot before its revision: a reader that sees the revision finds this snapshot or a later one.
    pub(crate) fn replace(&self, snapshot: Arc<Snapshot>) {
        let revision = snapshot.revision();
        self.snapshot.store(Some(snapshot));
        self.revision.send_replace(revision);
    }
}

/// When a store's snapshot was last known to be the newest, and how often that could not be found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncStatus {
    /// When the snapshot was last known to be the newest there is. None while it never was: it was read from the disk,
    /// or there is none.
    pub synced_at: Option<Instant>,
    /// Failed reads since the store was opened: it could not be reached, or its content cannot be used.
    pub failures: u64,
}

impl SyncStatus {
    /// Of a snapshot that is the newest at any time.
    pub(crate) fn always() -> Self {
        Self { synced_at: Some(Instant::now()), failures: 0 }
    }
}

/// Counts the reads of a store that others write to.
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

    /// Notes that the snapshot has what the store holds now.
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
