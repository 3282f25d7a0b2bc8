//! Reads the folder when it has changed, and keeps the last good snapshot and the last error. Blocks.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::watch;

use super::{
    folder::{FolderContent, Listing},
    merge::load,
};
use crate::{Snapshot, StoreError, SyncStatus, snapshot::current::SyncTracker};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadMode {
    /// Reads the files when the listing differs from the last one, or when the last reading failed.
    IfListingChanged,
    /// Reads the files in any case.
    Always,
}

#[derive(Debug)]
pub(super) struct FolderReader {
    folder: PathBuf,
    current: ArcSwap<Snapshot>,
    revision: watch::Sender<u64>,
    last_error: ArcSwapOption<StoreError>,
    sync: SyncTracker,
    /// Number of readings of all files that have begun.
    begun: AtomicU64,
    /// Locked during one reading.
    seen: Mutex<LastRead>,
}

/// State of the folder at the last reading, usable or not.
#[derive(Debug)]
struct LastRead {
    stamps: Listing,
    digest: u64,
    /// What is wrong with this state.
    fault: Option<StoreError>,
}

impl FolderReader {
    pub(super) fn open(folder: PathBuf) -> Result<Self, StoreError> {
        let content = FolderContent::read(&folder).map_err(|error| unlistable(&folder, &error))?;
        let seen = Mutex::new(LastRead { stamps: content.stamps.clone(), digest: content.digest(), fault: None });
        let tenants = load(content.files).map_err(|lines| StoreError(lines.join("\n")))?;
        let snapshot = Snapshot::local(1, tenants.into_iter().map(|tenant| Arc::new(tenant.into())));
        let reader = Self {
            folder,
            current: ArcSwap::from_pointee(snapshot),
            revision: watch::Sender::new(1),
            last_error: ArcSwapOption::empty(),
            sync: SyncTracker::default(),
            begun: AtomicU64::new(0),
            seen,
        };
        reader.log_loaded();
        reader.sync.succeeded();
        Ok(reader)
    }

    /// Brings the snapshot up to date.
    ///
    /// # Errors
    /// Everything that is wrong with the files, found now or at the last reading of the same content.
    pub(super) fn look(&self, look: ReadMode) -> Result<(), StoreError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self.look_past(&mut seen, look);
        if result.is_ok() {
            self.sync.succeeded();
        }
        let error = result.as_ref().err().cloned().map(Arc::new);
        let known = self.last_error.swap(error.clone());
        match (known, error) {
            (Some(known), Some(error)) if known.0 == error.0 => {}
            (_, Some(error)) => tracing::error!(%error, "store.not_reloaded"),
            (Some(_), None) => tracing::info!("store.recovered"),
            (None, None) => {}
        }
        result
    }

    /// Compares the folder with the last reading: first the listing, then the content.
    fn look_past(&self, seen: &mut LastRead, look: ReadMode) -> Result<(), StoreError> {
        let unlistable = |error| self.failed(unlistable(&self.folder, &error));
        if look == ReadMode::IfListingChanged && self.last_error.load().is_none() {
            let stamps = Listing::of(&self.folder).map_err(unlistable)?;
            if stamps == seen.stamps {
                return Ok(());
            }
        }
        self.begun.fetch_add(1, Ordering::AcqRel);
        let content = FolderContent::read(&self.folder).map_err(unlistable)?;
        let digest = content.digest();
        seen.stamps = content.stamps.clone();
        if digest != seen.digest {
            seen.digest = digest;
            seen.fault = self.take_over(content).err().map(|error| self.failed(error));
        }
        seen.fault.clone().map_or(Ok(()), Err)
    }

    fn take_over(&self, content: FolderContent) -> Result<(), StoreError> {
        if content.stamps.is_missing() && self.snapshot().tenants().next().is_some() {
            // A missing folder is most likely an unmounted disk. To remove everything, the operator empties the folder.
            return Err(StoreError(format!("{}: the folder is gone", self.folder.display())));
        }
        let tenants = load(content.files).map_err(|lines| StoreError(lines.join("\n")))?;
        if let Some(next) = self.snapshot().next(tenants) {
            let revision = next.revision();
            self.current.store(Arc::new(next));
            self.revision.send_replace(revision);
        }
        self.log_loaded();
        Ok(())
    }

    fn failed(&self, error: StoreError) -> StoreError {
        self.sync.failed();
        error
    }

    fn log_loaded(&self) {
        let snapshot = self.snapshot();
        tracing::info!(revision = snapshot.revision(), tenants = snapshot.tenants().count(), "store.loaded");
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    pub(super) fn revision(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    pub(super) fn last_error(&self) -> Option<Arc<StoreError>> {
        self.last_error.load_full()
    }

    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }

    pub(super) fn sync_status(&self) -> SyncStatus {
        self.sync.sync_status()
    }
}

fn unlistable(folder: &Path, error: &std::io::Error) -> StoreError {
    StoreError(format!("{}: {error}", folder.display()))
}
