//! Giving the free pages of the file back to its file system, a few at a time.
//!
//! SQLite uses the free pages for what is stored next. A flood leaves more of them than are soon needed. While nothing
//! waits and nothing else is to be done, the writer moves the last pages to the places of free ones, and a checkpoint
//! cuts the end of the file off.

use std::time::{Duration, Instant};

use rusqlite::{Connection, DEFAULT_NAME, wal::CheckpointMode};

use super::space::pragma;

/// Bytes of free pages that the file keeps, so that it does not shrink and grow with each burst.
const KEPT: u64 = 8 * 1024 * 1024;
/// Largest number of pages that one step gives back. What is published meanwhile waits for its end: about a millisecond,
/// and a flush of the disk.
const STEP: u64 = 64;
/// Pause after a step, as a multiple of the time that it took.
const PAUSE: u32 = 10;
/// Time between two looks while there is nothing to give back.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct FreePages {
    /// False for a large file of a version that could not shrink it. Its free pages are only used again.
    can_shrink: bool,
    /// True when pages were given back that the file still has, because no checkpoint came since.
    is_cut_missing: bool,
    next_step: Instant,
}

/// What a step did.
enum Step {
    /// Something, and there may be more to do.
    Done,
    /// Nothing, and there is nothing to do for a while.
    Nothing,
}

impl FreePages {
    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Self> {
        Ok(Self { can_shrink: can_shrink(connection)?, is_cut_missing: false, next_step: Instant::now() })
    }

    /// The time until the next step.
    pub(super) fn wait(&self) -> Duration {
        if self.can_shrink { self.next_step.saturating_duration_since(Instant::now()) } else { LOOK_INTERVAL }
    }

    /// Does a step if it is time. A step that fails (another program reads or locks the file) is tried again later.
    pub(super) fn give_back(&mut self, connection: &Connection) {
        if !self.wait().is_zero() {
            return;
        }
        let begin = Instant::now();
        let pause = match self.step(connection) {
            Ok(Step::Done) => begin.elapsed() * PAUSE,
            Ok(Step::Nothing) => LOOK_INTERVAL,
            Err(error) => {
                tracing::debug!(%error, "broker.file_not_shrunk");
                LOOK_INTERVAL
            }
        };
        self.next_step = Instant::now() + pause;
    }

    fn step(&mut self, connection: &Connection) -> rusqlite::Result<Step> {
        let kept = KEPT / pragma(connection, "page_size")?;
        let pages = pragma(connection, "freelist_count")?.saturating_sub(kept).min(STEP);
        if pages > 0 {
            self.is_cut_missing = true;
            let pages = i64::try_from(pages).unwrap_or(i64::MAX);
            // SQLite answers with an empty row for each page.
            connection.pragma(None, "incremental_vacuum", pages, |_| Ok(()))?;
            return Ok(Step::Done);
        }
        if self.is_cut_missing {
            let (frames, written_back) = connection.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::PASSIVE)?;
            // A reader, or another checkpoint, may keep this one from its end.
            self.is_cut_missing = written_back < frames;
            return Ok(if self.is_cut_missing { Step::Nothing } else { Step::Done });
        }
        Ok(Step::Nothing)
    }
}

/// True when the file keeps the addresses that SQLite needs to move pages.
pub(super) fn can_shrink(connection: &Connection) -> rusqlite::Result<bool> {
    Ok(pragma(connection, "auto_vacuum")? != 0)
}
