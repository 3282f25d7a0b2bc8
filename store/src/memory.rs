//! A store that keeps nothing: for tests, and the least that any store does.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{FutureExt as _, future::BoxFuture};
use schemas::{Tenant, time::rfc3339};
use tokio::sync::watch;

use crate::{
    AuditEntry, Edit, EditError, Edited, Snapshot, Store, StoreError, SyncStatus, TenantSnapshot, Usage, UsageAndAudit,
    UsageReport, edit::decide_on, snapshot::SyncTracker, usage_and_audit::AuditStamp,
};

/// Everything in memory, gone with it. May be told to be away.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<MemoryState>,
    revision: watch::Sender<u64>,
    sync: SyncTracker,
}

#[derive(Debug)]
struct MemoryState {
    snapshot: Arc<Snapshot>,
    usage: Vec<UsageReport>,
    audit: Vec<AuditEntry>,
    /// Of the entry that was noted last, which may be forgotten.
    last_entry: u64,
    away: bool,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new([])
    }
}

impl MemoryStore {
    /// With these tenants, at revision 1.
    pub fn new(tenants: impl IntoIterator<Item = Tenant>) -> Self {
        let tenants = tenants.into_iter().map(|tenant| Arc::new(TenantSnapshot::from(tenant)));
        let snapshot = Arc::new(Snapshot::new(1, tenants));
        let state = MemoryState { snapshot, usage: Vec::new(), audit: Vec::new(), last_entry: 0, away: false };
        let sync = SyncTracker::default();
        sync.succeeded();
        Self { state: Mutex::new(state), revision: watch::Sender::new(1), sync }
    }

    /// From now on it cannot be asked, or it can again; the snapshot stays.
    pub fn set_away(&self, away: bool) {
        self.state().away = away;
    }

    fn state(&self) -> std::sync::MutexGuard<'_, MemoryState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> Result<std::sync::MutexGuard<'_, MemoryState>, StoreError> {
        let state = self.state();
        if state.away {
            self.sync.failed();
            return Err(StoreError("told to be away".to_owned()));
        }
        self.sync.succeeded();
        Ok(state)
    }

    fn carry_out(&self, edit: Edit) -> Result<Edited, EditError> {
        let mut state = self.asked()?;
        let old = state.snapshot.clone();
        let Edit { selection, author, at, dry_run, decision } = edit;
        let changes = decide_on(&old, &selection, at, decision)?;
        if changes.is_empty() || dry_run {
            return Ok(Edited { revision: old.revision(), changes });
        }
        let revision = old.revision() + 1;
        state.snapshot = Arc::new(old.with(revision, &changes));
        let signed = AuditStamp { author, at };
        for change in &changes {
            state.last_entry += 1;
            let entry = signed.entry(state.last_entry, revision, change);
            state.audit.push(entry);
        }
        drop(state);
        self.revision.send_replace(revision);
        Ok(Edited { revision, changes })
    }
}

impl Store for MemoryStore {
    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        Some(self.state().snapshot.clone())
    }

    fn revision(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    fn pull(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        std::future::ready(self.asked().map(|_| ())).boxed()
    }

    fn sync_status(&self) -> SyncStatus {
        self.sync.sync_status()
    }

    fn edit(&self, edit: Edit) -> BoxFuture<'_, Result<Edited, EditError>> {
        std::future::ready(self.carry_out(edit)).boxed()
    }

    fn usage_and_audit(&self) -> Option<&dyn UsageAndAudit> {
        Some(self)
    }
}

impl UsageAndAudit for MemoryStore {
    fn record_usage(&self, reports: Vec<UsageReport>) -> BoxFuture<'_, Result<(), StoreError>> {
        let record = || {
            let mut state = self.asked()?;
            for report in reports {
                let same = |known: &UsageReport| {
                    (&known.process, &known.tenant, &known.endpoint_id, &known.day)
                        == (&report.process, &report.tenant, &report.endpoint_id, &report.day)
                };
                match state.usage.iter().position(same) {
                    Some(at) if state.usage[at].sequence >= report.sequence => {}
                    Some(at) => state.usage[at] = report,
                    None => state.usage.push(report),
                }
            }
            Ok(())
        };
        std::future::ready(record()).boxed()
    }

    fn usage<'a>(
        &'a self,
        tenant: &'a str,
        from: &'a str,
        to: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Usage>, StoreError>> {
        let sum = || {
            let state = self.asked()?;
            let mut days = std::collections::BTreeMap::new();
            let wanted = |report: &&UsageReport| report.tenant == tenant && (from..=to).contains(&report.day.as_str());
            for report in state.usage.iter().filter(wanted) {
                let key = (report.day.clone(), report.endpoint_id.clone());
                *days.entry(key).or_default() += report.counts;
            }
            Ok(days.into_iter().map(|((day, endpoint_id), counts)| Usage { day, endpoint_id, counts }).collect())
        };
        std::future::ready(sum()).boxed()
    }

    fn audit<'a>(
        &'a self,
        tenant: Option<&'a str>,
        before: Option<u64>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<AuditEntry>, StoreError>> {
        let wanted = |entry: &&AuditEntry| {
            tenant.is_none_or(|tenant| entry.tenant == tenant) && before.is_none_or(|before| entry.id < before)
        };
        let list =
            self.asked().map(|state| state.audit.iter().rev().filter(wanted).take(limit as usize).cloned().collect());
        std::future::ready(list).boxed()
    }

    fn trim_audit(&self, before: u64) -> BoxFuture<'_, Result<u64, StoreError>> {
        let before = rfc3339(before);
        let trim = self.asked().map(|mut state| {
            let first = state.audit.iter().position(|entry| entry.at >= before).unwrap_or(state.audit.len());
            state.audit.drain(..first).len() as u64
        });
        std::future::ready(trim).boxed()
    }
}
