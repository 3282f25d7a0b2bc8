//! A store in memory for tests, which can also simulate failures.

use std::{
    collections::{BTreeMap, HashMap},
    future::{pending, ready},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{FutureExt as _, future::BoxFuture};
use schemas::{Tenant, time::rfc3339};
use tokio::sync::watch;

use crate::{
    AuditEntry, ControlState, Edit, EditError, Edited, Job, JobProgress, JobQuery, JobState, Snapshot, Store,
    StoreError, SyncStatus, TenantSnapshot, Usage, UsageAndAudit, UsageReport, UsageScope, edit::decide_on,
    snapshot::current::SyncTracker, usage_and_audit::AuditStamp,
};

pub struct MemoryStore {
    state: Mutex<MemoryState>,
    revision: watch::Sender<u64>,
    sync: SyncTracker,
    /// True when every change is refused, and neither usage nor an audit log is kept.
    is_read_only: bool,
}

struct MemoryState {
    /// None when it has never been read.
    snapshot: Option<Arc<Snapshot>>,
    usage: Vec<UsageReport>,
    audit: Vec<AuditEntry>,
    /// Id of the last inserted entry, which may be deleted by now.
    last_entry: u64,
    /// By id, so that they are in the order of their beginnings.
    jobs: BTreeMap<String, Job>,
    /// Holder and end of each lease, in unix milliseconds.
    leases: HashMap<String, (String, u64)>,
    away: bool,
    on_pull: Arc<dyn Fn() -> Pulled + Send + Sync>,
    pulls: usize,
    panics: usize,
}

#[derive(Clone, Debug)]
pub enum Pulled {
    /// Nothing new.
    Nothing,
    Snapshot(Arc<Snapshot>),
    Failure(StoreError),
    /// No answer: the pull never ends.
    Silence,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new([])
    }
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryStore").field("snapshot", &self.state().snapshot).finish_non_exhaustive()
    }
}

impl MemoryStore {
    /// Makes a store with these tenants, at revision 1.
    pub fn new(tenants: impl IntoIterator<Item = Tenant>) -> Self {
        let store = Self::without_snapshot();
        store.set_tenants(tenants);
        store.sync.succeeded();
        store
    }

    /// Makes a store that refuses every change and keeps neither usage nor an audit log, as `file:` stores do.
    pub fn read_only(tenants: impl IntoIterator<Item = Tenant>) -> Self {
        Self { is_read_only: true, ..Self::new(tenants) }
    }

    /// Makes a store that has not been read yet.
    pub fn without_snapshot() -> Self {
        let state = MemoryState {
            snapshot: None,
            usage: Vec::new(),
            audit: Vec::new(),
            last_entry: 0,
            jobs: BTreeMap::new(),
            leases: HashMap::new(),
            away: false,
            on_pull: Arc::new(|| Pulled::Nothing),
            pulls: 0,
            panics: 0,
        };
        Self {
            state: Mutex::new(state),
            revision: watch::Sender::new(0),
            sync: SyncTracker::default(),
            is_read_only: false,
        }
    }

    /// Replaces all tenants, at the next revision.
    pub fn set_tenants(&self, tenants: impl IntoIterator<Item = Tenant>) {
        let revision = *self.revision.borrow() + 1;
        let tenants = tenants.into_iter().map(|tenant| Arc::new(TenantSnapshot::from(tenant)));
        self.set_snapshot(Snapshot::new(revision, tenants));
    }

    /// Replaces the snapshot, at its own revision.
    pub fn set_snapshot(&self, snapshot: impl Into<Arc<Snapshot>>) {
        let snapshot = snapshot.into();
        let revision = snapshot.revision();
        self.state().snapshot = Some(snapshot);
        self.revision.send_replace(revision);
    }

    /// Makes the store fail from now on, or work again. The snapshot stays.
    pub fn set_away(&self, away: bool) {
        self.state().away = away;
    }

    /// Sets the result of every pull from now on.
    pub fn when_pulled(&self, on_pull: impl Fn() -> Pulled + Send + Sync + 'static) {
        self.state().on_pull = Arc::new(on_pull);
    }

    pub fn pulls(&self) -> usize {
        self.state().pulls
    }

    /// Makes the next `times` readings of the snapshot panic.
    pub fn panic_when_read(&self, times: usize) {
        self.state().panics = times;
    }

    fn state(&self) -> MutexGuard<'_, MemoryState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the state, unless the store is away.
    fn reached(&self) -> Result<MutexGuard<'_, MemoryState>, StoreError> {
        let state = self.state();
        if state.away {
            self.sync.failed();
            return Err(StoreError("told to be away".to_owned()));
        }
        self.sync.succeeded();
        Ok(state)
    }

    fn carry_out(&self, edit: Edit) -> Result<Edited, EditError> {
        if self.is_read_only {
            return Err(EditError::ReadOnly);
        }
        let mut state = self.reached()?;
        let old = state.snapshot.clone().unwrap_or_default();
        let Edit { selection, author, at, dry_run, decision } = edit;
        let changes = decide_on(&old, &selection, at, decision)?;
        if changes.is_empty() || dry_run {
            return Ok(Edited { revision: old.revision(), changes });
        }
        let revision = old.revision() + 1;
        state.snapshot = Some(Arc::new(old.with(revision, &changes)));
        let stamp = AuditStamp { author, at };
        for change in &changes {
            state.last_entry += 1;
            let entry = stamp.entry(state.last_entry, revision, change);
            state.audit.push(entry);
        }
        drop(state);
        self.revision.send_replace(revision);
        Ok(Edited { revision, changes })
    }
}

impl Store for MemoryStore {
    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        let mut state = self.state();
        if let Some(left) = state.panics.checked_sub(1) {
            state.panics = left;
            drop(state);
            panic!("on purpose");
        }
        state.snapshot.clone()
    }

    fn revision(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    fn pull(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.state().pulls += 1;
        let on_pull = match self.reached() {
            Ok(state) => state.on_pull.clone(),
            Err(away) => return ready(Err(away)).boxed(),
        };
        match on_pull() {
            Pulled::Nothing => ready(Ok(())).boxed(),
            Pulled::Snapshot(snapshot) => {
                self.set_snapshot(snapshot);
                ready(Ok(())).boxed()
            }
            Pulled::Failure(error) => ready(Err(error)).boxed(),
            Pulled::Silence => pending().boxed(),
        }
    }

    fn sync_status(&self) -> SyncStatus {
        self.sync.sync_status()
    }

    fn edit(&self, edit: Edit) -> BoxFuture<'_, Result<Edited, EditError>> {
        ready(self.carry_out(edit)).boxed()
    }

    fn usage_and_audit(&self) -> Option<&dyn UsageAndAudit> {
        (!self.is_read_only).then_some(self)
    }

    fn control_state(&self) -> Option<&dyn ControlState> {
        Some(self)
    }
}

impl ControlState for MemoryStore {
    fn insert_job(&self, job: Job, most: u32) -> BoxFuture<'_, Result<bool, StoreError>> {
        let insert = self.reached().map(|mut state| {
            let runs = |other: &&Job| other.kind == job.kind && other.state == JobState::Running;
            let has_room = state.jobs.values().filter(runs).count() < most as usize;
            if has_room {
                state.jobs.insert(job.id.clone(), job);
            }
            has_room
        });
        ready(insert).boxed()
    }

    fn record_progress(&self, progress: Vec<JobProgress>) -> BoxFuture<'_, Result<(), StoreError>> {
        let record = self.reached().map(|mut state| {
            for JobProgress { id, position, done, skipped } in progress {
                if let Some(job) = state.jobs.get_mut(&id) {
                    (job.position, job.done, job.skipped) = (position, done, skipped);
                }
            }
        });
        ready(record).boxed()
    }

    fn end_job<'a>(&'a self, id: &'a str, end: JobState, at: u64) -> BoxFuture<'a, Result<bool, StoreError>> {
        let ended = self.reached().map(|mut state| {
            let running = state.jobs.get_mut(id).filter(|job| job.state == JobState::Running);
            running.map(|job| (job.state, job.ended_at) = (end, Some(at))).is_some()
        });
        ready(ended).boxed()
    }

    fn job<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Job>, StoreError>> {
        ready(self.reached().map(|state| state.jobs.get(id).cloned())).boxed()
    }

    fn jobs<'a>(&'a self, query: JobQuery<'a>) -> BoxFuture<'a, Result<Vec<Job>, StoreError>> {
        let JobQuery { kind, tenant, before, limit } = query;
        let wanted = |job: &&Job| {
            job.kind == kind
                && tenant.is_none_or(|tenant| tenant == (&*job.tenant, job.tenant_created))
                && before.is_none_or(|before| *job.id < *before)
        };
        let list = |state: MutexGuard<'_, MemoryState>| {
            state.jobs.values().rev().filter(wanted).take(limit as usize).cloned().collect()
        };
        ready(self.reached().map(list)).boxed()
    }

    fn running_jobs(&self) -> BoxFuture<'_, Result<Vec<Job>, StoreError>> {
        let runs = |job: &&Job| job.state == JobState::Running;
        ready(self.reached().map(|state| state.jobs.values().filter(runs).cloned().collect())).boxed()
    }

    fn trim_jobs(&self, before: u64, most: u32) -> BoxFuture<'_, Result<u64, StoreError>> {
        let trim = self.reached().map(|mut state| {
            let (mut places, all) = (HashMap::<_, u32>::new(), state.jobs.len());
            let old: Vec<_> = state
                .jobs
                .values()
                .rev()
                .filter(|job| job.state != JobState::Running)
                .filter(|job| {
                    let place = places.entry((job.tenant.clone(), job.kind.clone())).or_default();
                    *place += 1;
                    *place > most || job.ended_at.is_some_and(|at| at < before)
                })
                .map(|job| job.id.clone())
                .collect();
            state.jobs.retain(|id, _| !old.contains(id));
            (all - state.jobs.len()) as u64
        });
        ready(trim).boxed()
    }

    fn acquire_lease<'a>(
        &'a self,
        name: &'a str,
        holder: &'a str,
        ttl: u64,
        now: u64,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let acquire = self.reached().map(|mut state| {
            let (whose, end) = state.leases.entry(name.to_owned()).or_insert_with(|| (holder.to_owned(), 0));
            let is_free = whose == holder || *end <= now;
            if is_free {
                (*whose, *end) = (holder.to_owned(), now + ttl);
            }
            is_free
        });
        ready(acquire).boxed()
    }

    fn release_lease<'a>(&'a self, name: &'a str, holder: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        let release =
            self.reached().map(|mut state| state.leases.retain(|lease, (whose, _)| lease != name || whose != holder));
        ready(release).boxed()
    }
}

impl UsageAndAudit for MemoryStore {
    fn record_usage(&self, reports: Vec<UsageReport>) -> BoxFuture<'_, Result<u64, StoreError>> {
        let record = || {
            let mut state = self.reached()?;
            let mut late = 0;
            for report in reports {
                let same = |known: &UsageReport| {
                    (&known.process, &known.tenant, &known.endpoint_id, &known.day)
                        == (&report.process, &report.tenant, &report.endpoint_id, &report.day)
                };
                let is_sum = |known: &UsageReport| {
                    known.process.is_empty()
                        && (&known.tenant, &known.endpoint_id, &known.day)
                            == (&report.tenant, &report.endpoint_id, &report.day)
                };
                match state.usage.iter().position(same) {
                    _ if state.usage.iter().any(is_sum) => late += 1,
                    Some(at) if state.usage[at].sequence >= report.sequence => {}
                    Some(at) => state.usage[at] = report,
                    None => state.usage.push(report),
                }
            }
            Ok(late)
        };
        ready(record()).boxed()
    }

    fn usage<'a>(
        &'a self,
        tenant: &'a str,
        scope: UsageScope<'a>,
        from: &'a str,
        to: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Usage>, StoreError>> {
        let sum = || {
            let state = self.reached()?;
            let mut days = BTreeMap::new();
            let wanted = |report: &&UsageReport| {
                report.tenant == tenant
                    && (from..=to).contains(&report.day.as_str())
                    && match scope {
                        UsageScope::Endpoint(id) => report.endpoint_id.as_deref() == Some(id),
                        UsageScope::Tenant | UsageScope::Endpoints => true,
                    }
            };
            for report in state.usage.iter().filter(wanted) {
                let endpoint_id = report.endpoint_id.clone().filter(|_| scope != UsageScope::Tenant);
                let key = (report.day.clone(), endpoint_id);
                *days.entry(key).or_default() += report.counts;
            }
            Ok(days.into_iter().map(|((day, endpoint_id), counts)| Usage { day, endpoint_id, counts }).collect())
        };
        ready(sum()).boxed()
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
            self.reached().map(|state| state.audit.iter().rev().filter(wanted).take(limit as usize).cloned().collect());
        ready(list).boxed()
    }

    fn add_audit(&self, entry: AuditEntry) -> BoxFuture<'_, Result<(), StoreError>> {
        let add = self.reached().map(|mut state| {
            let id = state.audit.last().map_or(1, |last| last.id + 1);
            state.audit.push(AuditEntry { id, ..entry });
        });
        ready(add).boxed()
    }

    fn trim_audit(&self, before: u64) -> BoxFuture<'_, Result<u64, StoreError>> {
        let before = rfc3339(before);
        let trim = self.reached().map(|mut state| {
            let first = state.audit.iter().position(|entry| entry.at >= before).unwrap_or(state.audit.len());
            state.audit.drain(..first).len() as u64
        });
        ready(trim).boxed()
    }

    fn roll_up_usage<'a>(&'a self, before: &'a str) -> BoxFuture<'a, Result<u64, StoreError>> {
        let roll_up = self.reached().map(|mut state| {
            let is_old = |report: &UsageReport| report.day.as_str() < before && !report.process.is_empty();
            let (old, mut rest): (Vec<_>, Vec<_>) = state.usage.drain(..).partition(is_old);
            let rows = old.len() as u64;
            for report in old {
                let sum = UsageReport { process: String::new(), sequence: 0, ..report };
                let same = |known: &&mut UsageReport| {
                    (&known.process, &known.tenant, &known.endpoint_id, &known.day)
                        == (&sum.process, &sum.tenant, &sum.endpoint_id, &sum.day)
                };
                match rest.iter_mut().find(same) {
                    Some(known) => known.counts += sum.counts,
                    None => rest.push(sum),
                }
            }
            state.usage = rest;
            rows
        });
        ready(roll_up).boxed()
    }

    fn trim_usage<'a>(&'a self, before: &'a str) -> BoxFuture<'a, Result<u64, StoreError>> {
        let trim = self.reached().map(|mut state| {
            let rows = state.usage.len();
            state.usage.retain(|report| report.day.as_str() >= before);
            (rows - state.usage.len()) as u64
        });
        ready(trim).boxed()
    }
}
