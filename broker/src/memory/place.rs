//! What is at one inlet, and who wants some of it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::atomic::{AtomicU64, Ordering},
};

use schemas::Message;
use tokio::sync::mpsc;

use super::state::HandOut;
use crate::{Incoming, Queue, Settlement};

/// One message in one hundred comes twice.
const DUPLICATES: f64 = 0.01;

/// A message that waits or is out.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) seq: u64,
    pub(super) key: String,
    pub(super) message: Message,
    pub(super) count: u32,
    /// An extra copy, of which none is made.
    pub(super) copy: bool,
}

impl Entry {
    pub(super) fn into_incoming(self, settle: impl FnOnce(Settlement) + Send + Sync + 'static) -> Incoming {
        Incoming::new(self.message, self.key, self.count > 0, self.count, settle)
    }
}

/// A consumer. Its prefetch counts what it holds in its hands, also from a session that was lost: so its channel, as
/// large as the prefetch, is never full.
pub(super) struct Tap {
    id: u64,
    prefetch: usize,
    held: usize,
    sender: mpsc::Sender<Incoming>,
}

impl Tap {
    pub(super) fn new(prefetch: u16) -> (Self, mpsc::Receiver<Incoming>) {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let prefetch = usize::from(prefetch.max(1));
        let (sender, receiver) = mpsc::channel(prefetch);
        (Self { id: NEXT.fetch_add(1, Ordering::Relaxed), prefetch, held: 0, sender }, receiver)
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }
}

/// One inlet.
pub(super) struct Place {
    pub(super) inlet: Queue,
    ready: VecDeque<Entry>,
    /// Given back; goes first.
    returned: VecDeque<Entry>,
    out: BTreeMap<u64, Entry>,
    taps: Vec<Tap>,
    turn: usize,
}

impl Place {
    pub(super) fn new(inlet: Queue) -> Self {
        let (ready, returned) = (VecDeque::new(), VecDeque::new());
        Self { inlet, ready, returned, out: BTreeMap::new(), taps: Vec::new(), turn: 0 }
    }

    pub(super) fn depth(&self) -> usize {
        self.ready.len() + self.returned.len() + self.out.len()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.ready.iter().chain(&self.returned).chain(self.out.values())
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.ready.push_back(entry);
    }

    pub(super) fn join(&mut self, tap: Tap) {
        self.taps.push(tap);
    }

    pub(super) fn leave(&mut self, tap: u64) {
        self.taps.retain(|known| known.id != tap);
    }

    pub(super) fn close(&mut self) {
        self.taps.clear();
    }

    /// Takes a message back; returns it if it was given back too often.
    pub(super) fn settle(
        &mut self,
        tap: u64,
        seq: u64,
        settlement: Settlement,
        chance: Option<&mut fastrand::Rng>,
    ) -> Option<Entry> {
        if let Some(tap) = self.taps.iter_mut().find(|known| known.id == tap) {
            tap.held -= 1;
        }
        let entry = self.out.remove(&seq)?;
        match settlement {
            Settlement::Done => None,
            Settlement::Again => self.give_back(entry, chance),
        }
    }

    /// Takes all back that is out, under new numbers that a late settlement does not know.
    pub(super) fn lose_session(&mut self, seq: &mut u64, mut chance: Option<&mut fastrand::Rng>) -> Vec<Entry> {
        let out = std::mem::take(&mut self.out).into_values();
        out.filter_map(|mut entry| {
            *seq += 1;
            entry.seq = *seq;
            self.give_back(entry, chance.as_deref_mut())
        })
        .collect()
    }

    /// Chooses what goes out now, in turn to all who have prefetch.
    pub(super) fn pick(&mut self, seq: &mut u64, mut chance: Option<&mut fastrand::Rng>, picks: &mut Vec<HandOut>) {
        // A consumer that is just being dropped would give it back at once, again and again.
        self.taps.retain(|tap| !tap.sender.is_closed());
        while self.taps.iter().any(|tap| tap.held < tap.prefetch) {
            let Some(entry) = self.returned.pop_front().or_else(|| self.ready.pop_front()) else { return };
            if !entry.copy && chance.as_deref_mut().is_some_and(|chance| chance.f64() < DUPLICATES) {
                *seq += 1;
                self.ready.push_back(Entry { seq: *seq, copy: true, ..entry.clone() });
            }
            self.out.insert(entry.seq, entry.clone());
            let tap = self.next_tap();
            tap.held += 1;
            let (to, tap) = (tap.sender.clone(), tap.id);
            picks.push(HandOut { from: self.inlet, tap, to, entry });
        }
    }

    fn give_back(&mut self, mut entry: Entry, chance: Option<&mut fastrand::Rng>) -> Option<Entry> {
        if entry.count >= self.inlet.delivery_limit() {
            return Some(entry);
        }
        entry.count += 1;
        let last = self.returned.len();
        self.returned.insert(chance.map_or(last, |chance| chance.usize(..=last)), entry);
        None
    }

    /// The next in turn with prefetch; there is one.
    fn next_tap(&mut self) -> &mut Tap {
        loop {
            self.turn = (self.turn + 1) % self.taps.len();
            if self.taps[self.turn].held < self.taps[self.turn].prefetch {
                return &mut self.taps[self.turn];
            }
        }
    }
}
