//! One queue of the memory broker.

use std::collections::{BTreeMap, VecDeque};

use schemas::Message;
use tokio::sync::mpsc;

use crate::{Incoming, Queue, QueueCount, Settlement, consumer::ConsumerFeed, queue_counts::waits_since};

/// Part of all messages that a hostile broker hands out twice.
const DUPLICATES: f64 = 0.01;

/// A message that waits or is handed out.
#[derive(Clone)]
pub(super) struct QueuedMessage {
    pub(super) seq: u64,
    pub(super) key: String,
    pub(super) message: Message,
    pub(super) count: u32,
    /// True for an extra copy, which is not duplicated again.
    pub(super) copy: bool,
}

impl QueuedMessage {
    pub(super) fn into_incoming(self, settle: impl FnOnce(Settlement) + Send + Sync + 'static) -> Incoming {
        Incoming::new(self.message, self.key, self.count > 0, self.count, settle)
    }
}

pub(super) struct HandOut {
    pub(super) from: Queue,
    pub(super) consumer: u64,
    pub(super) to: mpsc::Sender<Incoming>,
    pub(super) message: QueuedMessage,
}

pub(super) struct MemoryQueue {
    pub(super) queue: Queue,
    ready: VecDeque<QueuedMessage>,
    /// Messages that were given back. They are handed out first.
    returned: VecDeque<QueuedMessage>,
    unsettled: BTreeMap<u64, QueuedMessage>,
    feeds: Vec<ConsumerFeed>,
    turn: usize,
}

impl MemoryQueue {
    pub(super) fn new(queue: Queue) -> Self {
        let (ready, returned) = (VecDeque::new(), VecDeque::new());
        Self { queue, ready, returned, unsettled: BTreeMap::new(), feeds: Vec::new(), turn: 0 }
    }

    pub(super) fn depth(&self) -> usize {
        self.ready.len() + self.returned.len() + self.unsettled.len()
    }

    pub(super) fn count(&self) -> QueueCount {
        let waiting = || self.returned.iter().chain(&self.ready).filter(|waiting| !waiting.copy);
        QueueCount {
            queue: self.queue,
            waiting: waiting().count() as u64,
            consumers: Some(u32::try_from(self.feeds.len()).unwrap_or(u32::MAX)),
            oldest_since: waiting().filter_map(|waiting| waits_since(&waiting.message.headers)).min(),
        }
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = &QueuedMessage> {
        self.ready.iter().chain(&self.returned).chain(self.unsettled.values())
    }

    pub(super) fn push(&mut self, message: QueuedMessage) {
        self.ready.push_back(message);
    }

    pub(super) fn add_consumer(&mut self, feed: ConsumerFeed) {
        self.feeds.push(feed);
    }

    pub(super) fn remove_consumer(&mut self, id: u64) {
        self.feeds.retain(|feed| feed.id != id);
    }

    pub(super) fn remove_all_consumers(&mut self) {
        self.feeds.clear();
    }

    /// Settles a message, of this number and many bytes; returns it if it was given back too often.
    pub(super) fn settle(
        &mut self,
        consumer: u64,
        (seq, bytes): (u64, usize),
        settlement: Settlement,
        chance: Option<&mut fastrand::Rng>,
    ) -> Option<QueuedMessage> {
        if let Some(feed) = self.feeds.iter_mut().find(|feed| feed.id == consumer) {
            feed.release(bytes);
        }
        let message = self.unsettled.remove(&seq)?;
        match settlement {
            Settlement::Done => None,
            Settlement::Again => self.give_back(message, chance),
        }
    }

    /// Gives back all unsettled messages, under new numbers that a late settlement does not know. Returns those that
    /// were given back too often.
    pub(super) fn lose_session(&mut self, seq: &mut u64, mut chance: Option<&mut fastrand::Rng>) -> Vec<QueuedMessage> {
        let unsettled = std::mem::take(&mut self.unsettled).into_values();
        unsettled
            .filter_map(|mut message| {
                *seq += 1;
                message.seq = *seq;
                self.give_back(message, chance.as_deref_mut())
            })
            .collect()
    }

    /// Picks messages to hand out, in turn to all consumers with room.
    pub(super) fn pick(&mut self, seq: &mut u64, mut chance: Option<&mut fastrand::Rng>, picks: &mut Vec<HandOut>) {
        self.feeds.retain(ConsumerFeed::is_open);
        while self.feeds.iter().any(ConsumerFeed::has_room) {
            let Some(message) = self.returned.pop_front().or_else(|| self.ready.pop_front()) else { return };
            if !message.copy && chance.as_deref_mut().is_some_and(|chance| chance.f64() < DUPLICATES) {
                *seq += 1;
                self.ready.push_back(QueuedMessage { seq: *seq, copy: true, ..message.clone() });
            }
            self.unsettled.insert(message.seq, message.clone());
            let feed = ConsumerFeed::next_free(&mut self.feeds, &mut self.turn);
            feed.hold(message.message.body.len());
            picks.push(HandOut { from: self.queue, consumer: feed.id, to: feed.sender.clone(), message });
        }
    }

    fn give_back(&mut self, mut message: QueuedMessage, chance: Option<&mut fastrand::Rng>) -> Option<QueuedMessage> {
        if message.count >= self.queue.delivery_limit() {
            return Some(message);
        }
        message.count += 1;
        let last = self.returned.len();
        self.returned.insert(chance.map_or(last, |chance| chance.usize(..=last)), message);
        None
    }
}
