//! The `postgres:` store: one database, any number of processes on any number of machines.
//!
//! One task edits the database, on one connection, over which it is also notified of changes. Usage, the audit log, and
//! jobs and leases have connections of their own. Readers never come here: they hold the snapshot, which stays when the database goes away, and
//! is in a file for a process that starts meanwhile.

mod connection_task;
mod control_state;
mod copy;
mod database;
mod failure;
mod migrations;
mod rows;
mod usage;

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use schemas::time::rfc3339;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::AbortOnDropHandle;

use self::{
    connection_task::{ConnectionTask, DatabaseJob, PullReply},
    database::{ItemKey, PostgresDatabase},
    failure::{BEGINNING, PostgresFailure},
};
use crate::{
    AuditEntry, ControlState, Edit, EditError, Edited, Job, JobProgress, JobQuery, JobState, Keyring, Snapshot, Store,
    StoreError, StoreOpenError, SyncStatus, Usage, UsageAndAudit, UsageReport, UsageScope,
    snapshot::current::CurrentSnapshot,
    snapshot_cache::SnapshotCache,
    usage_and_audit::{ROLLED_UP_AT_ONCE, TRIMMED_AT_ONCE, newest},
};
use service::postgres::{DatabaseUrl, LONG, PostgresSession, QUICK, SideSession};

pub(crate) use self::copy::{read, write};

/// Most jobs that wait for the connection. Further callers wait until there is room.
const JOBS: usize = 64;

/// Time limits of a question about usage or the audit log, and of all about jobs and leases: of the statement, and of all
/// of it.
const QUESTION: [Duration; 2] = [Duration::from_secs(2), QUICK];
/// Time limits of a statement that records or deletes usage or entries of the audit log, and of its job.
const UPKEEP: [Duration; 2] = [Duration::from_secs(15), LONG];

/// A PostgreSQL database as a store. Its drop closes the connection.
pub struct PostgresStore {
    current: Arc<CurrentSnapshot>,
    jobs: mpsc::Sender<DatabaseJob>,
    pulls: mpsc::UnboundedSender<PullReply>,
    questions: SideSession,
    upkeep: SideSession,
    /// Jobs and leases: a lease is renewed in time, whatever else is under way.
    control_state: SideSession,
    _connection: AbortOnDropHandle<()>,
    _snapshot_cache: AbortOnDropHandle<()>,
}

impl PostgresStore {
    /// Connects to the database of a URL, makes or updates its tables, and loads everything.
    ///
    /// If the database does not answer within a few seconds, the store is opened all the same, and goes on connecting:
    /// with the snapshot in the file `cache` if there is one, else without any. After each change the snapshot is written
    /// to that file. The database notifies of changes; it is also asked for them every `poll`, should a notification be
    /// missed.
    ///
    /// # Errors
    /// A URL that cannot be used; tables of a later version of this program; secrets sealed with other keys.
    pub async fn open(url: &str, keyring: Keyring, cache: PathBuf, poll: Duration) -> Result<Self, StoreOpenError> {
        let url = DatabaseUrl::parse(url)
            .map_err(|error| StoreOpenError::Unusable { place: "postgres:".to_owned(), reason: error.0 })?;
        if url.is_exposed {
            tracing::warn!(database = url.place, "store.unencrypted");
        }
        let (current, keyring) = (Arc::new(CurrentSnapshot::default()), Arc::new(keyring));
        let cache = SnapshotCache::new(cache, &url.place, keyring.clone());
        let database = PostgresDatabase { current: current.clone(), keyring, place: url.place.as_str().into() };
        let ((jobs, job_queue), (pulls, pull_queue)) = (mpsc::channel(JOBS), mpsc::unbounded_channel());
        let (sender, first_attempt) = oneshot::channel();
        let is_connected = Arc::new(AtomicBool::new(false));
        let [questions, upkeep, control_state] =
            [QUESTION, UPKEEP, QUESTION].map(|limits| SideSession::new(&url, BEGINNING, limits, &is_connected));
        let task = ConnectionTask {
            url,
            database,
            poll,
            jobs: job_queue,
            pulls: pull_queue,
            is_connected,
            first_attempt: Some(sender),
        };
        let connection = AbortOnDropHandle::new(tokio::spawn(task.run()));
        // The time limits of connecting bound this wait.
        connection_task::open_error(first_attempt.await.unwrap_or(Ok(())))?;
        if current.snapshot().is_none() {
            cache.recall(&current).await;
        }
        let snapshot_cache = AbortOnDropHandle::new(tokio::spawn(cache.keep(current.clone())));
        let (_connection, _snapshot_cache) = (connection, snapshot_cache);
        Ok(Self { current, jobs, pulls, questions, upkeep, control_state, _connection, _snapshot_cache })
    }

    /// Runs a job in the task that owns the connection. Once started it is finished, even if the caller stops waiting.
    async fn run<T: Send + 'static>(
        &self,
        work: impl for<'a> FnOnce(&'a PostgresDatabase, &'a PostgresSession) -> BoxFuture<'a, Result<T, PostgresFailure>>
        + Send
        + 'static,
    ) -> Result<T, PostgresFailure> {
        let (reply, result) = oneshot::channel();
        let job: DatabaseJob = Box::new(move |connected| {
            async move {
                let result = match connected {
                    Ok((database, session)) => work(database, session).await,
                    Err(away) => Err(PostgresFailure::Away(away)),
                };
                // The caller may have stopped waiting.
                let _ = reply.send(result);
            }
            .boxed()
        });
        let closed = || PostgresFailure::Away(StoreError("the store is closed".to_owned()));
        self.jobs.send(job).await.map_err(|_| closed())?;
        result.await.unwrap_or_else(|_| Err(closed()))
    }
}

impl Store for PostgresStore {
    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.current.snapshot()
    }

    fn revision(&self) -> watch::Receiver<u64> {
        self.current.revision()
    }

    fn sync_status(&self) -> SyncStatus {
        self.current.sync.sync_status()
    }

    fn pull(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async {
            let closed = || StoreError("the store is closed".to_owned());
            let (reply, pulled) = oneshot::channel();
            self.pulls.send(reply).map_err(|_| closed())?;
            pulled.await.unwrap_or_else(|_| Err(closed()))
        }
        .boxed()
    }

    fn edit(&self, edit: Edit) -> BoxFuture<'_, Result<Edited, EditError>> {
        async { Ok(self.run(|database, session| database.edit(session, edit).boxed()).await?) }.boxed()
    }

    fn reseal(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        async {
            let (mut resealed, mut after) = (0, Some(ItemKey::default()));
            while let Some(key) = after {
                let page = self.run(|database, session| async move { database.reseal(session, &key).await }.boxed());
                let (written, last) = page.await?;
                (resealed, after) = (resealed + written, last);
            }
            self.run(|database, session| database.reseal_proof(session).boxed()).await?;
            self.run(|database, session| database.delete_removed(session).boxed()).await?;
            Ok(resealed)
        }
        .boxed()
    }

    fn usage_and_audit(&self) -> Option<&dyn UsageAndAudit> {
        Some(self)
    }

    fn control_state(&self) -> Option<&dyn ControlState> {
        Some(self)
    }
}

impl ControlState for PostgresStore {
    fn insert_job(&self, job: Job, most: u32) -> BoxFuture<'_, Result<bool, StoreError>> {
        let insert = self
            .control_state
            .run(move |session| async move { control_state::insert(session, &job, most).await }.boxed());
        insert.boxed()
    }

    fn record_progress(&self, progress: Vec<JobProgress>) -> BoxFuture<'_, Result<(), StoreError>> {
        let record = self
            .control_state
            .run(move |session| async move { control_state::record_progress(session, &progress).await }.boxed());
        record.boxed()
    }

    fn end_job<'a>(&'a self, id: &'a str, state: JobState, at: u64) -> BoxFuture<'a, Result<bool, StoreError>> {
        let id = id.to_owned();
        let end = self
            .control_state
            .run(move |session| async move { control_state::end(session, &id, state, at).await }.boxed());
        end.boxed()
    }

    fn job<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Job>, StoreError>> {
        let id = id.to_owned();
        self.control_state.run(move |session| async move { control_state::one(session, &id).await }.boxed()).boxed()
    }

    fn jobs<'a>(&'a self, query: JobQuery<'a>) -> BoxFuture<'a, Result<Vec<Job>, StoreError>> {
        let JobQuery { kind, tenant, before, limit } = query;
        let (kind, before) = (kind.to_owned(), before.map(str::to_owned));
        let tenant = tenant.map(|(id, created)| (id.to_owned(), created));
        let newest = self.control_state.run(move |session| {
            async move {
                let tenant = tenant.as_ref().map(|(id, created)| (id.as_str(), *created));
                let query = JobQuery { kind: &kind, tenant, before: before.as_deref(), limit };
                control_state::newest(session, query).await
            }
            .boxed()
        });
        newest.boxed()
    }

    fn running_jobs(&self) -> BoxFuture<'_, Result<Vec<Job>, StoreError>> {
        self.control_state.run(|session| control_state::running(session).boxed()).boxed()
    }

    fn trim_jobs(&self, before: u64, most: u32) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.control_state.run(move |session| control_state::trim(session, before, most).boxed()).boxed()
    }

    fn acquire_lease<'a>(
        &'a self,
        name: &'a str,
        holder: &'a str,
        ttl: u64,
        now: u64,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let [name, holder] = [name, holder].map(str::to_owned);
        let acquire = self.control_state.run(move |session| {
            async move { control_state::acquire_lease(session, &name, &holder, ttl, now).await }.boxed()
        });
        acquire.boxed()
    }

    fn release_lease<'a>(&'a self, name: &'a str, holder: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        let [name, holder] = [name, holder].map(str::to_owned);
        let release = self
            .control_state
            .run(move |session| async move { control_state::release_lease(session, &name, &holder).await }.boxed());
        release.boxed()
    }
}

impl UsageAndAudit for PostgresStore {
    fn record_usage(&self, reports: Vec<UsageReport>) -> BoxFuture<'_, Result<u64, StoreError>> {
        let reports = newest(reports);
        async { self.upkeep.run(|session| async move { usage::record(session, &reports).await }.boxed()).await }.boxed()
    }

    fn usage<'a>(
        &'a self,
        tenant: &'a str,
        scope: UsageScope<'a>,
        from: &'a str,
        to: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Usage>, StoreError>> {
        let [tenant, from, to] = [tenant, from, to].map(str::to_owned);
        let (by_endpoint, endpoint) = match scope {
            UsageScope::Tenant => (false, None),
            UsageScope::Endpoints => (true, None),
            UsageScope::Endpoint(id) => (true, Some(id.to_owned())),
        };
        async move {
            let sums = self.questions.run(move |session| {
                async move { usage::sums(session, &tenant, by_endpoint, endpoint.as_deref(), [&from, &to]).await }
                    .boxed()
            });
            sums.await
        }
        .boxed()
    }

    fn audit<'a>(
        &'a self,
        tenant: Option<&'a str>,
        before: Option<u64>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<AuditEntry>, StoreError>> {
        let tenant = tenant.map(str::to_owned);
        async move {
            let entries = self.questions.run(move |session| {
                async move { rows::audit(session, tenant.as_deref(), before, limit).await }.boxed()
            });
            entries.await
        }
        .boxed()
    }

    fn add_audit(&self, entry: AuditEntry) -> BoxFuture<'_, Result<(), StoreError>> {
        let entries = [AuditEntry { id: 0, ..entry }];
        async { self.upkeep.run(|session| async move { rows::insert_audit(session, &entries).await }.boxed()).await }
            .boxed()
    }

    fn trim_audit(&self, before: u64) -> BoxFuture<'_, Result<u64, StoreError>> {
        async move {
            let mut trimmed = 0;
            loop {
                let before = rfc3339(before);
                let piece = self
                    .upkeep
                    .run(|session| async move { rows::trim_audit(session, &before, TRIMMED_AT_ONCE).await }.boxed());
                match piece.await? {
                    0 => return Ok(trimmed),
                    piece => trimmed += piece,
                }
            }
        }
        .boxed()
    }

    fn roll_up_usage<'a>(&'a self, before: &'a str) -> BoxFuture<'a, Result<u64, StoreError>> {
        async move {
            let day = before.to_owned();
            let days = self.upkeep.run(|session| async move { usage::not_rolled_up(session, &day).await }.boxed());
            let (days, mut rows) = (days.await?, 0);
            for days in days.chunks(ROLLED_UP_AT_ONCE) {
                let days = days.to_vec();
                let piece = self.upkeep.run(|session| async move { usage::roll_up(session, &days).await }.boxed());
                rows += piece.await?;
            }
            Ok(rows)
        }
        .boxed()
    }

    fn trim_usage<'a>(&'a self, before: &'a str) -> BoxFuture<'a, Result<u64, StoreError>> {
        async move {
            let mut trimmed = 0;
            loop {
                let day = before.to_owned();
                let piece = self.upkeep.run(|session| async move { usage::trim(session, &day).await }.boxed());
                match piece.await? {
                    0 => return Ok(trimmed),
                    piece => trimmed += piece,
                }
            }
        }
        .boxed()
    }
}
