//! What control keeps besides the configuration, in tables of the settings file of a `sqlite:` store, or in a file of its
//! own beside a `file:` store.

mod jobs;
mod leases;

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{FutureExt as _, future::BoxFuture};
use rusqlite::{Connection, TransactionBehavior::Immediate};
use service::sqlite_file;

use super::{
    migrations::CONTROL_FILE,
    open::{self, OpenDatabase, open, unusable},
};
use crate::{ControlState, Job, JobProgress, JobQuery, JobState, StoreError, StoreOpenError};

/// The tables in an open file. Clones are the same.
#[derive(Clone, Debug)]
pub struct SqliteControlState(Arc<Mutex<OpenDatabase>>);

impl SqliteControlState {
    /// Opens the file at `path` beside a `file:` store, or creates it with mode 0600, for this process alone.
    ///
    /// # Errors
    /// [`StoreOpenError::Held`] when another process has it, [`StoreOpenError::Newer`] when a later version of this
    /// program wrote it, otherwise the error of the file system or of SQLite.
    pub async fn open(path: &Path) -> Result<Self, StoreOpenError> {
        Self::open_with(path, |path| {
            let opened = open(path, open::lock(path)?, &CONTROL_FILE)?;
            end_leases(&opened.connection).map_err(|error| unusable(path, &error))?;
            Ok(opened)
        })
        .await
    }

    /// Like [`open`](Self::open), but other processes of this machine may open it in this way, too.
    ///
    /// # Errors
    /// As with [`open`](Self::open).
    pub async fn open_shared(path: &Path) -> Result<Self, StoreOpenError> {
        Self::open_with(path, |path| open(path, open::lock_shared(path)?, &CONTROL_FILE)).await
    }

    async fn open_with(
        path: &Path,
        open: fn(&Path) -> Result<OpenDatabase, StoreOpenError>,
    ) -> Result<Self, StoreOpenError> {
        let owned = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || open(&owned)).await;
        let database = opened.map_err(|error| unusable(path, &error))??;
        Ok(Self(Arc::new(Mutex::new(database))))
    }

    /// The tables in the file of a store, which locks it during its own transactions.
    pub(super) fn within(file: Arc<Mutex<OpenDatabase>>) -> Self {
        Self(file)
    }

    /// Runs work in one transaction on a thread that may block. Once started it is finished, even if the caller stops
    /// waiting.
    fn transaction<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        self.blocking(move |connection| {
            let transaction = connection.transaction_with_behavior(Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })
    }

    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let state = self.clone();
        async move {
            let done = tokio::task::spawn_blocking(move || work(&mut state.file().connection)).await;
            done.map_err(|error| StoreError(error.to_string()))?.map_err(|error| StoreError(error.to_string()))
        }
        .boxed()
    }

    /// Ignores poisoning: the transaction of work that panicked was rolled back.
    fn file(&self) -> MutexGuard<'_, OpenDatabase> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends all leases in a file that no other process has open: their holders have died.
pub(super) fn end_leases(connection: &Connection) -> rusqlite::Result<()> {
    leases::end_all(connection)
}

impl ControlState for SqliteControlState {
    fn insert_job(&self, job: Job, most: u32) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.transaction(move |connection| jobs::insert(connection, &job, most))
    }

    fn record_progress(&self, progress: Vec<JobProgress>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.transaction(move |connection| jobs::record_progress(connection, &progress))
    }

    fn end_job<'a>(&'a self, id: &'a str, state: JobState, at: u64) -> BoxFuture<'a, Result<bool, StoreError>> {
        let id = id.to_owned();
        self.transaction(move |connection| jobs::end(connection, &id, state, at))
    }

    fn job<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Job>, StoreError>> {
        let id = id.to_owned();
        self.blocking(move |connection| jobs::one(connection, &id))
    }

    fn jobs<'a>(&'a self, query: JobQuery<'a>) -> BoxFuture<'a, Result<Vec<Job>, StoreError>> {
        let JobQuery { kind, tenant, before, limit } = query;
        let (kind, before) = (kind.to_owned(), before.map(str::to_owned));
        let tenant = tenant.map(|(id, created)| (id.to_owned(), created));
        self.blocking(move |connection| {
            let tenant = tenant.as_ref().map(|(id, created)| (id.as_str(), *created));
            jobs::newest(connection, JobQuery { kind: &kind, tenant, before: before.as_deref(), limit })
        })
    }

    fn running_jobs(&self) -> BoxFuture<'_, Result<Vec<Job>, StoreError>> {
        self.blocking(|connection| jobs::running(connection))
    }

    fn trim_jobs(&self, before: u64, most: u32) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.transaction(move |connection| jobs::trim(connection, before, most))
    }

    fn acquire_lease<'a>(
        &'a self,
        name: &'a str,
        holder: &'a str,
        ttl: u64,
        now: u64,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let [name, holder] = [name, holder].map(str::to_owned);
        self.transaction(move |connection| leases::acquire(connection, &name, &holder, ttl, now))
    }

    fn release_lease<'a>(&'a self, name: &'a str, holder: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        let [name, holder] = [name, holder].map(str::to_owned);
        self.transaction(move |connection| leases::release(connection, &name, &holder))
    }
}

/// Copies the file beside a `file:` store at `from` into a new file at `to` with mode 0600, all or nothing, also while
/// processes use it.
///
/// # Errors
/// `to` exists, a file cannot be read or written, or a later version of this program wrote `from`.
pub fn back_up_control_state(from: &Path, to: &Path) -> Result<(), StoreError> {
    let failed = |path: &Path, error: &dyn std::fmt::Display| StoreError(format!("{}: {error}", path.display()));
    let source = sqlite_file::open_read_only(from).map_err(|error| failed(from, &error))?;
    let found = sqlite_file::format(&source).map_err(|error| failed(from, &error))?;
    CONTROL_FILE.refuse_newer(found, from).map_err(|error| StoreError(error.to_string()))?;
    sqlite_file::copy(&source, to).map_err(|error| failed(to, &error))
}
