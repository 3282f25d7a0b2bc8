//! What arrived, counted by endpoint (its path) and webhook-id: the other half of what was accepted.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use carteiro::receiver::Received;

/// Everything that arrived at a receiver.
#[derive(Default)]
pub(crate) struct Ledger {
    received: Vec<Received>,
    /// By path and webhook-id: how often it was answered with a 2xx.
    accepted: BTreeMap<String, BTreeMap<String, usize>>,
}

/// What became of the events that were accepted.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// Events that were answered 202.
    pub(crate) accepted: usize,
    /// Of those, how many the endpoint answered with a 2xx at least once.
    pub(crate) delivered: usize,
    /// Of those, how many it never did.
    pub(crate) lost: usize,
    /// 2xx beyond the first for the same webhook-id.
    pub(crate) duplicates: usize,
    /// Delivered although never answered 202.
    pub(crate) strangers: usize,
}

impl Ledger {
    pub(super) fn note(&mut self, received: Received) {
        if received.is_accepted() {
            let by_id = self.accepted.entry(received.path.clone()).or_default();
            *by_id.entry(received.header("webhook-id").to_owned()).or_default() += 1;
        }
        self.received.push(received);
    }

    /// All requests to a path, in order, however they were answered.
    pub(crate) fn requests(&self, path: &str) -> Vec<&Received> {
        self.received.iter().filter(|received| received.path == path).collect()
    }

    /// How many different webhook-ids an endpoint has answered with a 2xx.
    pub(crate) fn delivered(&self, path: &str) -> usize {
        self.accepted.get(path).map_or(0, BTreeMap::len)
    }

    /// Whether an endpoint has answered all of them with a 2xx.
    pub(crate) fn has_all(&self, path: &str, ids: &BTreeSet<String>) -> bool {
        let Some(accepted) = self.accepted.get(path) else { return ids.is_empty() };
        accepted.len() >= ids.len() && ids.iter().all(|id| accepted.contains_key(id))
    }

    /// What each endpoint has done so far, for a test that failed.
    pub(super) fn summary(&self) -> String {
        let endpoint = |(path, ids): (&String, &BTreeMap<String, usize>)| format!("{path} accepted {}", ids.len());
        let endpoints: Vec<_> = self.accepted.iter().map(endpoint).collect();
        format!("{} requests; {}", self.received.len(), endpoints.join(", "))
    }

    pub(super) fn tally(&self, path: &str, ids: &BTreeSet<String>) -> Outbox {
        let empty = BTreeMap::new();
        let accepted = self.accepted.get(path).unwrap_or(&empty);
        let delivered = ids.iter().filter(|id| accepted.contains_key(*id)).count();
        Outbox {
            accepted: ids.len(),
            delivered,
            lost: ids.len() - delivered,
            duplicates: accepted.values().map(|times| times - 1).sum(),
            strangers: accepted.keys().filter(|id| !ids.contains(*id)).count(),
        }
    }
}

impl fmt::Display for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accepted, delivered, lost, duplicates, strangers } = self;
        write!(
            f,
            "{accepted} accepted, {delivered} delivered, {lost} lost, {duplicates} duplicates, {strangers} strangers"
        )
    }
}
