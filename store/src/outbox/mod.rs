//! What a process has done and found out, until control has noted it: counts by tenant, endpoint and day, and facts.
//!
//! Roles add to it; the process announces what [`Outbox::report`] says and passes on what was noted. It keeps nothing on
//! disk: what a process that dies had not reported is not counted. No clock: time is an argument, in unix milliseconds.

mod usage_counts;

#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};

use schemas::{Counts, Finding, Notice};
use usage_counts::UsageCounts;

/// How often what was not noted is said again, in ms.
const AGAIN: u64 = 5_000;
/// Findings in one notice: about 100 kB of JSON.
const TOGETHER: usize = 500;
/// Findings that wait, usage aside. They come one an endpoint or quota; more is a loop somewhere.
const MOST_FINDINGS: usize = 10_000;

/// What one process has to tell. Shared by its roles.
#[derive(Debug)]
pub struct Outbox {
    process: String,
    /// Never held across an await; a count holds it for as long as two look-ups take.
    state: Mutex<OutboxState>,
}

#[derive(Debug, Default)]
struct OutboxState {
    usage: UsageCounts,
    /// Not said yet, or to be said again.
    findings: Vec<Finding>,
    /// By sequence: said and not noted.
    said: std::collections::BTreeMap<u64, UnconfirmedNotice>,
    sequence: u64,
    missed: u64,
}

/// What one notice said.
#[derive(Debug)]
struct UnconfirmedNotice {
    at: u64,
    lines: Vec<usize>,
    findings: Vec<Finding>,
}

impl Outbox {
    /// Of a process, by an id made at its start: its counts begin at zero, and are told from those before.
    pub fn new(process: impl Into<String>) -> Self {
        Self { process: process.into(), state: Mutex::default() }
    }

    /// The process's id.
    pub fn process(&self) -> &str {
        &self.process
    }

    /// Counts something for a tenant, or for one of its endpoints. Allocates only for what was not counted before on
    /// this day.
    pub fn add(&self, now: u64, tenant: &str, endpoint_id: Option<&str>, more: Counts) {
        let mut state = self.state();
        if !state.usage.add(now, tenant, endpoint_id, more) {
            state.missed += 1;
        }
    }

    /// States a fact, once, however often it is stated until it is noted.
    pub fn record_finding(&self, fact: Finding) {
        let mut state = self.state();
        let known = state.findings.contains(&fact) || state.said.values().any(|said| said.findings.contains(&fact));
        match known {
            true => {}
            false if state.findings.len() >= MOST_FINDINGS => state.missed += 1,
            false => state.findings.push(fact),
        }
    }

    /// What is to be announced now: what is new, and what was said a while ago and not noted.
    pub fn report(&self, now: u64) -> Vec<Notice> {
        let state = &mut *self.state();
        state.take_back(now);
        state.usage.begin(now);
        let mut notices = Vec::new();
        loop {
            let lines = state.usage.take_changed(TOGETHER);
            let room = (TOGETHER - lines.len()).min(state.findings.len());
            let findings: Vec<_> = state.findings.drain(..room).collect();
            if lines.is_empty() && findings.is_empty() {
                return notices;
            }
            state.sequence += 1;
            let sequence = state.sequence;
            let said = lines.iter().map(|line| state.usage.finding(*line)).chain(findings.iter().cloned()).collect();
            notices.push(Notice::Findings { process: self.process.clone(), sequence, findings: said });
            state.said.insert(sequence, UnconfirmedNotice { at: now, lines, findings });
        }
    }

    /// What was said under this number is kept, if it is this process's.
    pub fn noted(&self, process: &str, sequence: u64) {
        let mut state = self.state();
        if process == self.process
            && let Some(said) = state.said.remove(&sequence)
        {
            state.usage.noted(&said.lines);
        }
    }

    /// Whether everything was said and noted.
    pub fn is_settled(&self) -> bool {
        let state = self.state();
        state.said.is_empty() && state.findings.is_empty() && !state.usage.has_changed()
    }

    /// How often something could not be counted, since too much was counted before. For metrics.
    pub fn missed(&self) -> u64 {
        self.state().missed
    }

    fn state(&self) -> MutexGuard<'_, OutboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutboxState {
    /// What was said long enough ago is to be said again, as it is by now.
    fn take_back(&mut self, now: u64) {
        while let Some(first) = self.said.first_entry()
            && first.get().at + AGAIN <= now
        {
            let said = first.remove();
            self.usage.not_noted(&said.lines);
            self.findings.extend(said.findings);
        }
    }
}
