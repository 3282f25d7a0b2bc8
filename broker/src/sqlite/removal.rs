//! Removing for good: records and what was deleted before leave the file, and its write-ahead log, a piece at a time.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use super::tables::Tables;
use crate::{Log, ReadError};

/// Rows of one transaction, so that publishing never waits long.
const ROWS: usize = 128;
/// Pause before the write-ahead log is tried to be cut again, which a reader has kept from it.
const PAUSE: Duration = Duration::from_millis(20);
/// Longest time for which it is tried.
const LONGEST: Duration = Duration::from_secs(10);

/// What is to be removed.
#[derive(Debug)]
pub(super) enum Removal {
    /// Records of a log, by their offsets.
    Records(Log, Vec<u64>),
    /// The time that delayed deliveries still have to wait, by their numbers.
    Waits(Vec<i64>),
    /// What was deleted. SQLite has overwritten it in the file, but the write-ahead log has earlier versions of pages.
    Deleted,
}

type Reply = oneshot::Sender<Result<(), ReadError>>;

/// What waits to be removed, the oldest first.
#[derive(Default)]
pub(super) struct Removals {
    waiting: VecDeque<(Removal, Reply)>,
    /// When the first one is tried again, and when no more.
    retry: Option<(Instant, Instant)>,
}

impl Removals {
    pub(super) fn add(&mut self, removal: Removal, reply: Reply) {
        self.waiting.push_back((removal, reply));
    }

    /// The time until the next piece; `None` when there is nothing to remove.
    pub(super) fn wait(&self) -> Option<Duration> {
        self.waiting.front()?;
        Some(self.retry.map_or(Duration::ZERO, |(at, _)| at.saturating_duration_since(Instant::now())))
    }

    /// Removes a piece if it is time.
    pub(super) fn go_on(&mut self, connection: &mut Connection, tables: &mut Tables) {
        if self.wait().is_none_or(|wait| !wait.is_zero()) {
            return;
        }
        let Some((removal, _)) = self.waiting.front_mut() else { return };
        let done = match removal {
            Removal::Records(log, offsets) => {
                let log = *log;
                remove_piece(connection, tables, offsets, |tables, connection, piece| {
                    tables.remove_records(connection, log, piece)
                })
            }
            Removal::Waits(delayed) => remove_piece(connection, tables, delayed, |tables, connection, piece| {
                tables.end_waits(connection, piece)
            }),
            Removal::Deleted => cut_log(connection),
        };
        let now = Instant::now();
        match done {
            Ok(true) => self.answer(Ok(())),
            Ok(false) if matches!(removal, Removal::Deleted) => {
                let (_, end) = *self.retry.get_or_insert((now, now + LONGEST));
                self.retry = Some((now + PAUSE, end));
                if now >= end {
                    self.answer(Err(ReadError("a reader holds the write-ahead log".to_owned())));
                }
            }
            Ok(false) => {}
            Err(error) => self.answer(Err(ReadError(error.to_string()))),
        }
    }

    fn answer(&mut self, done: Result<(), ReadError>) {
        self.retry = None;
        if let Some((_, reply)) = self.waiting.pop_front() {
            // An error says only that nobody waits for the answer.
            let _ = reply.send(done);
        }
    }
}

/// Works on the last of the rows in one transaction. True when there are no more.
fn remove_piece<T>(
    connection: &mut Connection,
    tables: &mut Tables,
    rows: &mut Vec<T>,
    remove: impl FnOnce(&mut Tables, &Connection, &[T]) -> rusqlite::Result<()>,
) -> rusqlite::Result<bool> {
    let left = rows.len().saturating_sub(ROWS);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let removed = remove(tables, &transaction, &rows[left..]).and_then(|()| transaction.commit());
    match removed {
        Ok(()) => tables.commit_removal(),
        Err(error) => {
            tables.rollback();
            return Err(error);
        }
    }
    rows.truncate(left);
    Ok(rows.is_empty())
}

/// Writes the write-ahead log back and cuts it. False when a reader, or another checkpoint, kept it from that.
fn cut_log(connection: &Connection) -> rusqlite::Result<bool> {
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    Ok(busy == 0)
}
