//! One queue as the writer knows it: the cursor that goes through its table, what is handed out, and to whom.
//!
//! Because a transaction may fail, its changes are a draft until [`SqliteQueue::commit`], and are dropped by
//! [`SqliteQueue::rollback`]. Whatever must happen in any case (the deletion of a settled message) waits for the next
//! transaction.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use rusqlite::Connection;
use tokio::sync::mpsc;

use super::{message::MessageRow, queue_table::QueueTable};
use crate::{Incoming, Queue, Settlement, consumer::ConsumerFeed};

/// Largest number of messages that one transaction hands out of a queue that gives way, and that it stores of those that
/// give way to others in it: the next event must not wait long for its end.
pub(super) const MAX_GIVING_WAY: usize = 128;

/// A message that is handed out once the transaction has committed.
pub(super) struct Pick {
    pub(super) seq: i64,
    pub(super) count: u32,
    pub(super) row: Arc<MessageRow>,
    pub(super) to: mpsc::Sender<Incoming>,
    consumer: u64,
}

/// Positions in the table, as `seq`. All of them only rise.
#[derive(Clone, Copy)]
struct Marks {
    /// The last `seq` that was given to a message.
    last: i64,
    /// Every message up to here was read by this process.
    cursor: i64,
    /// Every message up to here was handed out, by this process or an earlier one.
    mark: i64,
}

struct Unsettled {
    count: u32,
    consumer: u64,
    bytes: usize,
}

pub(super) struct SqliteQueue {
    pub(super) queue: Queue,
    table: QueueTable,
    /// The mark of earlier processes. Rows up to it were handed out, and not settled.
    recovered: i64,
    marks: Marks,
    draft: Marks,
    /// The messages after the cursor that the open transaction stores, without gaps. They are handed out without being read.
    stored: VecDeque<Arc<MessageRow>>,
    unsettled: HashMap<i64, Unsettled>,
    /// Messages that were given back, with their next count. They are handed out first.
    returned: VecDeque<(i64, u32)>,
    /// What the open transaction took from `returned`.
    taken: Vec<(i64, u32)>,
    /// Settled messages to delete; true for one with a count to delete. They wait for other work, or for their time.
    done: Vec<(i64, bool)>,
    /// Messages to park: given back too often, or unreadable.
    to_park: Vec<i64>,
    /// Messages that the open transaction found to be over the limit, because earlier processes died of them.
    over_limit: Vec<i64>,
    feeds: Vec<ConsumerFeed>,
    turn: usize,
}

impl SqliteQueue {
    pub(super) fn load(file: &Connection, queue: Queue) -> rusqlite::Result<Self> {
        let table = QueueTable::of(queue);
        let (last, mark) = table.last_and_mark(file)?;
        let marks = Marks { last: last.max(mark), cursor: 0, mark };
        Ok(Self {
            queue,
            table,
            recovered: mark,
            marks,
            draft: marks,
            stored: VecDeque::new(),
            unsettled: HashMap::new(),
            returned: VecDeque::new(),
            taken: Vec::new(),
            done: Vec::new(),
            to_park: Vec::new(),
            over_limit: Vec::new(),
            feeds: Vec::new(),
            turn: 0,
        })
    }

    pub(super) fn add_consumer(&mut self, feed: ConsumerFeed) {
        self.feeds.push(feed);
    }

    pub(super) fn remove_consumer(&mut self, id: u64) {
        self.feeds.retain(|feed| feed.id != id);
    }

    /// Ends every consumer once it has read what was handed to it.
    pub(super) fn remove_all_consumers(&mut self) {
        self.feeds.clear();
    }

    /// Notes what the next transaction has to do about a settled message.
    pub(super) fn settle(&mut self, seq: i64, settlement: Settlement) {
        let Some(message) = self.release(seq) else { return };
        match settlement {
            Settlement::Done => self.done.push((seq, message.count > 0)),
            Settlement::Again if message.count >= self.queue.delivery_limit() => self.to_park.push(seq),
            Settlement::Again => self.returned.push_back((seq, message.count + 1)),
        }
    }

    /// Parks a picked message that cannot be read.
    pub(super) fn park(&mut self, seq: i64) {
        if self.release(seq).is_some() {
            self.to_park.push(seq);
        }
    }

    /// The number of settled messages that are not deleted yet.
    pub(super) fn settled(&self) -> usize {
        self.done.len()
    }

    /// True when nothing waits that could be handed out.
    pub(super) fn is_drained(&self) -> bool {
        self.returned.is_empty() && self.marks.cursor == self.marks.last
    }

    /// True when a transaction would change or hand out anything, deletions of settled messages apart.
    pub(super) fn has_work(&self) -> bool {
        let has_room = self.feeds.iter().any(|feed| feed.has_room() && feed.is_open());
        !self.to_park.is_empty() || !self.is_drained() && has_room
    }

    pub(super) fn insert(&mut self, file: &Connection, row: &Arc<MessageRow>) -> rusqlite::Result<()> {
        let is_next = self.draft.cursor + self.stored.len() as i64 == self.draft.last;
        if is_next && self.has_room() {
            self.stored.push_back(row.clone());
        }
        self.draft.last += 1;
        self.table.insert(file, self.draft.last, row)
    }

    /// Moves a delayed message into this queue.
    pub(super) fn adopt(&mut self, file: &Connection, later: i64) -> rusqlite::Result<()> {
        self.draft.last += 1;
        self.table.adopt(file, self.draft.last, later)
    }

    /// Deletes settled messages, and returns those to park.
    pub(super) fn delete_settled(&mut self, file: &Connection) -> rusqlite::Result<Vec<MessageRow>> {
        self.done.sort_unstable();
        for run in self.done.chunk_by(|(seq, _), (next, _)| seq + 1 == *next) {
            self.table.delete(file, run[0].0, run[run.len() - 1].0)?;
        }
        for (seq, _) in self.done.iter().filter(|(_, counted)| *counted) {
            self.table.delete_count(file, *seq)?;
        }
        let mut parked = Vec::with_capacity(self.to_park.len());
        for seq in &self.to_park {
            parked.extend(self.table.fetch(file, *seq)?);
            self.table.delete(file, *seq, *seq)?;
            self.table.delete_count(file, *seq)?;
        }
        Ok(parked)
    }

    /// Picks messages to hand out after the commit, until they exceed `budget` bytes.
    pub(super) fn pick(&mut self, file: &Connection, budget: usize) -> rusqlite::Result<Vec<Pick>> {
        self.feeds.retain(ConsumerFeed::is_open);
        let mut picks = Vec::new();
        let left = self.pick_returned(file, budget, &mut picks)?;
        let left = self.pick_stored(left, &mut picks);
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

    /// Accepts the draft of a durable transaction. Its picks must be handed out.
    pub(super) fn commit(&mut self, picks: &[Pick]) {
        self.marks = self.draft;
        self.taken.clear();
        self.done.clear();
        self.to_park.clear();
        self.to_park.append(&mut self.over_limit);
        self.unsettled.extend(picks.iter().map(|pick| (pick.seq, pick.unsettled())));
    }

    /// Drops the draft of a transaction that failed.
    pub(super) fn rollback(&mut self) {
        self.draft = self.marks;
        self.stored.clear();
        self.over_limit.clear();
        for returned in self.taken.drain(..).rev() {
            self.returned.push_front(returned);
        }
        for feed in &mut self.feeds {
            let id = feed.id;
            let held = self.unsettled.values().filter(|message| message.consumer == id);
            feed.holds_only(held.map(|message| message.bytes));
        }
    }

    fn pick_returned(&mut self, file: &Connection, budget: usize, picks: &mut Vec<Pick>) -> rusqlite::Result<usize> {
        let mut left = budget;
        while left > 0
            && picks.len() < self.most_picks()
            && self.has_room()
            && let Some((seq, count)) = self.returned.pop_front()
        {
            self.taken.push((seq, count));
            let Some(row) = self.table.fetch(file, seq)? else { continue };
            left = left.saturating_sub(row.size());
            picks.push(Pick::new(ConsumerFeed::next_free(&mut self.feeds, &mut self.turn), seq, count, row.into()));
        }
        Ok(left)
    }

    /// Picks from what the open transaction stores.
    fn pick_stored(&mut self, budget: usize, picks: &mut Vec<Pick>) -> usize {
        let mut left = budget;
        while left > 0
            && picks.len() < self.most_picks()
            && self.has_room()
            && let Some(row) = self.stored.pop_front()
        {
            left = left.saturating_sub(row.size());
            self.draft.cursor += 1;
            let feed = ConsumerFeed::next_free(&mut self.feeds, &mut self.turn);
            picks.push(Pick::new(feed, self.draft.cursor, 0, row));
        }
        self.stored.clear();
        left
    }

    fn pick_waiting(&mut self, file: &Connection, budget: usize, picks: &mut Vec<Pick>) -> rusqlite::Result<()> {
        let mut left = budget;
        let Marks { last, cursor: mut reached, .. } = self.draft;
        let most = self.most_picks();
        if left == 0 || picks.len() >= most || !self.has_room() || reached == last {
            return Ok(());
        }
        let ended = self.table.scan(file, (reached, last), |seq, row| {
            reached = seq;
            let count = if seq <= self.recovered { self.table.count(file, seq)? } else { 0 };
            if count > self.queue.delivery_limit() {
                self.over_limit.push(seq);
                return Ok(true);
            }
            left = left.saturating_sub(row.size());
            picks.push(Pick::new(ConsumerFeed::next_free(&mut self.feeds, &mut self.turn), seq, count, row.into()));
            Ok(left > 0 && picks.len() < most && self.feeds.iter().any(ConsumerFeed::has_room))
        })?;
        self.draft.cursor = if ended { last } else { reached };
        Ok(())
    }

    fn most_picks(&self) -> usize {
        if self.queue.gives_way() { MAX_GIVING_WAY } else { usize::MAX }
    }

    fn has_room(&self) -> bool {
        self.feeds.iter().any(ConsumerFeed::has_room)
    }

    fn release(&mut self, seq: i64) -> Option<Unsettled> {
        let message = self.unsettled.remove(&seq)?;
        if let Some(feed) = self.feeds.iter_mut().find(|feed| feed.id == message.consumer) {
            feed.release(message.bytes);
        }
        Some(message)
    }
}

impl Pick {
    fn new(feed: &mut ConsumerFeed, seq: i64, count: u32, row: Arc<MessageRow>) -> Self {
        feed.hold(row.size());
        Self { seq, count, row, to: feed.sender.clone(), consumer: feed.id }
    }

    fn unsettled(&self) -> Unsettled {
        Unsettled { count: self.count, consumer: self.consumer, bytes: self.row.size() }
    }
}
