//! All tables together: what one transaction does, and when one is needed.

use std::{sync::Arc, time::Duration};

use rusqlite::Connection;
use service::RetentionClock;
use tokio::{sync::oneshot, time::Instant};

use super::{
    command::RowTarget,
    delays::DelayedTable,
    logs::{LogEnds, LogTable, Retention},
    message::MessageRow,
    queue::{Pick, SqliteQueue},
};
use crate::{Lane, Log, LogBytes, PublishError, Queue, Settlement};

/// Bytes that one transaction hands out per queue.
const HAND_OUT_BYTES: usize = 4 * 1024 * 1024;
/// Longest time that a settled message waits for a transaction that happens anyway, before one is made for its deletion. After
/// a crash it is handed out once more, so the time is short.
const SETTLED_WAIT: Duration = Duration::from_millis(5);
/// Largest number of settled messages that wait so.
const MAX_SETTLED: usize = 512;
/// Milliseconds between two searches for records that are too old.
const TRIM_INTERVAL: i64 = 60_000;

pub(super) struct Publish {
    pub(super) to: RowTarget,
    pub(super) row: Arc<MessageRow>,
    pub(super) reply: oneshot::Sender<Result<(), PublishError>>,
}

pub(super) struct Tables {
    ingest: SqliteQueue,
    ingest_slow: SqliteQueue,
    fast: SqliteQueue,
    slow: SqliteQueue,
    delayed: DelayedTable,
    dead: LogTable,
    parked: LogTable,
    pub(super) ends: Arc<LogEnds>,
    /// The time by which settled messages are deleted; `None` when there are none.
    settled_until: Option<Instant>,
    /// Unix milliseconds.
    next_trim: i64,
    retention_clock: RetentionClock,
}

pub(super) type Picks = [(Queue, Vec<Pick>); 4];

impl Tables {
    pub(super) fn load(connection: &Connection, logs: LogBytes) -> rusqlite::Result<Self> {
        let mut tables = Self {
            ingest: SqliteQueue::load(connection, Queue::Ingest)?,
            ingest_slow: SqliteQueue::load(connection, Queue::IngestSlow)?,
            fast: SqliteQueue::load(connection, Queue::Lane(Lane::Fast))?,
            slow: SqliteQueue::load(connection, Queue::Lane(Lane::Slow))?,
            delayed: DelayedTable::load(connection)?,
            dead: LogTable::load(connection, Log::Dead, Retention::of(logs.dead))?,
            parked: LogTable::load(connection, Log::Parked, Retention::of(logs.parked))?,
            ends: Arc::default(),
            settled_until: None,
            next_trim: 0,
            retention_clock: RetentionClock::default(),
        };
        tables.dead.commit(&tables.ends);
        tables.parked.commit(&tables.ends);
        Ok(tables)
    }

    pub(super) fn at(&mut self, queue: Queue) -> &mut SqliteQueue {
        match queue {
            Queue::Ingest => &mut self.ingest,
            Queue::IngestSlow => &mut self.ingest_slow,
            Queue::Lane(Lane::Fast) => &mut self.fast,
            Queue::Lane(Lane::Slow) => &mut self.slow,
        }
    }

    fn queues(&self) -> [&SqliteQueue; 4] {
        [&self.ingest, &self.ingest_slow, &self.fast, &self.slow]
    }

    fn queues_mut(&mut self) -> [&mut SqliteQueue; 4] {
        [&mut self.ingest, &mut self.ingest_slow, &mut self.fast, &mut self.slow]
    }

    pub(super) fn remove_all_consumers(&mut self) {
        self.queues_mut().into_iter().for_each(SqliteQueue::remove_all_consumers);
    }

    /// Notes what the next transaction has to do about a settled message.
    pub(super) fn settle(&mut self, at: Queue, seq: i64, settlement: Settlement) {
        self.at(at).settle(seq, settlement);
        if settlement == Settlement::Done {
            self.settled_until.get_or_insert_with(|| Instant::now() + SETTLED_WAIT);
            if self.queues().into_iter().map(SqliteQueue::settled).sum::<usize>() >= MAX_SETTLED {
                self.delete_settled_now();
            }
        }
    }

    /// Gives settled messages no time to wait.
    pub(super) fn delete_settled_now(&mut self) {
        self.settled_until = self.settled_until.map(|_| Instant::now());
    }

    /// How long settled messages may still wait to be deleted; `None` when there are none.
    pub(super) fn settled_wait(&self) -> Option<Duration> {
        Some(self.settled_until?.saturating_duration_since(Instant::now()))
    }

    /// True when a transaction at `now` has work besides publishing.
    pub(super) fn has_work(&self, now: i64) -> bool {
        self.queues().into_iter().any(SqliteQueue::has_work)
            || self.settled_wait().is_some_and(|wait| wait.is_zero())
            || self.next_work(now) <= now
    }

    /// True when nothing waits in a queue that could be handed out.
    pub(super) fn are_drained(&self) -> bool {
        self.queues().into_iter().all(SqliteQueue::is_drained)
    }

    /// Unix milliseconds at which there will be work without a command.
    pub(super) fn next_work(&self, now: i64) -> i64 {
        let next_trim = self.next_trim(now);
        self.delayed.next().map_or(next_trim, |due| due.min(next_trim))
    }

    /// Unix milliseconds at which logs are trimmed next: now, if the clock was set back since the last time.
    fn next_trim(&self, now: i64) -> i64 {
        if self.next_trim > now + TRIM_INTERVAL { now } else { self.next_trim }
    }

    /// `connection` has an open transaction.
    pub(super) fn write(
        &mut self,
        connection: &Connection,
        publishes: &[Publish],
        now: i64,
    ) -> rusqlite::Result<Picks> {
        for publish in publishes {
            self.store(connection, publish, now)?;
        }
        self.delete_settled(connection, now)?;
        self.delayed.release_due(connection, now, &mut self.fast, &mut self.slow)?;
        self.trim(connection, now)?;
        self.pick(connection)
    }

    /// Like [`write`](Self::write), without what makes the file larger: new messages, and moving those that are due.
    pub(super) fn write_deletions(&mut self, connection: &Connection, now: i64) -> rusqlite::Result<Picks> {
        self.delete_settled(connection, now)?;
        self.trim(connection, now)?;
        self.pick(connection)
    }

    fn pick(&mut self, connection: &Connection) -> rusqlite::Result<Picks> {
        Ok([
            (Queue::Ingest, self.ingest.pick(connection, HAND_OUT_BYTES)?),
            (Queue::IngestSlow, self.ingest_slow.pick(connection, HAND_OUT_BYTES)?),
            (Queue::Lane(Lane::Fast), self.fast.pick(connection, HAND_OUT_BYTES)?),
            (Queue::Lane(Lane::Slow), self.slow.pick(connection, HAND_OUT_BYTES)?),
        ])
    }

    pub(super) fn commit(&mut self, picks: &Picks) {
        for (queue, picks) in picks {
            self.at(*queue).commit(picks);
        }
        self.settled_until = None;
        self.dead.commit(&self.ends);
        self.parked.commit(&self.ends);
    }

    /// Accepts what a transaction has removed that did nothing else.
    pub(super) fn commit_removal(&mut self) {
        self.dead.commit(&self.ends);
        self.parked.commit(&self.ends);
    }

    pub(super) fn rollback(&mut self) {
        self.queues_mut().into_iter().for_each(SqliteQueue::rollback);
        self.delayed.rollback();
        self.dead.rollback();
        self.parked.rollback();
    }

    fn store(&mut self, connection: &Connection, publish: &Publish, now: i64) -> rusqlite::Result<()> {
        match publish.to {
            // A message that is due already does not wait.
            RowTarget::Delayed(lane, due) if i64::try_from(due).is_ok_and(|due| due <= now) => {
                self.at(Queue::Lane(lane)).insert(connection, &publish.row)
            }
            RowTarget::Delayed(lane, due) => self.delayed.insert(connection, lane, due, &publish.row),
            RowTarget::Queue(queue) => self.at(queue).insert(connection, &publish.row),
            RowTarget::Log(Log::Dead) => self.dead.append(connection, now, &publish.row),
            RowTarget::Log(Log::Parked) => self.parked.append(connection, now, &publish.row),
        }
    }

    /// Deletes settled messages, and moves those that were given back too often to the log of parked messages.
    fn delete_settled(&mut self, connection: &Connection, now: i64) -> rusqlite::Result<()> {
        for state in [&mut self.ingest, &mut self.ingest_slow, &mut self.fast, &mut self.slow] {
            for mut row in state.delete_settled(connection)? {
                row.park_over_limit(state.queue, now);
                self.parked.append(connection, now, &row)?;
            }
        }
        Ok(())
    }

    pub(super) fn remove_records(
        &mut self,
        connection: &Connection,
        log: Log,
        offsets: &[u64],
    ) -> rusqlite::Result<()> {
        match log {
            Log::Dead => self.dead.remove(connection, offsets),
            Log::Parked => self.parked.remove(connection, offsets),
        }
    }

    pub(super) fn end_waits(&mut self, connection: &Connection, delayed: &[i64]) -> rusqlite::Result<()> {
        self.delayed.end_waits(connection, delayed)
    }

    fn trim(&mut self, connection: &Connection, now: i64) -> rusqlite::Result<()> {
        if now >= self.next_trim(now) {
            let wall = u64::try_from(now).unwrap_or_default();
            let by = i64::try_from(self.retention_clock.now(wall, Instant::now())).unwrap_or(i64::MAX);
            let more = self.dead.trim(connection, by)? | self.parked.trim(connection, by)?;
            self.next_trim = if more { now } else { now + TRIM_INTERVAL };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
