//! Holds what a process has counted and found until control confirms that it has stored it: counts by tenant, endpoint
//! and day, and findings.
//!
//! Roles add to the outbox. The process announces the notices that [`Outbox::report`] returns, and passes confirmations
//! on to [`Outbox::noted`]. Nothing is written to the disk: a process that dies loses what it had not reported. All
//! times are arguments, in unix milliseconds.

mod usage_counts;

#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use schemas::{Counts, Finding, Notice, QuotaName};
use usage_counts::UsageCounts;

/// Time after which an unconfirmed notice is sent again, in milliseconds.
const AGAIN: u64 = 5_000;
/// Largest number of findings in one notice: about 100 kB of JSON.
const TOGETHER: usize = 500;
/// Largest number of waiting findings, usage aside. An endpoint or a quota has one at a time, so more would be an error
/// in a loop.
const MOST_FINDINGS: usize = 10_000;
/// Largest number of refusals that are findings in one hour. Further ones are not told before the next hour.
const MOST_REFUSALS: usize = 100_000;
/// Milliseconds of an hour.
const HOUR: u64 = 3_600_000;

#[derive(Debug)]
pub struct Outbox {
    process: String,
    /// The lock is never held across an await. A count holds it for two look-ups.
    state: Mutex<OutboxState>,
}

#[derive(Debug, Default)]
struct OutboxState {
    usage: UsageCounts,
    /// Findings to be sent, for the first time or again.
    findings: Vec<Finding>,
    /// Unconfirmed notices, by their sequence.
    said: std::collections::BTreeMap<u64, UnconfirmedNotice>,
    sequence: u64,
    missed: u64,
    /// The refusals that were findings in the hour `hour`, counted from 1970, by tenant.
    refusals: HashSet<(String, Refused)>,
    hour: u64,
}

/// What is refused to a tenant again and again, of which it is told once an hour.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Refused {
    Quota(QuotaName),
    /// Events in a loop, with the id of their source.
    Loop(Option<String>),
}

#[derive(Debug)]
struct UnconfirmedNotice {
    at: u64,
    lines: Vec<usize>,
    findings: Vec<Finding>,
}

impl Outbox {
    /// Makes the outbox of a process. `process` is an id made at its start, which separates its counts, beginning at
    /// zero, from those of the process before.
    pub fn new(process: impl Into<String>) -> Self {
        Self { process: process.into(), state: Mutex::default() }
    }

    pub fn process(&self) -> &str {
        &self.process
    }

    /// Adds counts for a tenant, or for one of its endpoints. Only the first count of a day allocates.
    pub fn add(&self, now: u64, tenant: &str, endpoint_id: Option<&str>, more: Counts) {
        let mut state = self.state();
        if !state.usage.add(now, tenant, endpoint_id, more) {
            state.missed += 1;
        }
    }

    /// Adds a finding. The same finding is sent once, however often it is added until it is confirmed.
    pub fn record_finding(&self, fact: Finding) {
        let mut state = self.state();
        let known = state.findings.contains(&fact) || state.said.values().any(|said| said.findings.contains(&fact));
        match known {
            true => {}
            false if state.findings.len() >= MOST_FINDINGS => state.missed += 1,
            false => state.findings.push(fact),
        }
    }

    /// Adds the finding that a tenant has reached a quota, once in each hour.
    pub fn record_quota_reached(&self, tenant: &str, quota: QuotaName, limit: f64, now: u64) {
        if self.state().is_first_of_hour(tenant, Refused::Quota(quota), now) {
            self.record_finding(Finding::QuotaReached { tenant: tenant.to_owned(), quota, limit, at: now });
        }
    }

    /// Adds the finding that a tenant's events go round in a loop, once in each hour for each source, and for events
    /// that came with a key.
    pub fn record_event_loop(&self, tenant: &str, source_id: Option<&str>, now: u64) {
        let source_id = source_id.map(str::to_owned);
        if self.state().is_first_of_hour(tenant, Refused::Loop(source_id.clone()), now) {
            self.record_finding(Finding::EventLoop { tenant: tenant.to_owned(), source_id, at: now });
        }
    }

    /// Returns the notices to be sent now: new content, and content that was sent a while ago and not confirmed.
    pub fn report(&self, now: u64) -> Vec<Notice> {
        self.notices(now, TOGETHER)
    }

    /// Like [`report`](Self::report), without counts: these change all the time, and nobody waits for them.
    pub fn report_findings(&self, now: u64) -> Vec<Notice> {
        self.notices(now, 0)
    }

    fn notices(&self, now: u64, most_lines: usize) -> Vec<Notice> {
        let state = &mut *self.state();
        state.take_back(now);
        state.usage.begin(now);
        let mut notices = Vec::new();
        loop {
            let lines = state.usage.take_changed(most_lines);
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

    /// Notes that control has stored the notice with this sequence, if this process sent it.
    pub fn noted(&self, process: &str, sequence: u64) {
        let mut state = self.state();
        if process == self.process
            && let Some(said) = state.said.remove(&sequence)
        {
            state.usage.noted(&said.lines);
        }
    }

    /// True when everything was sent and confirmed.
    pub fn is_settled(&self) -> bool {
        let state = self.state();
        state.said.is_empty() && state.findings.is_empty() && !state.usage.has_changed()
    }

    /// Number of counts and findings that were dropped because the outbox was full.
    pub fn missed(&self) -> u64 {
        self.state().missed
    }

    fn state(&self) -> MutexGuard<'_, OutboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutboxState {
    fn is_first_of_hour(&mut self, tenant: &str, refused: Refused, now: u64) -> bool {
        if std::mem::replace(&mut self.hour, now / HOUR) != now / HOUR {
            self.refusals.clear();
        }
        self.refusals.len() < MOST_REFUSALS && self.refusals.insert((tenant.to_owned(), refused))
    }

    /// Makes the content of unconfirmed notices due again after a while, with the present counts. A clock that was set
    /// back makes them due at once, unless it was set back by less than that while.
    fn take_back(&mut self, now: u64) {
        while let Some(first) = self.said.first_entry()
            && first.get().at.abs_diff(now) >= AGAIN
        {
            let said = first.remove();
            self.usage.not_noted(&said.lines);
            self.findings.extend(said.findings);
        }
    }
}
