//! All tables together: what one transaction does, and whether one is called for.

use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    command::{Row, Slot},
    later::Later,
    log::{Ends, Ledger, Retention},
    waiting::{Pick, Waiting},
};
use crate::{Lane, Log, PublishError, Queue};

/// How many bytes one transaction hands out per inlet; what is over that goes with the next.
const HAND_OUT: usize = 4 * 1024 * 1024;
/// How often the logs are looked through for what is too old, in milliseconds.
const TRIM_EVERY: i64 = 60_000;

/// A message to be stored, and who waits for it.
pub(super) struct Publish {
    pub(super) slot: Slot,
    pub(super) row: Row,
    pub(super) reply: oneshot::Sender<Result<(), PublishError>>,
}

/// Every table.
pub(super) struct Tables {
    ingest: Waiting,
    fast: Waiting,
    slow: Waiting,
    later: Later,
    dead: Ledger,
    parked: Ledger,
    pub(super) ends: Arc<Ends>,
    /// In unix milliseconds.
    next_trim: i64,
}

/// What is handed out after the commit.
pub(super) type Picks = [(Queue, Vec<Pick>); 3];

impl Tables {
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut tables = Self {
            ingest: Waiting::load(connection, Queue::Ingest)?,
            fast: Waiting::load(connection, Queue::Lane(Lane::Fast))?,
            slow: Waiting::load(connection, Queue::Lane(Lane::Slow))?,
            later: Later::load(connection)?,
            dead: Ledger::load(connection, Log::Dead, Retention::of(Log::Dead))?,
            parked: Ledger::load(connection, Log::Parked, Retention::of(Log::Parked))?,
            ends: Arc::default(),
            next_trim: 0,
        };
        tables.dead.commit(&tables.ends);
        tables.parked.commit(&tables.ends);
        Ok(tables)
    }

    pub(super) fn at(&mut self, inlet: Queue) -> &mut Waiting {
        match inlet {
            Queue::Ingest => &mut self.ingest,
            Queue::Lane(Lane::Fast) => &mut self.fast,
            Queue::Lane(Lane::Slow) => &mut self.slow,
        }
    }

    pub(super) fn dismiss(&mut self) {
        for inlet in [&mut self.ingest, &mut self.fast, &mut self.slow] {
            inlet.dismiss();
        }
    }

    /// Whether a transaction at `now` has anything to do besides publishing.
    pub(super) fn has_work(&self, now: i64) -> bool {
        [&self.ingest, &self.fast, &self.slow].into_iter().any(Waiting::has_work) || self.wake() <= now
    }

    /// When there will be something to do by itself, in unix milliseconds.
    pub(super) fn wake(&self) -> i64 {
        self.later.next().map_or(self.next_trim, |due| due.min(self.next_trim))
    }

    /// Does it all, within the transaction that is open on `connection`.
    pub(super) fn write(
        &mut self,
        connection: &Connection,
        publishes: &[Publish],
        now: i64,
    ) -> rusqlite::Result<Picks> {
        for publish in publishes {
            self.store(connection, publish, now)?;
        }
        self.park(connection, now)?;
        self.later.wake(connection, now, &mut self.fast, &mut self.slow)?;
        self.trim(connection, now)?;
        Ok([
            (Queue::Ingest, self.ingest.pick(connection, HAND_OUT)?),
            (Queue::Lane(Lane::Fast), self.fast.pick(connection, HAND_OUT)?),
            (Queue::Lane(Lane::Slow), self.slow.pick(connection, HAND_OUT)?),
        ])
    }

    pub(super) fn commit(&mut self, picks: &Picks) {
        for (inlet, picks) in picks {
            self.at(*inlet).commit(picks);
        }
        self.dead.commit(&self.ends);
        self.parked.commit(&self.ends);
    }

    pub(super) fn rollback(&mut self) {
        for inlet in [&mut self.ingest, &mut self.fast, &mut self.slow] {
            inlet.rollback();
        }
        self.later.rollback();
        self.dead.rollback();
        self.parked.rollback();
    }

    fn store(&mut self, connection: &Connection, publish: &Publish, now: i64) -> rusqlite::Result<()> {
        match publish.slot {
            // One that is due already needs no wait.
            Slot::Later(lane, due) if i64::try_from(due).is_ok_and(|due| due <= now) => {
                self.at(Queue::Lane(lane)).insert(connection, &publish.row)
            }
            Slot::Later(lane, due) => self.later.insert(connection, lane, due, &publish.row),
            Slot::Queue(inlet) => self.at(inlet).insert(connection, &publish.row),
            Slot::Log(Log::Dead) => self.dead.append(connection, now, &publish.row),
            Slot::Log(Log::Parked) => self.parked.append(connection, now, &publish.row),
        }
    }

    /// Deletes what is settled; what was given back too often goes to the parked log.
    fn park(&mut self, connection: &Connection, now: i64) -> rusqlite::Result<()> {
        for inlet in [&self.ingest, &self.fast, &self.slow] {
            for mut row in inlet.clear(connection)? {
                row.key = inlet.place.parked_key(&row.key, &row.headers());
                self.parked.append(connection, now, &row)?;
            }
        }
        Ok(())
    }

    fn trim(&mut self, connection: &Connection, now: i64) -> rusqlite::Result<()> {
        if now >= self.next_trim {
            let more = self.dead.trim(connection, now)? | self.parked.trim(connection, now)?;
            self.next_trim = if more { now } else { now + TRIM_EVERY };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
