//! What waits at one inlet: the cursor that goes through it, what is out, and who wants some.
//!
//! A transaction may fail. So what it would change is kept apart until [`Waiting::commit`], and forgotten by
//! [`Waiting::rollback`]; what must happen in any case (a settled message goes) waits for the next one.

use std::collections::{HashMap, VecDeque};

use rusqlite::Connection;
use tokio::sync::mpsc;

use super::{command::Row, table::Table, tap::Tap};
use crate::{Incoming, Queue, Settlement};

/// One message chosen to be handed out once the transaction has committed.
pub(super) struct Pick {
    pub(super) seq: i64,
    pub(super) count: u32,
    pub(super) row: Row,
    pub(super) to: mpsc::Sender<Incoming>,
    tap: u64,
}

/// Places in the table, all of them numbers that only rise.
#[derive(Clone, Copy)]
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
    pub(super) place: Queue,
    table: Table,
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

impl Waiting {
    /// The inlet as the file knows it.
    pub(super) fn load(file: &Connection, place: Queue) -> rusqlite::Result<Self> {
        let table = Table::of(place);
        let (last, mark) = table.last_and_mark(file)?;
        let marks = Marks { last: last.max(mark), cursor: 0, mark };
        Ok(Self {
            place,
            table,
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
        let Some(held) = self.release(seq) else { return };
        match settlement {
            Settlement::Done => self.done.push((seq, held.count > 0)),
            Settlement::Again if held.count >= self.place.delivery_limit() => self.condemned.push(seq),
            Settlement::Again => self.returned.push_back((seq, held.count + 1)),
        }
    }

    /// Parks a message that was chosen and cannot be read.
    pub(super) fn condemn(&mut self, seq: i64) {
        if self.release(seq).is_some() {
            self.condemned.push(seq);
        }
    }

    /// Whether a transaction would change or hand out anything.
    pub(super) fn has_work(&self) -> bool {
        let waits = !self.returned.is_empty() || self.marks.cursor < self.marks.last;
        let wanted = self.taps.iter().any(|tap| tap.free() > 0 && tap.is_open());
        !self.done.is_empty() || !self.condemned.is_empty() || waits && wanted
    }

    /// Stores one more.
    pub(super) fn insert(&mut self, file: &Connection, row: &Row) -> rusqlite::Result<()> {
        self.draft.last += 1;
        self.table.insert(file, self.draft.last, row)
    }

    /// Takes over a delayed message whose time has come.
    pub(super) fn adopt(&mut self, file: &Connection, later: i64) -> rusqlite::Result<()> {
        self.draft.last += 1;
        self.table.adopt(file, self.draft.last, later)
    }

    /// Deletes what is settled, and returns what is to be parked.
    pub(super) fn clear(&self, file: &Connection) -> rusqlite::Result<Vec<Row>> {
        for (seq, counted) in &self.done {
            self.table.delete(file, *seq, *counted)?;
        }
        let mut parked = Vec::with_capacity(self.condemned.len());
        for seq in &self.condemned {
            parked.extend(self.table.fetch(file, *seq)?);
            self.table.delete(file, *seq, true)?;
        }
        Ok(parked)
    }

    /// Chooses what is handed out after the commit: at most `budget` bytes and one message over.
    pub(super) fn pick(&mut self, file: &Connection, budget: usize) -> rusqlite::Result<Vec<Pick>> {
        self.taps.retain(Tap::is_open);
        let mut picks = Vec::new();
        let left = self.pick_returned(file, budget, &mut picks)?;
        self.pick_waiting(file, left, &mut picks)?;
        self.draft.mark = self.draft.mark.max(self.draft.cursor);
        if self.draft.mark != self.marks.mark {
            self.table.set_mark(file, self.draft.mark)?;
        }
        for pick in picks.iter().filter(|pick| pick.count > 0) {
            self.table.set_count(file, pick.seq, pick.count)?;
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

    fn pick_returned(&mut self, file: &Connection, budget: usize, picks: &mut Vec<Pick>) -> rusqlite::Result<usize> {
        let (mut left, mut free) = (budget, self.free());
        while left > 0
            && free > 0
            && let Some((seq, count)) = self.returned.pop_front()
        {
            self.taken.push((seq, count));
            let Some(row) = self.table.fetch(file, seq)? else { continue };
            left = left.saturating_sub(row.size());
            free -= 1;
            picks.push(next_tap(&mut self.taps, &mut self.turn).pick(seq, count, row));
        }
        Ok(left)
    }

    fn pick_waiting(&mut self, file: &Connection, budget: usize, picks: &mut Vec<Pick>) -> rusqlite::Result<()> {
        let (mut left, mut free) = (budget, self.free());
        let Marks { last, cursor: mut reached, .. } = self.draft;
        if left == 0 || free == 0 || reached == last {
            return Ok(());
        }
        let ended = self.table.scan(file, (reached, last), |seq, row| {
            reached = seq;
            let count = if seq <= self.recovered { self.table.count(file, seq)? } else { 0 };
            if count > self.place.delivery_limit() {
                self.doomed.push(seq);
                return Ok(true);
            }
            left = left.saturating_sub(row.size());
            free -= 1;
            picks.push(next_tap(&mut self.taps, &mut self.turn).pick(seq, count, row));
            Ok(left > 0 && free > 0)
        })?;
        self.draft.cursor = if ended { last } else { reached };
        Ok(())
    }

    fn free(&self) -> usize {
        self.taps.iter().map(Tap::free).sum()
    }

    /// No longer out: its consumer may have another.
    fn release(&mut self, seq: i64) -> Option<Held> {
        let held = self.out.remove(&seq)?;
        if let Some(tap) = self.taps.iter_mut().find(|tap| tap.id == held.tap) {
            tap.held -= 1;
        }
        Some(held)
    }
}

impl Tap {
    fn pick(&mut self, seq: i64, count: u32, row: Row) -> Pick {
        self.held += 1;
        Pick { seq, count, row, to: self.sender.clone(), tap: self.id }
    }
}

/// The next in turn that may have one more; there must be one.
fn next_tap<'a>(taps: &'a mut [Tap], turn: &mut usize) -> &'a mut Tap {
    loop {
        *turn = (*turn + 1) % taps.len();
        if taps[*turn].free() > 0 {
            return &mut taps[*turn];
        }
    }
}
