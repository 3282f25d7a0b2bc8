//! Work on a session: updating the snapshot, editing, encrypting again. It waits for nothing but the database.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::{failure::PostgresFailure, migrations, rows};
use crate::{
    AuditEntry, Edit, Edited, ItemChange, Keyring, Snapshot, StoreError, StoreOpenError, dump::StoreMeta,
    edit::decide_on, row::ItemRow, snapshot::current::CurrentSnapshot, usage_and_audit::AuditStamp,
};
use service::postgres::PostgresSession;

/// Largest number of rows that are encrypted again at once, so that other work does not wait long.
const RESEALED_AT_ONCE: i64 = 500;

/// Most rows of removed items that are kept. Beyond it, a full load costs less than keeping them.
const REMOVED_ROWS_KEPT: u64 = 20_000;

pub(super) type ItemKey = (String, String, String);

/// The snapshot of a database, its keys, and its name in messages.
#[derive(Clone)]
pub(super) struct PostgresDatabase {
    pub(super) current: Arc<CurrentSnapshot>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) place: Arc<str>,
}

impl PostgresDatabase {
    /// Prepares a new session: updates the tables, checks the keys, and reads everything.
    pub(super) async fn begin(&self, session: &PostgresSession) -> Result<(), PostgresFailure> {
        migrations::apply(session, &self.place).await?;
        let mut meta = self.meta(session, false).await?;
        if meta.proof.is_none() {
            rows::set_proof(session, None, &self.keyring.seal_proof()?).await?;
            // Another process may have set its proof at the same time, with another key. The stored proof counts.
            meta = self.meta(session, false).await?;
        }
        let checked = self.keyring.check_proof(meta.proof.as_deref().unwrap_or_default());
        checked.map_err(|reason| StoreOpenError::Key { place: self.place.to_string(), reason: reason.to_string() })?;
        // Everything is loaded, because the database may have been restored to an earlier state.
        self.load(session, &meta, true).await.map(drop)
    }

    /// Brings the snapshot up to date.
    pub(super) async fn pull(&self, session: &PostgresSession) -> Result<Arc<Snapshot>, PostgresFailure> {
        let meta = self.meta(session, false).await?;
        self.catch_up(session, &meta).await
    }

    /// Reads `meta`, and locks it if `locked`. Checks the format, because a newer version of this program may change
    /// the tables while this process runs.
    async fn meta(&self, session: &PostgresSession, locked: bool) -> Result<StoreMeta, PostgresFailure> {
        let (found, meta) = rows::meta(session, locked).await?;
        if found <= migrations::FORMAT {
            return Ok(meta);
        }
        Err(StoreOpenError::Newer { place: self.place.to_string(), found, known: migrations::FORMAT }.into())
    }

    async fn catch_up(&self, session: &PostgresSession, meta: &StoreMeta) -> Result<Arc<Snapshot>, PostgresFailure> {
        let known = self.current.snapshot().unwrap_or_default();
        if known.revision() == meta.revision {
            return Ok(known);
        }
        // Everything is loaded when the database was restored to an earlier state, or when rows of items that were
        // removed since then may be deleted.
        let anew = meta.revision < known.revision() || known.revision() < meta.forgotten;
        self.load(session, meta, anew).await
    }

    async fn load(
        &self,
        session: &PostgresSession,
        meta: &StoreMeta,
        anew: bool,
    ) -> Result<Arc<Snapshot>, PostgresFailure> {
        let known = self.current.snapshot().unwrap_or_default();
        let read = if anew { rows::all(session).await? } else { rows::since(session, known.revision()).await? };
        // One statement sees all of a commit, so a commit that was made after `meta` was read is complete here.
        let revision = read.iter().map(|row| row.version).fold(meta.revision, u64::max);
        let database = self.clone();
        let snapshot = blocking(move || {
            let read = read.into_iter().map(|row| row.read(&database.keyring)).collect::<Result<Vec<_>, _>>();
            let read = read.map_err(|error| PostgresFailure::of_row(&error, &database.place))?;
            Ok::<_, PostgresFailure>(if anew {
                known.replaced(revision, read)
            } else {
                known.caught_up(revision, read)
            })
        });
        let snapshot = Arc::new(snapshot.await??);
        tracing::debug!(revision, tenants = snapshot.tenants().count(), "store.pulled");
        self.current.replace(snapshot.clone());
        Ok(snapshot)
    }

    /// Carries an edit out in one transaction. The lock on `meta` keeps other writers out.
    pub(super) async fn edit(&self, session: &PostgresSession, edit: Edit) -> Result<Edited, PostgresFailure> {
        session.begin().await?;
        let done = self.edit_within(session, edit).await;
        let (snapshot, edited) = session.end(done).await?;
        if let Some(snapshot) = snapshot {
            self.current.replace(Arc::new(snapshot));
        }
        Ok(edited)
    }

    async fn edit_within(
        &self,
        session: &PostgresSession,
        edit: Edit,
    ) -> Result<(Option<Snapshot>, Edited), PostgresFailure> {
        let meta = self.meta(session, true).await?;
        let snapshot = self.catch_up(session, &meta).await?;
        let Edit { selection, author, at, dry_run, decision } = edit;
        let old = snapshot.clone();
        let changes = blocking(move || decide_on(&old, &selection, at, decision)).await??;
        let revision = snapshot.revision();
        if changes.is_empty() || dry_run {
            return Ok((None, Edited { revision, changes }));
        }
        let (database, revision) = (self.clone(), revision + 1);
        let written = blocking(move || {
            let (rows, entries) = database.rows_of(revision, &changes, &AuditStamp { author, at })?;
            Ok::<_, StoreError>((rows, entries, snapshot.with(revision, &changes), changes))
        });
        let (rows, entries, snapshot, changes) = written.await??;
        rows::put(session, &rows).await?;
        rows::insert_audit(session, &entries).await?;
        rows::set_revision(session, revision).await?;
        Ok((Some(snapshot), Edited { revision, changes }))
    }

    fn rows_of(
        &self,
        revision: u64,
        changes: &[ItemChange],
        stamp: &AuditStamp,
    ) -> Result<(Vec<ItemRow>, Vec<AuditEntry>), StoreError> {
        let rows =
            changes.iter().map(|change| ItemRow::of(change, revision, &self.keyring)).collect::<Result<_, _>>()?;
        Ok((rows, changes.iter().map(|change| stamp.entry(0, revision, change)).collect()))
    }

    /// Encrypts again one page of rows after a key that another key than the first has sealed. Returns how many rows
    /// were written, and the last row's key. A row is written only if it has not changed since it was read, so that
    /// nothing is locked.
    pub(super) async fn reseal(
        &self,
        session: &PostgresSession,
        after: &ItemKey,
    ) -> Result<(u64, Option<ItemKey>), PostgresFailure> {
        let (tenant, kind, id) = after;
        let page = rows::sealed(session, (tenant, kind, id), RESEALED_AT_ONCE).await?;
        let last = page.last().map(|row| (row.tenant.clone(), row.kind.clone(), row.id.clone()));
        let mut resealed = Vec::new();
        for row in page {
            let was = row.sealed.clone().unwrap_or_default();
            resealed.extend(row.resealed(&self.keyring)?.map(|row| (was, row)));
        }
        let written = if resealed.is_empty() { 0 } else { rows::reseal(session, &resealed).await? };
        Ok((written, last))
    }

    /// Encrypts the proof again, last of all: while only the old key opens the proof, that key is known to be needed.
    pub(super) async fn reseal_proof(&self, session: &PostgresSession) -> Result<(), PostgresFailure> {
        let (_, StoreMeta { proof: old, .. }) = rows::meta(session, false).await?;
        if old.as_deref().is_some_and(|sealed| !self.keyring.is_current(sealed)) {
            rows::set_proof(session, old.as_deref(), &self.keyring.seal_proof()?).await?;
        }
        Ok(())
    }

    /// Deletes the rows of removed items once there are many.
    pub(super) async fn delete_removed(&self, session: &PostgresSession) -> Result<(), PostgresFailure> {
        if rows::count_removed(session).await? <= REMOVED_ROWS_KEPT {
            return Ok(());
        }
        session.begin().await?;
        let deleted = async {
            rows::meta(session, true).await?;
            rows::delete_removed(session).await
        };
        let deleted = deleted.await;
        Ok(session.end(deleted).await?)
    }
}

/// Runs work that takes long for ten thousand tenants on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    spawn_blocking(work).await.map_err(|error| StoreError(error.to_string()))
}
