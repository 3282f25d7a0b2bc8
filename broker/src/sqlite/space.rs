//! The room of the file: what its file system and `broker.max_bytes` leave, and what may still be stored.
//!
//! What the file has and does not use counts as room: its free pages, and an end that is not cut off yet. Pages that only
//! the write-ahead log holds do not: the file still has to grow by them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rusqlite::Connection;
use service::atomic_file::folder_of;
use tokio::sync::watch;

use super::{checkpoints::WalBounds, command::RowTarget};
use crate::Queue;

const MIB: u64 = 1024 * 1024;
/// Largest reserve, in bytes. It is a tenth of the file system otherwise.
const LARGEST_RESERVE: u64 = 1024 * MIB;
/// Smallest reserve, in bytes, or a quarter of a smaller file system: a write-ahead log and some transactions fit into it.
const SMALLEST_RESERVE: u64 = 16 * MIB;
/// Size of the write-ahead log, in bytes, from which on it is written back into the file.
const CHECKPOINT_FROM: u64 = 4 * MIB;
/// Bytes of the ballast.
const BALLAST: u64 = 4 * MIB;
/// Longest time between two looks at the file system.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How full the embedded broker is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorageState {
    /// Bytes that are in use within the file: all that waits, and the logs.
    pub used_bytes: u64,
    /// Bytes that can still be written, the reserve included.
    pub free_bytes: u64,
    /// Why no events are taken in; `None` while they are.
    pub full: Option<String>,
}

/// What may be stored, the least restricted first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admission {
    All,
    /// Everything but events.
    NoEvents,
    /// Only what takes the place of something that is settled next: retries, deferred deliveries, events that are put
    /// aside, and records of logs. A router makes many deliveries of one event, and would leave the deliverers no room to
    /// go on.
    NoDeliveries,
}

impl Admission {
    fn allows(self, to: RowTarget) -> bool {
        match (self, to) {
            (Self::All, _) => true,
            (_, RowTarget::Delayed(..) | RowTarget::Queue(Queue::IngestSlow) | RowTarget::Log(_)) => true,
            (_, RowTarget::Queue(Queue::Ingest)) => false,
            (admission, RowTarget::Queue(Queue::Lane(_))) => admission == Self::NoEvents,
        }
    }
}

/// What a look finds, in bytes.
#[derive(Clone, Copy, Debug)]
struct Measurement {
    free: u64,
    used: u64,
}

/// The limits of a file, in bytes.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Size of the file system.
    total: u64,
    /// `broker.max_bytes`, if it is set.
    max_bytes: Option<u64>,
}

impl Bounds {
    fn reserve(self) -> u64 {
        (self.total / 10).min(LARGEST_RESERVE).max(SMALLEST_RESERVE.min(self.total / 4))
    }

    /// What the write-ahead log may have of the reserve.
    fn wal(self) -> WalBounds<u64> {
        let reserve = self.reserve();
        let thread_from = (reserve / 4).min(CHECKPOINT_FROM);
        WalBounds { thread_from, writer_from: (reserve / 2).min(4 * thread_from) }
    }

    /// Decides what may be stored, with the reason if events may not. A closed intake opens only when an eighth more is
    /// free than closed it, so that it does not open and close with each event.
    fn admission(self, found: Measurement, was_closed: bool) -> (Admission, Option<String>) {
        let reserve = self.reserve();
        let margin = |of: u64| if was_closed { of / 8 } else { 0 };
        let open_above = reserve + margin(reserve);
        if found.free < open_above {
            let reason =
                format!("{} MiB of disk are free, {} MiB are kept in reserve", found.free / MIB, open_above / MIB);
            let scarce = found.free < reserve / 2;
            return (if scarce { Admission::NoDeliveries } else { Admission::NoEvents }, Some(reason));
        }
        match self.max_bytes {
            Some(most) if found.used > most - margin(most) => {
                let reason = format!("{} bytes are used, broker.max_bytes is {most}", found.used);
                (Admission::NoEvents, Some(reason))
            }
            _ => (Admission::All, None),
        }
    }

    /// Bytes that may be stored before the next look: a quarter of the room, for pages are not filled to the end, and
    /// the write-ahead log holds them as well.
    fn budget(self, found: Measurement) -> u64 {
        let on_disk = found.free.saturating_sub(self.reserve());
        self.max_bytes.map_or(on_disk, |most| on_disk.min(most.saturating_sub(found.used))) / 4
    }
}

/// The writer's view of the room.
pub(super) struct Space {
    path: PathBuf,
    bounds: Bounds,
    admission: Admission,
    looked_at: Option<Instant>,
    /// Bytes that may be stored before the next look.
    budget: u64,
    ballast: Ballast,
    state: watch::Sender<StorageState>,
}

impl Space {
    /// Looks at the file system of the file at `path`. A `max_bytes` of 0 is no limit.
    pub(super) fn of(path: &Path, max_bytes: u64) -> io::Result<Self> {
        let total = file_system(path)?.0;
        Ok(Self {
            path: path.to_owned(),
            bounds: Bounds { total, max_bytes: (max_bytes > 0).then_some(max_bytes) },
            admission: Admission::All,
            looked_at: None,
            budget: 0,
            ballast: Ballast::beside(path),
            state: watch::channel(StorageState::default()).0,
        })
    }

    pub(super) fn state(&self) -> watch::Receiver<StorageState> {
        self.state.subscribe()
    }

    /// Bytes that the file may have at most.
    pub(super) fn capacity(&self) -> u64 {
        self.bounds.max_bytes.map_or(self.bounds.total, |most| most.min(self.bounds.total))
    }

    pub(super) fn wal_bounds(&self) -> WalBounds<u64> {
        self.bounds.wal()
    }

    /// Prepares for storing `bytes`: looks again if the last look was a while ago, or the room that it found may be used
    /// up.
    pub(super) fn prepare(&mut self, connection: &Connection, bytes: u64) {
        let is_recent = self.looked_at.is_some_and(|looked_at| looked_at.elapsed() < LOOK_INTERVAL);
        if !is_recent || bytes > self.budget && self.admission == Admission::All {
            self.look(connection);
        }
        self.budget = self.budget.saturating_sub(bytes);
    }

    /// True when nothing is refused.
    pub(super) fn is_open(&self) -> bool {
        self.admission == Admission::All
    }

    /// Whether a message may be stored; the reason if not.
    pub(super) fn admit(&self, to: RowTarget) -> Result<(), String> {
        match self.admission.allows(to) {
            true => Ok(()),
            false => Err(self.state.borrow().full.clone().unwrap_or_default()),
        }
    }

    /// Notes that SQLite found the disk full. Takes in no events until the next look, and gives up the ballast, so that
    /// there is room for deletions.
    pub(super) fn exhausted(&mut self) {
        self.ballast.give_up();
        self.looked_at = Some(Instant::now());
        self.budget = 0;
        if self.admission == Admission::All {
            self.admission = Admission::NoEvents;
        }
        self.publish(|state| state.full = Some(state.full.take().unwrap_or_else(|| "the disk is full".to_owned())));
    }

    /// A look that fails leaves everything as it was: whether the file can be written is seen by writing it.
    fn look(&mut self, connection: &Connection) {
        self.looked_at = Some(Instant::now());
        let Ok(found) = self.measure(connection) else { return };
        let (admission, full) = self.bounds.admission(found, !self.is_open());
        self.admission = admission;
        self.budget = self.bounds.budget(found);
        if self.is_open() && found.free > self.bounds.reserve() + BALLAST {
            self.ballast.take();
        }
        self.publish(|state| *state = StorageState { used_bytes: found.used, free_bytes: found.free, full });
    }

    fn measure(&self, connection: &Connection) -> Result<Measurement, Box<dyn std::error::Error>> {
        let page_size = pragma(connection, "page_size")?;
        let (pages, unused) = (pragma(connection, "page_count")?, pragma(connection, "freelist_count")?);
        let used = pages.saturating_sub(unused) * page_size;
        let free = (file_system(&self.path)?.1 + fs::metadata(&self.path)?.len()).saturating_sub(used);
        Ok(Measurement { free, used })
    }

    fn publish(&self, change: impl FnOnce(&mut StorageState)) {
        let mut was_full = false;
        self.state.send_modify(|state| {
            was_full = state.full.is_some();
            change(state);
        });
        match &self.state.borrow().full {
            Some(error) if !was_full => tracing::warn!(error, "broker.storage_full"),
            None if was_full => tracing::info!("broker.storage_freed"),
            _ => {}
        }
    }
}

/// A file that only takes up room. Its removal lets the writer delete on a disk that others have filled.
struct Ballast {
    path: PathBuf,
    is_there: bool,
}

impl Ballast {
    fn beside(path: &Path) -> Self {
        let path = folder_of(path).join("ballast");
        let is_there = fs::metadata(&path).is_ok_and(|file| file.len() == BALLAST);
        Self { path, is_there }
    }

    fn take(&mut self) {
        if !self.is_there {
            self.is_there = fs::write(&self.path, vec![0; BALLAST as usize]).is_ok();
        }
    }

    fn give_up(&mut self) {
        let _ = fs::remove_file(&self.path);
        self.is_there = false;
    }
}

/// Size of the file system that holds `path`, and how much of it is available, in bytes.
fn file_system(path: &Path) -> io::Result<(u64, u64)> {
    let found = rustix::fs::statvfs(path)?;
    Ok((found.f_blocks.saturating_mul(found.f_frsize), found.f_bavail.saturating_mul(found.f_frsize)))
}

pub(super) fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Lane, Log};

    const GIB: u64 = 1024 * MIB;

    fn admission(bounds: Bounds, free: u64, used: u64, was_closed: bool) -> Admission {
        let (admission, reason) = bounds.admission(Measurement { free, used }, was_closed);
        assert_eq!(reason.is_some(), admission != Admission::All);
        admission
    }

    #[test]
    fn the_reserve_is_a_tenth_within_bounds_and_holds_the_write_ahead_log() {
        let reserves = [(32, 8), (64, 16), (1_000, 100), (5_120, 512), (100 * 1_024, 1_024)];
        for (total, reserve) in reserves {
            let bounds = Bounds { total: total * MIB, max_bytes: None };
            assert_eq!(bounds.reserve(), reserve * MIB, "of {total} MiB");
            let WalBounds { thread_from, writer_from } = bounds.wal();
            assert!(thread_from < writer_from && writer_from <= reserve * MIB / 2, "of {total} MiB");
        }
    }

    #[test]
    fn the_intake_closes_first_and_opens_with_some_room_to_spare() {
        let bounds = Bounds { total: 10 * GIB, max_bytes: None };
        assert_eq!(admission(bounds, GIB, 0, false), Admission::All);
        assert_eq!(admission(bounds, GIB - 1, 0, false), Admission::NoEvents);
        assert_eq!(admission(bounds, GIB, 0, true), Admission::NoEvents);
        assert_eq!(admission(bounds, GIB / 2 - 1, 0, true), Admission::NoDeliveries);
        assert_eq!(admission(bounds, GIB + GIB / 8, 0, true), Admission::All);
    }

    #[test]
    fn max_bytes_closes_the_intake_alone() {
        let bounds = Bounds { total: 100 * GIB, max_bytes: Some(GIB) };
        let free = 90 * GIB;
        assert_eq!(admission(bounds, free, GIB, false), Admission::All);
        assert_eq!(admission(bounds, free, 5 * GIB, false), Admission::NoEvents);
        assert_eq!(admission(bounds, free, GIB, true), Admission::NoEvents);
        assert_eq!(admission(bounds, free, GIB - GIB / 8, true), Admission::All);
    }

    #[test]
    fn retries_put_aside_events_and_records_are_stored_however_little_is_free() {
        let (event, delivery) = (RowTarget::Queue(Queue::Ingest), RowTarget::Queue(Queue::Lane(Lane::Fast)));
        let (retry, record) = (RowTarget::Delayed(Lane::Slow, 1), RowTarget::Log(Log::Dead));
        let put_aside = RowTarget::Queue(Queue::IngestSlow);
        let allowed = |admission: Admission| [event, delivery, retry, put_aside, record].map(|to| admission.allows(to));
        assert_eq!(allowed(Admission::All), [true; 5]);
        assert_eq!(allowed(Admission::NoEvents), [false, true, true, true, true]);
        assert_eq!(allowed(Admission::NoDeliveries), [false, false, true, true, true]);
    }
}
