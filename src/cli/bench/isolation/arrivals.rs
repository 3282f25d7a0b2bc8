//! Which published events have arrived, and how long that took.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

/// Events that were published, by id. Only the first arrival of each counts.
#[derive(Default)]
pub(super) struct Arrivals {
    events: Mutex<Events>,
    awaited: watch::Sender<usize>,
}

#[derive(Default)]
struct Events {
    awaited: HashMap<String, Instant>,
    latencies: Vec<Duration>,
}

impl Arrivals {
    /// Notes that an event is about to be published.
    pub(super) fn publishing(&self, id: String) {
        let mut events = self.events();
        events.awaited.insert(id, Instant::now());
        self.awaited.send_replace(events.awaited.len());
    }

    /// Forgets an event that was not accepted.
    pub(super) fn refused(&self, id: &str) {
        let mut events = self.events();
        events.awaited.remove(id);
        self.awaited.send_replace(events.awaited.len());
    }

    pub(super) fn arrived(&self, id: &str, at: Instant) {
        let mut events = self.events();
        if let Some(published) = events.awaited.remove(id) {
            events.latencies.push(at.saturating_duration_since(published));
            self.awaited.send_replace(events.awaited.len());
        }
    }

    /// Number of events that have not arrived yet.
    pub(super) fn awaited(&self) -> usize {
        *self.awaited.borrow()
    }

    /// Waits until all have arrived, for `longest` at most. False if some are still missing.
    pub(super) async fn all(&self, longest: Duration) -> bool {
        let mut awaited = self.awaited.subscribe();
        tokio::time::timeout(longest, awaited.wait_for(|awaited| *awaited == 0)).await.is_ok()
    }

    /// Takes the latencies, and the number of events that have not arrived. These are forgotten; their latencies are how
    /// long they were awaited.
    pub(super) fn take(&self) -> (Vec<Duration>, usize) {
        let mut events = self.events();
        let Events { awaited, mut latencies } = std::mem::take(&mut *events);
        self.awaited.send_replace(0);
        latencies.extend(awaited.values().map(Instant::elapsed));
        (latencies, awaited.len())
    }

    fn events(&self) -> MutexGuard<'_, Events> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
