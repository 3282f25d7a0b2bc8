//! The state of the memory broker. No I/O and no waiting.

use std::collections::BTreeMap;

use schemas::{HeaderValue, Message, wire::DUE};
use tokio_util::sync::CancellationToken;

use super::{
    faults::Faults,
    queue::{HandOut, MemoryQueue, QueuedMessage},
};
use crate::{Lane, Log, LogBytes, Queue, QueueCounts, Record, Settlement, Target, consumer::ConsumerFeed};

pub(super) struct MemoryBrokerState {
    pub(super) faults: Faults,
    pub(super) has_timer: bool,
    queues: [MemoryQueue; 4],
    /// By due time in unix milliseconds, then in the order of publishing.
    delayed: BTreeMap<(u64, u64), (Lane, QueuedMessage)>,
    dead: Vec<Record>,
    parked: Vec<Record>,
    pub(super) max_log_bytes: LogBytes,
    seq: u64,
    /// Cancelled when the connection is lost.
    pub(super) session: CancellationToken,
    /// `None` for a calm broker.
    chance: Option<fastrand::Rng>,
}

impl MemoryBrokerState {
    pub(super) fn new(chance: Option<fastrand::Rng>) -> Self {
        Self {
            faults: Faults::default(),
            has_timer: false,
            queues: Queue::ALL.map(MemoryQueue::new),
            delayed: BTreeMap::new(),
            dead: Vec::new(),
            parked: Vec::new(),
            max_log_bytes: LogBytes::default(),
            seq: 0,
            session: CancellationToken::new(),
            chance,
        }
    }

    pub(super) fn depth(&self, queue: Queue) -> usize {
        let delayed = self.delayed.values().filter(|(lane, _)| Queue::Lane(*lane) == queue).count();
        delayed + self.queues[index(queue)].depth()
    }

    /// How many deliveries carry all these headers. Extra copies do not count.
    pub(super) fn waiting(&self, with: &[(&str, &str)]) -> u64 {
        let delayed = self.delayed.values().map(|(_, message)| message);
        let lanes = self.queues.iter().filter(|state| matches!(state.queue, Queue::Lane(_)));
        let lanes = lanes.flat_map(MemoryQueue::messages);
        delayed.chain(lanes).filter(|it| !it.copy && it.message.headers.have(with)).count() as u64
    }

    pub(super) fn counts(&self) -> QueueCounts {
        let queues = self.queues.iter().map(MemoryQueue::count).collect();
        QueueCounts { queues, delayed: self.delayed.len() as u64 }
    }

    pub(super) fn records(&self, log: Log) -> &Vec<Record> {
        match log {
            Log::Dead => &self.dead,
            Log::Parked => &self.parked,
        }
    }

    /// True if anything is delayed.
    pub(super) fn store(&mut self, to: &Target, mut message: Message, now: u64) -> bool {
        message.headers.remove(DUE);
        match to {
            Target::Ingest { key } => self.push(Queue::Ingest, key.clone(), message),
            Target::IngestSlow { key } => self.push(Queue::IngestSlow, key.clone(), message),
            Target::Log(log, key) => self.append(*log, key.clone(), message),
            Target::Lane(lane, due) => {
                if let Some(due) = due {
                    message.headers.set(DUE, HeaderValue::Int(i64::try_from(due.at).unwrap_or(i64::MAX)));
                }
                let message = self.numbered(lane.name().to_owned(), message);
                match due.filter(|due| due.at > now) {
                    Some(due) => _ = self.delayed.insert((due.at, message.seq), (*lane, message)),
                    None => self.queues[index(Queue::Lane(*lane))].push(message),
                }
            }
        }
        !self.delayed.is_empty()
    }

    /// Returns the next due time.
    pub(super) fn release_due(&mut self, now: u64) -> Option<u64> {
        while let Some(next) = self.delayed.first_entry()
            && next.key().0 <= now
        {
            let (lane, message) = next.remove();
            self.queues[index(Queue::Lane(lane))].push(message);
        }
        self.delayed.keys().next().map(|(due, _)| *due)
    }

    pub(super) fn add_consumer(&mut self, of: Queue, feed: ConsumerFeed) {
        self.queues[index(of)].add_consumer(feed);
    }

    pub(super) fn remove_consumer(&mut self, of: Queue, id: u64) {
        self.queues[index(of)].remove_consumer(id);
    }

    pub(super) fn close(&mut self) {
        self.queues.iter_mut().for_each(MemoryQueue::remove_all_consumers);
    }

    pub(super) fn settle(&mut self, at: Queue, consumer: u64, message: (u64, usize), settlement: Settlement) {
        let over_limit = self.queues[index(at)].settle(consumer, message, settlement, self.chance.as_mut());
        self.park(at, over_limit);
    }

    pub(super) fn lose_session(&mut self) {
        std::mem::take(&mut self.session).cancel();
        for queue in Queue::ALL {
            let over_limit = self.queues[index(queue)].lose_session(&mut self.seq, self.chance.as_mut());
            self.park(queue, over_limit);
        }
    }

    pub(super) fn pick(&mut self) -> Vec<HandOut> {
        let mut picks = Vec::new();
        for queue in &mut self.queues {
            queue.pick(&mut self.seq, self.chance.as_mut(), &mut picks);
        }
        picks
    }

    fn park(&mut self, from: Queue, messages: impl IntoIterator<Item = QueuedMessage>) {
        for QueuedMessage { key, mut message, .. } in messages {
            let key = from.park_over_limit(key, &mut message.headers);
            self.append(Log::Parked, key, message);
        }
    }

    fn append(&mut self, log: Log, key: String, message: Message) {
        let records = match log {
            Log::Dead => &mut self.dead,
            Log::Parked => &mut self.parked,
        };
        records.push(Record { offset: records.len() as u64, key, message });
    }

    fn push(&mut self, to: Queue, key: String, message: Message) {
        let message = self.numbered(key, message);
        self.queues[index(to)].push(message);
    }

    fn numbered(&mut self, key: String, message: Message) -> QueuedMessage {
        self.seq += 1;
        QueuedMessage { seq: self.seq, key, message, count: 0, copy: false }
    }
}

/// The queue's place in [`Queue::ALL`].
fn index(queue: Queue) -> usize {
    match queue {
        Queue::Ingest => 0,
        Queue::IngestSlow => 1,
        Queue::Lane(Lane::Fast) => 2,
        Queue::Lane(Lane::Slow) => 3,
    }
}
