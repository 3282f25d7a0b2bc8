//! The `postgres:` store: one database, any number of processes on any number of machines.
//!
//! One task speaks with the database, on one connection, over which it also hears of changes. Readers never come here:
//! they hold the snapshot, which stays when the database goes, and is on the disk for a process that starts meanwhile.

mod connection_task;
mod copy;
mod database;

mod keep_snapshot;
mod migrations;
mod rows;
mod session;
mod url;

mod usage;

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use schemas::time::rfc3339;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::AbortOnDropHandle;

use self::{
    connection_task::ConnectionTask, database::PostgresDatabase, session::PostgresFailure, session::PostgresSession,
    url::DatabaseUrl,
};
use crate::{
    AuditEntry, Edit, EditError, Edited, Keyring, Snapshot, Store, StoreError, StoreOpenError, SyncStatus, Usage,
    UsageAndAudit, UsageReport,
    current::CurrentSnapshot,
    usage_and_audit::{TRIMMED_AT_ONCE, newest},
};

pub(crate) use copy::{read, write};

/// Jobs that wait while one is done; more have to wait to be taken.
const JOBS: usize = 64;

/// A database of PostgreSQL as a store. Its drop ends the connection.
pub struct PostgresStore {
    current: Arc<CurrentSnapshot>,
    jobs: mpsc::Sender<connection_task::DatabaseJob>,
    pulls: mpsc::UnboundedSender<connection_task::PullReply>,
    _connection_task: AbortOnDropHandle<()>,
    _keep_snapshot: AbortOnDropHandle<()>,
}

impl PostgresStore {
    /// Connects to the database of this URL, makes or updates its tables, and loads everything. If it does not answer
    /// within a few seconds, the store is opened all the same: with the snapshot in the file `on_disk` if there is one,
    /// else without any; it is connected for ever after. After each change the snapshot is written to that file. The
    /// database notifies of changes; it is also asked for them every `poll`, should a notification be missed.
    ///
    /// # Errors
    /// A URL that cannot be used; tables of a later version of this program; secrets sealed with other keys.
    pub async fn open(url: &str, keyring: Keyring, on_disk: PathBuf, poll: Duration) -> Result<Self, StoreOpenError> {
        let address = DatabaseUrl::parse(url)?;
        let database = PostgresDatabase {
            current: Arc::new(CurrentSnapshot::default()),
            keyring: Arc::new(keyring),
            place: address.place.as_str().into(),
        };
        let ((jobs, inbox), (pulls, pullers)) = (mpsc::channel(JOBS), mpsc::unbounded_channel());
        let (first, heard) = oneshot::channel();
        let desk = ConnectionTask {
            address,
            database: database.clone(),
            poll,
            jobs: inbox,
            pulls: pullers,
            first: Some(first),
        };
        let desk = AbortOnDropHandle::new(tokio::spawn(desk.run()));
        // Bounded by the desk's own limits.
        connection_task::defect(heard.await.unwrap_or(Ok(())))?;
        if database.current.snapshot().is_none() {
            keep_snapshot::recall(&database, &on_disk).await;
        }
        let keeping = AbortOnDropHandle::new(tokio::spawn(keep_snapshot::keep(database.clone(), on_disk)));
        Ok(Self { current: database.current, jobs, pulls, _connection_task: desk, _keep_snapshot: keeping })
    }

    /// Has something done by the task that owns the connection. Once begun it is done, whoever stops waiting.
    async fn run<T: Send + 'static>(
        &self,
        question: impl for<'a> FnOnce(
            &'a PostgresDatabase,
            &'a PostgresSession,
        ) -> BoxFuture<'a, Result<T, PostgresFailure>>
        + Send
        + 'static,
    ) -> Result<T, PostgresFailure> {
        let (reply, answer) = oneshot::channel();
        let job: connection_task::DatabaseJob = Box::new(move |session| {
            async move {
                let answer = match session {
                    Ok((database, session)) => question(database, session).await,
                    Err(away) => Err(PostgresFailure::Away(away)),
                };
                // Whoever stopped waiting need not hear it.
                let _ = reply.send(answer);
            }
            .boxed()
        });
        let closed = || PostgresFailure::Away(StoreError("the store is closed".to_owned()));
        self.jobs.send(job).await.map_err(|_| closed())?;
        answer.await.unwrap_or_else(|_| Err(closed()))
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
            let (puller, pulled) = oneshot::channel();
            self.pulls.send(puller).map_err(|_| closed())?;
            pulled.await.unwrap_or_else(|_| Err(closed()))
        }
        .boxed()
    }

    fn edit(&self, edit: Edit) -> BoxFuture<'_, Result<Edited, EditError>> {
        async { Ok(self.run(|database, session| database.edit(session, edit).boxed()).await?) }.boxed()
    }

    fn reseal(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        async {
            let (mut resealed, mut after) = (0, Some(database::ItemKey::default()));
            while let Some(place) = after {
                let page = self.run(|database, session| async move { database.reseal(session, &place).await }.boxed());
                let (written, last) = page.await?;
                (resealed, after) = (resealed + written, last);
            }
            self.run(|database, session| database.reseal_proof(session).boxed()).await?;
            self.run(|database, session| database.tidy(session).boxed()).await?;
            Ok(resealed)
        }
        .boxed()
    }

    fn usage_and_audit(&self) -> Option<&dyn UsageAndAudit> {
        Some(self)
    }
}

impl UsageAndAudit for PostgresStore {
    fn record_usage(&self, reports: Vec<UsageReport>) -> BoxFuture<'_, Result<(), StoreError>> {
        let reports = newest(reports);
        let record = self.run(|_, session| async move { Ok(usage::record(session, &reports).await?) }.boxed());
        async { Ok(record.await?) }.boxed()
    }

    fn usage<'a>(
        &'a self,
        tenant: &'a str,
        from: &'a str,
        to: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Usage>, StoreError>> {
        let [tenant, from, to] = [tenant, from, to].map(str::to_owned);
        let sums = self.run(|_, session| async move { Ok(usage::sums(session, &tenant, &from, &to).await?) }.boxed());
        async { Ok(sums.await?) }.boxed()
    }

    fn audit<'a>(
        &'a self,
        tenant: Option<&'a str>,
        before: Option<u64>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<AuditEntry>, StoreError>> {
        let tenant = tenant.map(str::to_owned);
        let entries = self.run(move |_, session| {
            async move { Ok(rows::entries(session, tenant.as_deref(), before, limit).await?) }.boxed()
        });
        async { Ok(entries.await?) }.boxed()
    }

    fn trim_audit(&self, before: u64) -> BoxFuture<'_, Result<u64, StoreError>> {
        async move {
            let mut trimmed = 0;
            loop {
                let before = rfc3339(before);
                let piece = self
                    .run(|_, session| async move { Ok(rows::trim(session, &before, TRIMMED_AT_ONCE).await?) }.boxed());
                match piece.await? {
                    0 => return Ok(trimmed),
                    piece => trimmed += piece,
                }
            }
        }
        .boxed()
    }
}
