//! What waits at one inlet: the cursor that goes through it, what is out, and who wants some.
//!
//! A transaction may fail. So what it would change is kept apart until [`Waiting::commit`], and forgotten by
//! [`Waiting::rollback`]; what must happen in any case (a settled message goes) waits for the next one.

use std::{
    collections::{HashMap, VecDeque},
    sync::atomic::{AtomicU64, Ordering},
};

use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::mpsc;

use super::command::Row;
use crate::{Incoming, Inlet, Settlement};

/// A consumer: where its messages go, and how many it may have.
pub(super) struct Tap {
    id: u64,
    credit: usize,
    /// Handed to it and not settled, plus what the transaction under way will hand to it.
    held: usize,
    /// As large as the credit, so that it is never full.
    sender: mpsc::Sender<Incoming>,
}

impl Tap {
    /// A tap and where its messages come out. A credit of none would wait for ever: it counts as one.
    pub(super) fn new(credit: u16) -> (Self, mpsc::Receiver<Incoming>) {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let credit = usize::from(credit.max(1));
        let (sender, receiver) = mpsc::channel(credit);
        (Self { id: NEXT.fetch_add(1, Ordering::Relaxed), credit, held: 0, sender }, receiver)
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }
}

/// One message chosen to be handed out once the transaction has committed.
pub(super) struct Pick {
    pub(super) seq: i64,
    pub(super) count: u32,
    pub(super) row: Row,
    pub(super) to: mpsc::Sender<Incoming>,
    tap: u64,
}

/// Places in the table, all of them numbers that only rise.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Marks {
    /// The last one given to a message.
    last: i64,
    /// All up to here were looked at since the start.
    cursor: i64,
    /// All up to here were handed out, now or by an earlier process.
    mark: i64,
}

struct Held {
    count: u32,
    tap: u64,
}

/// One inlet.
pub(super) struct Waiting {
    pub(super) place: Inlet,
    sql: Sql,
    /// What earlier processes had handed out: what is still there of it was with somebody who did not settle it.
    recovered: i64,
    marks: Marks,
    draft: Marks,
    out: HashMap<i64, Held>,
    /// Given back, with the count for the next time; goes first.
    returned: VecDeque<(i64, u32)>,
    /// Taken from `returned` by the transaction under way.
    taken: Vec<(i64, u32)>,
    /// Settled and to be deleted; true where there is a count to be deleted too.
    done: Vec<(i64, bool)>,
    /// To be parked: given back too often, or unreadable.
    condemned: Vec<i64>,
    /// Found by the transaction under way to be over the limit: an earlier process died of it again and again.
    doomed: Vec<i64>,
    taps: Vec<Tap>,
    turn: usize,
}

struct Sql {
    insert: String,
    adopt: String,
    scan: String,
    fetch: String,
    delete: String,
}

impl Waiting {
    /// The inlet as the file knows it.
    pub(super) fn load(connection: &Connection, place: Inlet) -> rusqlite::Result<Self> {
        let table = place.name();
        let last: Option<i64> = connection.query_row(&format!("SELECT max(seq) FROM {table}"), [], |row| row.get(0))?;
        let mark: Option<i64> =
            connection.query_row("SELECT seq FROM mark WHERE place = ?1", [table], |row| row.get(0)).optional()?;
        let mark = mark.unwrap_or(0);
        let marks = Marks { last: last.unwrap_or(0).max(mark), cursor: 0, mark };
        Ok(Self {
            place,
            sql: Sql {
                insert: format!(
                    "INSERT INTO {table} (seq, id, kind, key, headers, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
                ),
                adopt: format!(
                    "INSERT INTO {table} (seq, id, kind, key, headers, body)
                     SELECT ?1, id, kind, key, headers, body FROM later WHERE seq = ?2"
                ),
                scan: format!(
                    "SELECT seq, id, kind, key, headers, body FROM {table} WHERE seq > ?1 ORDER BY seq LIMIT ?2"
                ),
                fetch: format!("SELECT id, kind, key, headers, body FROM {table} WHERE seq = ?1"),
                delete: format!("DELETE FROM {table} WHERE seq = ?1"),
            },
            recovered: mark,
            marks,
            draft: marks,
            out: HashMap::new(),
            returned: VecDeque::new(),
            taken: Vec::new(),
            done: Vec::new(),
            condemned: Vec::new(),
            doomed: Vec::new(),
            taps: Vec::new(),
            turn: 0,
        })
    }

    pub(super) fn join(&mut self, tap: Tap) {
        self.taps.push(tap);
    }

    pub(super) fn leave(&mut self, tap: u64) {
        self.taps.retain(|known| known.id != tap);
    }

    /// Ends every consumer: each reads to the end of what it was given.
    pub(super) fn dismiss(&mut self) {
        self.taps.clear();
    }

    /// Takes a message back. Only notes what the next transaction has to do about it.
    pub(super) fn settle(&mut self, seq: i64, settlement: Settlement) {
        let Some(held) = self.out.remove(&seq) else { return };
        self.release(held.tap);
        match settlement {
            Settlement::Done => self.done.push((seq, held.count > 0)),
            Settlement::Again if held.count >= self.place.delivery_limit() => self.condemned.push(seq),
            Settlement::Again => self.returned.push_back((seq, held.count + 1)),
        }
    }

    /// Parks a message that was chosen and cannot be read.
    pub(super) fn condemn(&mut self, seq: i64) {
        if let Some(held) = self.out.remove(&seq) {
            self.release(held.tap);
            self.condemned.push(seq);
        }
    }

    /// Whether a transaction would change or hand out anything.
    pub(super) fn has_work(&self) -> bool {
        let waits = !self.returned.is_empty() || self.marks.cursor < self.marks.last;
        let wanted = self.taps.iter().any(|tap| tap.free() > 0 && !tap.sender.is_closed());
        !self.done.is_empty() || !self.condemned.is_empty() || waits && wanted
    }

    pub(super) fn insert(&mut self, connection: &Connection, row: &Row) -> rusqlite::Result<()> {
        self.draft.last += 1;
        let mut insert = connection.prepare_cached(&self.sql.insert)?;
        insert.execute(params![self.draft.last, row.id, row.kind, row.key, row.headers, &row.body[..]])?;
        Ok(())
    }

    /// Takes over a delayed message whose time has come.
    pub(super) fn adopt(&mut self, connection: &Connection, later: i64) -> rusqlite::Result<()> {
        self.draft.last += 1;
        connection.prepare_cached(&self.sql.adopt)?.execute([self.draft.last, later])?;
        Ok(())
    }

    /// Deletes what is settled, and returns what is to be parked.
    pub(super) fn clear(&self, connection: &Connection) -> rusqlite::Result<Vec<Row>> {
        for (seq, counted) in &self.done {
            self.delete(connection, *seq, *counted)?;
        }
        let mut parked = Vec::with_capacity(self.condemned.len());
        for seq in &self.condemned {
            parked.extend(self.fetch(connection, *seq)?);
            self.delete(connection, *seq, true)?;
        }
        Ok(parked)
    }

    /// Chooses what is handed out after the commit: at most `budget` bytes and one message over.
    pub(super) fn pick(&mut self, connection: &Connection, budget: usize) -> rusqlite::Result<Vec<Pick>> {
        // A consumer that is just being dropped would give it back at once, and raise its count.
        self.taps.retain(|tap| !tap.sender.is_closed());
        let mut picks = Vec::new();
        let mut left = budget;
        while left > 0 && self.free() > 0 {
            let Some((seq, count)) = self.returned.pop_front() else { break };
            self.taken.push((seq, count));
            let Some(row) = self.fetch(connection, seq)? else { continue };
            left = left.saturating_sub(row.size());
            self.choose(connection, seq, count, row, &mut picks)?;
        }
        self.scan(connection, left, &mut picks)?;
        self.draft.mark = self.draft.mark.max(self.draft.cursor);
        if self.draft.mark != self.marks.mark {
            connection
                .prepare_cached("INSERT OR REPLACE INTO mark (place, seq) VALUES (?1, ?2)")?
                .execute(params![self.place.name(), self.draft.mark])?;
        }
        Ok(picks)
    }

    /// The transaction is durable. The picks must be handed out.
    pub(super) fn commit(&mut self, picks: &[Pick]) {
        self.marks = self.draft;
        self.taken.clear();
        self.done.clear();
        self.condemned.clear();
        self.condemned.append(&mut self.doomed);
        self.out.extend(picks.iter().map(|pick| (pick.seq, Held { count: pick.count, tap: pick.tap })));
    }

    /// The transaction did not happen.
    pub(super) fn rollback(&mut self) {
        self.draft = self.marks;
        self.doomed.clear();
        for returned in self.taken.drain(..).rev() {
            self.returned.push_front(returned);
        }
        for tap in &mut self.taps {
            tap.held = self.out.values().filter(|held| held.tap == tap.id).count();
        }
    }

    fn scan(&mut self, connection: &Connection, budget: usize, picks: &mut Vec<Pick>) -> rusqlite::Result<()> {
        let free = self.free();
        if free == 0 || budget == 0 || self.draft.cursor == self.draft.last {
            return Ok(());
        }
        let mut left = budget;
        let mut scan = connection.prepare_cached(&self.sql.scan)?;
        let mut rows = scan.query([self.draft.cursor, i64::try_from(free).unwrap_or(i64::MAX)])?;
        let mut seen = 0;
        while left > 0 && seen < free {
            let Some(row) = rows.next()? else {
                self.draft.cursor = self.draft.last;
                break;
            };
            seen += 1;
            let (seq, row) = (row.get(0)?, Row::read(row, 1)?);
            left = left.saturating_sub(row.size());
            self.draft.cursor = seq;
            let count = if seq <= self.recovered { self.earlier(connection, seq)? } else { 0 };
            if count > self.place.delivery_limit() {
                self.doomed.push(seq);
            } else {
                self.choose(connection, seq, count, row, picks)?;
            }
        }
        Ok(())
    }

    /// How often it was handed out by earlier processes, at least once.
    fn earlier(&self, connection: &Connection, seq: i64) -> rusqlite::Result<u32> {
        let mut again = connection.prepare_cached("SELECT count FROM again WHERE place = ?1 AND seq = ?2")?;
        let count: Option<u32> = again.query_row(params![self.place.name(), seq], |row| row.get(0)).optional()?;
        Ok(count.unwrap_or(0) + 1)
    }

    /// Notes that the message goes to the next consumer in turn, and writes down a count that is not plain from `mark`.
    fn choose(
        &mut self,
        connection: &Connection,
        seq: i64,
        count: u32,
        row: Row,
        picks: &mut Vec<Pick>,
    ) -> rusqlite::Result<()> {
        if count > 0 {
            connection
                .prepare_cached("INSERT OR REPLACE INTO again (place, seq, count) VALUES (?1, ?2, ?3)")?
                .execute(params![self.place.name(), seq, count])?;
        }
        while self.taps[self.turn % self.taps.len()].free() == 0 {
            self.turn += 1;
        }
        let turn = self.turn % self.taps.len();
        self.turn = turn + 1;
        let tap = &mut self.taps[turn];
        tap.held += 1;
        picks.push(Pick { seq, count, row, to: tap.sender.clone(), tap: tap.id });
        Ok(())
    }

    fn fetch(&self, connection: &Connection, seq: i64) -> rusqlite::Result<Option<Row>> {
        connection.prepare_cached(&self.sql.fetch)?.query_row([seq], |row| Row::read(row, 0)).optional()
    }

    fn delete(&self, connection: &Connection, seq: i64, counted: bool) -> rusqlite::Result<()> {
        connection.prepare_cached(&self.sql.delete)?.execute([seq])?;
        if counted {
            connection
                .prepare_cached("DELETE FROM again WHERE place = ?1 AND seq = ?2")?
                .execute(params![self.place.name(), seq])?;
        }
        Ok(())
    }

    fn free(&self) -> usize {
        self.taps.iter().map(Tap::free).sum()
    }

    fn release(&mut self, tap: u64) {
        if let Some(tap) = self.taps.iter_mut().find(|known| known.id == tap) {
            tap.held -= 1;
        }
    }
}

impl Tap {
    fn free(&self) -> usize {
        self.credit - self.held
    }
}
