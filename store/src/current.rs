//! The last good snapshot and its revision, as readers see them.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use crate::{Snapshot, sync_status::SyncTracker};

/// The snapshot in force. One writer at a time, by whatever lock its owner has; any number of readers, which never wait.
#[derive(Debug)]
pub(crate) struct CurrentSnapshot {
    snapshot: ArcSwapOption<Snapshot>,
    revision: watch::Sender<u64>,
    /// Whether it is the newest.
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

    /// The first snapshot, unless there is one already. Says whether it was taken.
    pub(crate) fn begin(&self, snapshot: Arc<Snapshot>) -> bool {
        let revision = snapshot.revision();
        let known = self.snapshot.compare_and_swap(&None::<Arc<Snapshot>>, Some(snapshot));
        if known.is_none() {
            // Whoever replaced it in between said a revision, and it is said again.
            self.revision.send_if_modified(|known| *known == 0 && std::mem::replace(known, revision) != revision);
        }
        known.is_none()
    }

    /// Who learns of the revision finds the snapshot, or a later one.
    pub(crate) fn replace(&self, snapshot: Arc<Snapshot>) {
        let revision = snapshot.revision();
        self.snapshot.store(Some(snapshot));
        self.revision.send_replace(revision);
    }
}
