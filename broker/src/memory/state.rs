//! Everything the memory broker holds. No I/O, no waiting: one call changes it, another says what is handed out.

use std::collections::BTreeMap;

use schemas::{HeaderValue, Message, wire::DUE};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    faults::Faults,
    place::{Entry, Place, Tap},
};
use crate::{Incoming, Lane, Log, Queue, Record, Settlement, Target, limit};

/// A message on its way out.
pub(super) struct HandOut {
    pub(super) from: Queue,
    pub(super) tap: u64,
    pub(super) to: mpsc::Sender<Incoming>,
    pub(super) entry: Entry,
}

/// All of it.
pub(super) struct State {
    pub(super) faults: Faults,
    /// True while a timer task is there to move what comes due.
    pub(super) timed: bool,
    places: [Place; 3],
    /// By due time, then in the order of publishing.
    later: BTreeMap<(u64, u64), (Lane, Entry)>,
    dead: Vec<Record>,
    parked: Vec<Record>,
    seq: u64,
    /// Cancelled when the connection is lost.
    pub(super) session: CancellationToken,
    /// None: calm.
    chance: Option<fastrand::Rng>,
}

impl State {
    pub(super) fn new(chance: Option<fastrand::Rng>) -> Self {
        Self {
            faults: Faults::default(),
            timed: false,
            places: [Queue::Ingest, Queue::Lane(Lane::Fast), Queue::Lane(Lane::Slow)].map(Place::new),
            later: BTreeMap::new(),
            dead: Vec::new(),
            parked: Vec::new(),
            seq: 0,
            session: CancellationToken::new(),
            chance,
        }
    }

    pub(super) fn depth(&self, inlet: Queue) -> usize {
        let delayed = self.later.values().filter(|(lane, _)| Queue::Lane(*lane) == inlet).count();
        delayed + self.places[index(inlet)].depth()
    }

    /// How many deliveries carry these texts, extra copies aside.
    pub(super) fn waiting(&self, with: &[(&str, &str)]) -> u64 {
        let delayed = self.later.values().map(|(_, entry)| entry);
        let here = self.places.iter().filter(|place| place.inlet != Queue::Ingest).flat_map(Place::entries);
        delayed.chain(here).filter(|entry| !entry.copy && entry.message.headers.have(with)).count() as u64
    }

    pub(super) fn records(&self, log: Log) -> &Vec<Record> {
        match log {
            Log::Dead => &self.dead,
            Log::Parked => &self.parked,
        }
    }

    /// Takes a message in. True if something has to wait for its time.
    pub(super) fn store(&mut self, to: &Target, mut message: Message, now: u64) -> bool {
        message.headers.remove(DUE);
        match to {
            Target::Ingest { key } => {
                let entry = self.entry(key.clone(), message);
                self.places[index(Queue::Ingest)].push(entry);
            }
            Target::Log(log, key) => self.append(*log, key.clone(), message),
            Target::Lane(lane, due) => {
                if let Some(due) = due {
                    message.headers.set(DUE, HeaderValue::Int(i64::try_from(due.at).unwrap_or(i64::MAX)));
                }
                let entry = self.entry(lane.name().to_owned(), message);
                match due.filter(|due| due.at > now) {
                    Some(due) => _ = self.later.insert((due.at, entry.seq), (*lane, entry)),
                    None => self.places[index(Queue::Lane(*lane))].push(entry),
                }
            }
        }
        !self.later.is_empty()
    }

    /// Moves what is due to its lane; returns when the next is.
    pub(super) fn wake(&mut self, now: u64) -> Option<u64> {
        while let Some(next) = self.later.first_entry()
            && next.key().0 <= now
        {
            let (lane, entry) = next.remove();
            self.places[index(Queue::Lane(lane))].push(entry);
        }
        self.next_due()
    }

    pub(super) fn next_due(&self) -> Option<u64> {
        self.later.keys().next().map(|(due, _)| *due)
    }

    pub(super) fn join(&mut self, from: Queue, tap: Tap) {
        self.places[index(from)].join(tap);
    }

    pub(super) fn leave(&mut self, from: Queue, tap: u64) {
        self.places[index(from)].leave(tap);
    }

    pub(super) fn close(&mut self) {
        self.places.iter_mut().for_each(Place::close);
    }

    pub(super) fn settle(&mut self, at: Queue, tap: u64, seq: u64, settlement: Settlement) {
        let condemned = self.places[index(at)].settle(tap, seq, settlement, self.chance.as_mut());
        self.park(at, condemned);
    }

    pub(super) fn lose_session(&mut self) {
        std::mem::take(&mut self.session).cancel();
        for place in 0..self.places.len() {
            let condemned = self.places[place].lose_session(&mut self.seq, self.chance.as_mut());
            self.park(self.places[place].inlet, condemned);
        }
    }

    /// What can be handed out now.
    pub(super) fn pick(&mut self) -> Vec<HandOut> {
        let mut picks = Vec::new();
        for place in &mut self.places {
            place.pick(&mut self.seq, self.chance.as_mut(), &mut picks);
        }
        picks
    }

    fn park(&mut self, from: Queue, condemned: impl IntoIterator<Item = Entry>) {
        for entry in condemned {
            let key = limit::parked_key(from, &entry.key, &entry.message.headers);
            self.append(Log::Parked, key, entry.message);
        }
    }

    fn append(&mut self, log: Log, key: String, message: Message) {
        let records = match log {
            Log::Dead => &mut self.dead,
            Log::Parked => &mut self.parked,
        };
        records.push(Record { offset: records.len() as u64, key, message });
    }

    fn entry(&mut self, key: String, message: Message) -> Entry {
        self.seq += 1;
        Entry { seq: self.seq, key, message, count: 0, copy: false }
    }
}

fn index(inlet: Queue) -> usize {
    match inlet {
        Queue::Ingest => 0,
        Queue::Lane(Lane::Fast) => 1,
        Queue::Lane(Lane::Slow) => 2,
    }
}
