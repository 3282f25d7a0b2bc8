//! Erasing what is kept of a contact, or of some events: in history, in the logs and, where it is asked for, what waits.
//!
//! An erasure is a job. Its steps may be repeated, so it goes on after a restart. It passes over everything twice: what is
//! recorded or dies meanwhile, of what was under way at its start, is found by the second pass.

mod meant;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use broker::{
    Deadline, Log, PublishError, ReadError, Record, Target, publish_until_confirmed,
    records::{ReplayMarker, RequeueMarker, parked_delivery, read_dead_letter, read_parked},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use history::{DeliveryState, Erasure, Filter, History, HistoryError, MAX_PAGE, PageRequest, TenantKey, tenant_scope};
use schemas::{EventId, Message, Notice, time::millis};
use serde::{Deserialize, Serialize};
use service::chance;
use store::{AuditEntry, Author, Job, JobProgress, JobState, StoreError};
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use crate::{
    Control, DeadLetterFilter, LiveDeadLetters, NotStarted, WINDOW, log_turns::REQUEST_TIME, parked::is_message,
};

use meant::Meant;
pub(crate) use meant::{ErasureSpec, MeantContact};

/// The kind of these jobs.
pub(crate) const ERASURE: &str = "erasure";
/// Most that run at once, of all tenants. Their passes come one after the other.
const MOST: u32 = 100;
/// Name of the lease on running them, and the time after which that of a control that has died runs out.
const LEASE: (&str, Duration) = ("erasures", Duration::from_secs(60));
/// Interval at which new ones of other processes are looked for, and running ones go on.
const TICK: Duration = Duration::from_secs(2);
/// Time in which what was under way at the start has been recorded.
const RECORDED_WITHIN: Duration = Duration::from_secs(5);
/// Time in which deliverers hear which events are erased.
const HEARD_WITHIN: Duration = Duration::from_millis(300);
/// Event ids of one notice.
const IDS_OF_NOTICE: usize = 200;
/// Most events whose deliveries are dropped at once. Others follow.
const MOST_WAITING: usize = 10_000;
/// Time after which a delivery that still waits by its records is not waited for: its last record was lost.
const LONGEST_WAIT: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// Wakes the task that runs erasures.
#[derive(Debug, Default)]
pub(crate) struct Erasures {
    wake: Notify,
}

/// How far an erasure is, and what it has erased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ErasureProgress {
    /// True once everything was passed over once.
    #[serde(default)]
    has_passed: bool,
    pub(crate) events: u64,
    pub(crate) deliveries: u64,
    pub(crate) dead_letters: u64,
    pub(crate) parked: u64,
}

impl ErasureProgress {
    pub(crate) fn read(job: &Job) -> Self {
        serde_json::from_str(&job.position).unwrap_or_default()
    }
}

/// Why an erasure cannot go on now. It is tried again.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Search(#[from] NotStarted),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl Control {
    /// Keeps a job that erases, and says in the audit log who asked for it.
    pub(crate) async fn start_erasure(
        &self,
        tenant: &str,
        spec: &ErasureSpec,
        author: &Author,
    ) -> Result<Job, NotStarted> {
        let deps = &self.deps;
        let now = (deps.clock)();
        let job = Job {
            id: EventId::fresh(now, chance::bytes(&deps.chance)).to_string(),
            tenant: tenant.to_owned(),
            tenant_created: self.created(tenant),
            kind: ERASURE.to_owned(),
            state: JobState::Running,
            spec: serde_json::json!(spec).to_string(),
            matched: 0,
            position: String::new(),
            done: 0,
            skipped: 0,
            started_at: now,
            ended_at: None,
        };
        if let Some(audit) = deps.store.usage_and_audit() {
            audit.add_audit(audited(&job, spec, author, deps.store.snapshot().map_or(0, |now| now.revision()))).await?;
        }
        if !self.control_state()?.insert_job(job.clone(), MOST).await? {
            return Err(NotStarted::TooMany);
        }
        let of_contact = spec.contact.is_some();
        tracing::info!(erasure_id = job.id, tenant, of_contact, author = author.name, "erasure.started");
        self.erasures.wake.notify_one();
        Ok(job)
    }

    /// Runs erasures, until the process stops. One control at a time does so.
    pub async fn run_erasures(&self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (stop, mut has_failed) = (&self.deps.stop, false);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.erasures.wake.notified() => {}
                _ = ticks.tick() => {}
            }
            let Some(done) = stop.run_until_cancelled(self.run_all_erasures()).await else { return };
            match done {
                // A request of the tenant reads the log, and has nearly ended.
                Err(Failed::Search(NotStarted::Busy)) => {}
                Err(error) if !std::mem::replace(&mut has_failed, true) => {
                    tracing::warn!(%error, "erasure.interrupted");
                }
                Err(_) => {}
                Ok(()) => has_failed = false,
            }
        }
    }

    async fn run_all_erasures(&self) -> Result<(), Failed> {
        let Some(state) = self.deps.store.control_state() else { return Ok(()) };
        let mut jobs = state.running_jobs().await?;
        jobs.retain(|job| job.kind == ERASURE);
        if jobs.is_empty() {
            return Ok(());
        }
        let ((lease, ttl), holder) = (LEASE, self.deps.outbox.process());
        if !state.acquire_lease(lease, holder, millis(ttl), (self.deps.clock)()).await? {
            return Ok(());
        }
        let mut failed = Ok(());
        for job in jobs {
            match self.run_erasure(&job).await {
                Ok(None) => {}
                Ok(Some(end)) => {
                    state.end_job(&job.id, end, (self.deps.clock)()).await?;
                    let Job { id, tenant, .. } = &job;
                    tracing::info!(erasure_id = id, tenant, state = end.as_str(), "erasure.ended");
                }
                // The others go on.
                Err(error) => failed = Err(error),
            }
        }
        state.release_lease(lease, holder).await?;
        failed
    }

    /// Goes on with an erasure. Returns how it has ended; none while something still waits.
    async fn run_erasure(&self, job: &Job) -> Result<Option<JobState>, Failed> {
        let Ok(spec) = serde_json::from_str::<ErasureSpec>(&job.spec) else { return Ok(Some(JobState::Stopped)) };
        if self.has_lost_tenant(job) {
            return Ok(Some(JobState::Stopped));
        }
        let mut pass = Pass::new(self, job, &spec).await?;
        let age = (self.deps.clock)().saturating_sub(job.started_at);
        if !pass.progress.has_passed {
            pass.erase_kept().await?;
            pass.drop_waiting().await?;
            pass.progress.has_passed = true;
            pass.store_progress().await?;
            return Ok(None);
        }
        if age < millis(RECORDED_WITHIN) || pass.drop_waiting().await? > 0 && age < millis(LONGEST_WAIT) {
            return Ok(None);
        }
        pass.erase_kept().await?;
        pass.store_progress().await?;
        Ok(Some(JobState::Done))
    }

    /// True when the contact of an event was erased: its body is not shown any more, wherever a log still has it.
    pub(crate) async fn is_erased(&self, tenant: &str, event_id: &str) -> Result<bool, HistoryError> {
        let Some(history) = &self.deps.history else { return Ok(false) };
        is_erased(&**history, &tenant_scope(tenant, self.created(tenant)), event_id).await
    }
}

async fn is_erased(history: &dyn History, scope: &str, event_id: &str) -> Result<bool, HistoryError> {
    let filter = Filter {
        tenant: Some(scope.to_owned()),
        event_id: Some(event_id.to_owned()),
        erased: Some(true),
        ..Filter::default()
    };
    Ok(!history.events(&PageRequest { filter, limit: 1, after: None }).await?.items.is_empty())
}

/// What the audit log says of an erasure: how much was meant, and not who.
fn audited(job: &Job, spec: &ErasureSpec, author: &Author, revision: u64) -> AuditEntry {
    let of = if spec.contact.is_some() { "contact" } else { "events" };
    AuditEntry {
        id: 0,
        at: schemas::time::rfc3339(job.started_at),
        revision,
        tenant: job.tenant.clone(),
        author: author.name.clone(),
        address: author.address.map(|address| address.to_string()),
        kind: ERASURE.to_owned(),
        item: job.id.clone(),
        before: None,
        after: Some(serde_json::json!({"of": of, "events": spec.event_ids.len(), "waiting": spec.waiting})),
    }
}

/// One pass of an erasure.
struct Pass<'a> {
    control: &'a Control,
    job: &'a Job,
    spec: &'a ErasureSpec,
    /// History, the tenant's name in it, and its key.
    history: Option<(&'a Arc<dyn History>, String, TenantKey)>,
    /// Events of which history said whether they were erased.
    known: HashMap<String, bool>,
    progress: ErasureProgress,
}

impl<'a> Pass<'a> {
    async fn new(control: &'a Control, job: &'a Job, spec: &'a ErasureSpec) -> Result<Self, HistoryError> {
        let history = match &control.deps.history {
            None => None,
            Some(history) => {
                let scope = tenant_scope(&job.tenant, job.tenant_created);
                let key = history.tenant_key(&scope).await?;
                Some((history, scope, key))
            }
        };
        Ok(Self { control, job, spec, history, known: HashMap::new(), progress: ErasureProgress::read(job) })
    }

    /// Erases in history first: which records of the logs are meant is asked of it.
    async fn erase_kept(&mut self) -> Result<(), Failed> {
        if let Some((history, scope, _)) = &self.history {
            let contact = self.spec.contact.as_ref().map(|contact| Erasure::Contact(contact.token));
            let events = Some(self.spec.event_ids.clone()).filter(|ids| !ids.is_empty()).map(Erasure::Events);
            for what in contact.into_iter().chain(events) {
                let erased = history.erase(scope, &what).await?;
                self.progress.events += erased.events;
                self.progress.deliveries += erased.deliveries;
            }
        }
        self.erase_dead_letters().await?;
        self.erase_parked().await?;
        self.control.deps.broker.overwrite_deleted().await?;
        Ok(())
    }

    /// Ends the dead letters that are alive. Where records can be removed, those that have ended before go as well.
    async fn erase_dead_letters(&mut self) -> Result<(), Failed> {
        let (control, broker) = (self.control, &*self.control.deps.broker);
        let can_remove = broker.remove_records(Log::Dead, &[]).await?;
        let until = Instant::now() + REQUEST_TIME;
        let found = control.find_dead_letters(&self.job.tenant, &DeadLetterFilter::default(), until).await?;
        let live = LiveDeadLetters::of(&found);
        let alive: HashSet<u64> = live.iter().map(|(offset, _)| offset).collect();
        let mut records = if can_remove { broker.read(Log::Dead, 0) } else { live.records(broker, 0) };
        let (mut meant, mut ended) = (Vec::new(), Vec::new());
        while let Some(record) = records.try_next().await? {
            let letter = read_dead_letter(&record).filter(|_| !ReplayMarker::is_marker(&record));
            let Some(letter) = letter.filter(|letter| letter.tenant == self.job.tenant) else { continue };
            if self.is_meant(&letter.event_id, &record).await? {
                meant.push(record.offset);
                if alive.contains(&record.offset) {
                    ended.push((letter.delivery_id, record.offset));
                }
            }
        }
        let now = (control.deps.clock)();
        let ends = ended.into_iter().map(|(delivery, offset)| {
            self.publish(ReplayMarker::of_discarded(&self.job.tenant, delivery, offset, now))
        });
        let ended = stream::iter(ends).buffer_unordered(WINDOW).try_fold(0, async |ended, ()| Ok(ended + 1)).await?;
        self.progress.dead_letters += ended;
        broker.remove_records(Log::Dead, &meant).await?;
        Ok(())
    }

    async fn erase_parked(&mut self) -> Result<(), Failed> {
        let broker = &*self.control.deps.broker;
        let mut records = broker.read(Log::Parked, 0);
        let (mut meant, mut has_ended) = (Vec::new(), HashSet::new());
        while let Some(record) = records.try_next().await? {
            if let Some(marker) = RequeueMarker::read(&record).filter(|_| RequeueMarker::is_marker(&record)) {
                has_ended.insert((marker.delivery_id, marker.delivery_id.map_or(marker.offset, |_| 0)));
            } else if is_message(&record)
                && read_parked(&record).tenant.as_deref() == Some(&self.job.tenant)
                && self.is_meant(&record.message.id, &record).await?
            {
                let delivery = parked_delivery(&record).map(|delivery| delivery.id);
                let marker = RequeueMarker::of(&record);
                meant.push((record.offset, (delivery, delivery.map_or(record.offset, |_| 0)), marker));
            }
        }
        let offsets: Vec<_> = meant.iter().map(|(offset, ..)| *offset).collect();
        for (_, key, marker) in meant {
            if has_ended.insert(key) {
                self.publish(marker).await?;
                self.progress.parked += 1;
            }
        }
        broker.remove_records(Log::Parked, &offsets).await?;
        Ok(())
    }

    /// True for a record of the contact's: history has erased its event, or its body names the contact.
    async fn is_meant(&mut self, event_id: &str, record: &Record) -> Result<bool, HistoryError> {
        let key = self.history.as_ref().map(|(.., key)| key);
        if Meant::new(self.spec, key).has(event_id, &record.message.body) {
            return Ok(true);
        }
        let Some((history, scope, _)) = &self.history else { return Ok(false) };
        if let Some(known) = self.known.get(event_id) {
            return Ok(*known);
        }
        let is_erased = is_erased(&***history, scope, event_id).await?;
        self.known.insert(event_id.to_owned(), is_erased);
        Ok(is_erased)
    }

    /// Drops deliveries that wait, where it is asked for: deliverers are told which, and those that wait for their time come
    /// to them now. Returns how many still waited.
    async fn drop_waiting(&self) -> Result<usize, Failed> {
        if !self.spec.waiting {
            return Ok(0);
        }
        let broker = &*self.control.deps.broker;
        let waiting = self.waiting().await?;
        let ids: Vec<_> = waiting.iter().cloned().chain(self.spec.event_ids.iter().cloned()).collect();
        for ids in ids.chunks(IDS_OF_NOTICE) {
            let event_ids = ids.iter().filter_map(|id| EventId::try_from(id.clone()).ok()).collect();
            broker.announce(Notice::Erased { tenant: self.job.tenant.clone(), event_ids }.write().into());
        }
        if !ids.is_empty() {
            sleep(HEARD_WITHIN).await;
            broker.end_waits(&ids).await?;
        }
        Ok(waiting.len())
    }

    /// Events that are meant and have deliveries that wait.
    async fn waiting(&self) -> Result<HashSet<String>, HistoryError> {
        let mut events = HashSet::new();
        let Some((history, scope, _)) = &self.history else { return Ok(events) };
        let filter = Filter {
            tenant: Some(scope.clone()),
            state: Some(DeliveryState::Waiting),
            erased: Some(true),
            ..Filter::default()
        };
        let mut asked = PageRequest { filter, limit: MAX_PAGE, after: None };
        loop {
            let page = history.deliveries(&asked).await?;
            events.extend(page.items.into_iter().map(|item| item.event_id));
            asked.after = page.next;
            if asked.after.is_none() || events.len() >= MOST_WAITING {
                return Ok(events);
            }
        }
    }

    /// Appends a marker, which ends a record.
    async fn publish(&self, (to, marker): (Target, Message)) -> Result<(), PublishError> {
        let deadline = Deadline { stop: self.control.deps.stop.clone(), limit: Some(REQUEST_TIME) };
        publish_until_confirmed(&*self.control.deps.broker, &to, &marker, deadline).await
    }

    async fn store_progress(&self) -> Result<(), StoreError> {
        let progress = JobProgress {
            id: self.job.id.clone(),
            position: serde_json::json!(self.progress).to_string(),
            done: self.progress.events,
            skipped: 0,
        };
        self.control.control_state()?.record_progress(vec![progress]).await
    }
}
