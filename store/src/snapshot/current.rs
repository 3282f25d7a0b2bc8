use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use tokio::{sync::watch, time::Instant};

use super::Snapshot;

/// The snapshot in force. Its owner's lock admits one writer at a time. Readers never wait.
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
    pub(crate) fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.load_full()
    }

    pub(crate) fn revision(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Sets the first snapshot, unless there is one already. Returns whether it was set.
    pub(crate) fn begin(&self, snapshot: Arc<Snapshot>) -> bool {
        let revision = snapshot.revision();
        let known = self.snapshot.compare_and_swap(&None::<Arc<Snapshot>>, Some(snapshot));
        if known.is_none() {
            // A writer that has replaced it since then has published a newer revision, which must stay.
            self.revision.send_if_modified(|known| *known == 0 && std::mem::replace(known, revision) != revision);
        }
        known.is_none()
    }

    /// Sets the snapshot before its revision, so that a reader that sees the revision finds this snapshot or a later
    /// one.
    pub(crate) fn replace(&self, snapshot: Arc<Snapshot>) {
        let revision = snapshot.revision();
        self.snapshot.store(Some(snapshot));
        self.revision.send_replace(revision);
    }
}

/// How up to date a store's snapshot is known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncStatus {
    /// Time at which the snapshot was last known to be the newest. None if it never was, because it was read from the
    /// disk or there is none.
    pub synced_at: Option<Instant>,
    /// Failed reads since the store was opened: it could not be reached, or its content was invalid.
    pub failures: u64,
}

impl SyncStatus {
    /// Status of a snapshot that is always the newest.
    pub(crate) fn always() -> Self {
        Self { synced_at: Some(Instant::now()), failures: 0 }
    }
}

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

    /// Notes that the snapshot has the store's present content.
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
