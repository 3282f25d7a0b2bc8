//! The `sqlite:` store: one file, one machine, one process. It is the default of `standalone`.
//!
//! Blocking work runs on threads that may block. Readers hold the snapshot and never access the file.

mod control_state;
mod copy;
mod database;
mod migrations;
mod open;
mod rows;
mod usage;

use std::{path::Path, sync::Arc};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::sync::watch;

use self::database::SqliteDatabase;
use crate::{
    AuditEntry, ControlState, Edit, EditError, Edited, KeyFile, Keyring, Snapshot, Store, StoreError, StoreOpenError,
    Usage, UsageAndAudit, UsageReport, UsageScope,
};

pub use control_state::{SqliteControlState, back_up_control_state};
pub use copy::back_up;
pub(crate) use copy::{read, write};
pub use open::lock;

/// A SQLite file as a store. Clones are the same store. The drop of the last clone lets the next process open the file.
#[derive(Clone, Debug)]
pub struct SqliteStore(Arc<SqliteDatabase>);

impl SqliteStore {
    /// Opens the file at `path`, or creates it with mode 0600. Holds a lock on the file of the same name with `.lock`
    /// at its end. Reads secrets that older keys of the ring have sealed; [`Store::reseal`] encrypts them again.
    ///
    /// # Errors
    /// [`StoreOpenError::Held`] when another process has it, [`StoreOpenError::Newer`] when a later version of this
    /// program wrote it, [`StoreOpenError::Key`] when other keys sealed it, otherwise the error of the file system or
    /// of SQLite.
    pub async fn open(path: &Path, keyring: Keyring) -> Result<Self, StoreOpenError> {
        let owned = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || SqliteDatabase::open(&owned, keyring)).await;
        let database = opened.map_err(|error| open::unusable(path, &error))??;
        Ok(Self(Arc::new(database)))
    }

    /// Adds a new key to a key file, encrypts everything again with it, and removes the other keys from the file. Edits
    /// continue meanwhile. At every moment, the file has every key that something is sealed with.
    ///
    /// # Errors
    /// Something cannot be read or written. The call can be repeated.
    pub async fn rotate(&self, key_file: &Path) -> Result<u64, StoreError> {
        let path = key_file.to_owned();
        self.blocking(move |database| {
            let failed = |error: &dyn std::fmt::Display| StoreError(format!("{}: {error}", path.display()));
            let mut file = KeyFile::read(&path).map_err(|error| failed(&error))?;
            file.add().map_err(|error| failed(&error))?;
            let (newest, older) = file.keys().split_first().ok_or_else(|| failed(&"has no key"))?;
            database.set_keyring(Keyring::new(newest, older).map_err(|error| failed(&error))?);
            let resealed = database.reseal()?;
            file.keep_newest().map_err(|error| failed(&error))?;
            Ok(resealed)
        })
        .await
    }

    /// Runs work on a thread that may block. Once started it is finished, even if the caller stops waiting.
    async fn blocking<T: Send + 'static, E: From<StoreError> + Send + 'static>(
        &self,
        work: impl FnOnce(&SqliteDatabase) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let database = self.0.clone();
        let done = tokio::task::spawn_blocking(move || work(&database)).await;
        done.unwrap_or_else(|error| Err(StoreError(error.to_string()).into()))
    }
}

impl Store for SqliteStore {
    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.0.snapshot()
    }

    fn revision(&self) -> watch::Receiver<u64> {
        self.0.revision()
    }

    /// No other process writes the file, so the snapshot is always up to date.
    fn pull(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        std::future::ready(Ok(())).boxed()
    }

    fn edit(&self, edit: Edit) -> BoxFuture<'_, Result<Edited, EditError>> {
        self.blocking(move |database| database.edit(edit)).boxed()
    }

    fn reseal(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.blocking(SqliteDatabase::reseal).boxed()
    }

    fn usage_and_audit(&self) -> Option<&dyn UsageAndAudit> {
        Some(self)
    }

    fn control_state(&self) -> Option<&dyn ControlState> {
        Some(self.0.control_state())
    }
}

impl UsageAndAudit for SqliteStore {
    fn record_usage(&self, reports: Vec<UsageReport>) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.blocking(move |database| database.record_usage(&reports)).boxed()
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
        self.blocking(move |database| database.usage(&tenant, by_endpoint, endpoint.as_deref(), [&from, &to])).boxed()
    }

    fn audit<'a>(
        &'a self,
        tenant: Option<&'a str>,
        before: Option<u64>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<AuditEntry>, StoreError>> {
        let tenant = tenant.map(str::to_owned);
        self.blocking(move |database| database.audit(tenant.as_deref(), before, limit)).boxed()
    }

    fn add_audit(&self, entry: AuditEntry) -> BoxFuture<'_, Result<(), StoreError>> {
        self.blocking(move |database| database.add_audit(&AuditEntry { id: 0, ..entry })).boxed()
    }

    fn trim_audit(&self, before: u64) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.blocking(move |database| database.trim_audit(before)).boxed()
    }

    fn roll_up_usage<'a>(&'a self, before: &'a str) -> BoxFuture<'a, Result<u64, StoreError>> {
        let before = before.to_owned();
        self.blocking(move |database| database.roll_up_usage(&before)).boxed()
    }

    fn trim_usage<'a>(&'a self, before: &'a str) -> BoxFuture<'a, Result<u64, StoreError>> {
        let before = before.to_owned();
        self.blocking(move |database| database.trim_usage(&before)).boxed()
    }
}

#[cfg(test)]
mod tests;
