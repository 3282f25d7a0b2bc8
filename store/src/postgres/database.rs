//! What is done on a session: bringing the snapshot up to date, editing, encrypting anew. Nothing here waits for anything
//! but the database.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::{
    migrations,
    rows::{self, MetaItemRow},
    session::PostgresFailure,
    session::PostgresSession,
};
use crate::{
    AuditEntry, Edit, Edited, ItemChange, Keyring, Snapshot, StoreError, StoreOpenError, audit::AuditStamp,
    current::CurrentSnapshot, edit::against, proof, row::ItemRow,
};

/// Rows encrypted anew before it is somebody else's turn.
const RESEALED_AT_ONCE: i64 = 500;

/// So many rows of what is gone make a full load cheaper than keeping them.
const GONE_KEPT: u64 = 20_000;

/// A row's tenant, kind and id.
pub(super) type ItemKey = (String, String, String);

/// The snapshot, the keys, and how the database is called.
#[derive(Clone)]
pub(super) struct PostgresDatabase {
    pub(super) current: Arc<CurrentSnapshot>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) place: Arc<str>,
}

impl PostgresDatabase {
    /// A session's first: tables and keys as they must be, and everything read.
    pub(super) async fn begin(&self, session: &PostgresSession) -> Result<(), PostgresFailure> {
        migrations::apply(session, &self.place).await?;
        let mut meta = self.known(rows::meta(session, false).await?)?;
        if meta.proof.is_none() {
            rows::set_proof(session, None, &proof::make(&self.keyring)?).await?;
            // It may be that of another process, which began at the same time, with another key.
            meta = rows::meta(session, false).await?;
        }
        let checked = proof::check(&self.keyring, meta.proof.as_deref().unwrap_or_default());
        checked.map_err(|reason| StoreOpenError::Key { place: self.place.to_string(), reason })?;
        // Everything, whatever is known: a snapshot may be that of another day, before the database was restored.
        self.load(session, &meta, true).await.map(drop)
    }

    /// Brings the snapshot up to date.
    pub(super) async fn pull(&self, session: &PostgresSession) -> Result<Arc<Snapshot>, PostgresFailure> {
        let meta = self.known(rows::meta(session, false).await?)?;
        self.catch_up(session, &meta).await
    }

    async fn catch_up(&self, session: &PostgresSession, meta: &MetaItemRow) -> Result<Arc<Snapshot>, PostgresFailure> {
        let known = self.current.snapshot().unwrap_or_default();
        if known.revision() == meta.revision {
            return Ok(known);
        }
        // The database may have been restored, or have forgotten what went since.
        let anew = meta.revision < known.revision() || known.revision() < meta.forgotten;
        self.load(session, meta, anew).await
    }

    async fn load(
        &self,
        session: &PostgresSession,
        meta: &MetaItemRow,
        anew: bool,
    ) -> Result<Arc<Snapshot>, PostgresFailure> {
        let known = self.current.snapshot().unwrap_or_default();
        let read = if anew { rows::all(session).await? } else { rows::since(session, known.revision()).await? };
        // What was committed after `meta` was read is all there, since one statement sees all of a commit.
        let revision = read.iter().map(|row| row.version).fold(meta.revision, u64::max);
        let database = self.clone();
        let snapshot = off_the_runtime(move || {
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

    /// Carries an edit out, while nobody else can.
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
        let meta = self.known(rows::meta(session, true).await?)?;
        let snapshot = self.catch_up(session, &meta).await?;
        let Edit { selection, author, at, dry_run, decision } = edit;
        let old = snapshot.clone();
        let changes = off_the_runtime(move || against(&old, &selection, at, decision)).await??;
        let revision = snapshot.revision();
        if changes.is_empty() || dry_run {
            return Ok((None, Edited { revision, changes }));
        }
        let (database, revision) = (self.clone(), revision + 1);
        let written = off_the_runtime(move || {
            let (rows, entries) = database.written(revision, &changes, &AuditStamp { author, at })?;
            Ok::<_, StoreError>((rows, entries, snapshot.with(revision, &changes), changes))
        });
        let (rows, entries, snapshot, changes) = written.await??;
        rows::put(session, &rows).await?;
        rows::note(session, &entries).await?;
        rows::set_revision(session, revision).await?;
        Ok((Some(snapshot), Edited { revision, changes }))
    }

    fn written(
        &self,
        revision: u64,
        changes: &[ItemChange],
        signed: &AuditStamp,
    ) -> Result<(Vec<ItemRow>, Vec<AuditEntry>), StoreError> {
        let rows =
            changes.iter().map(|change| ItemRow::of(change, revision, &self.keyring)).collect::<Result<_, _>>()?;
        Ok((rows, changes.iter().map(|change| signed.entry(0, revision, change)).collect()))
    }

    /// Writes anew what another key than the first has sealed, some rows after one; says how many, and the last. Each row
    /// only if it is still as it was read: nobody waits for it.
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

    /// Last of all: as long as the old key opens the proof, it is known to be needed.
    pub(super) async fn reseal_proof(&self, session: &PostgresSession) -> Result<(), PostgresFailure> {
        let old = rows::meta(session, false).await?.proof;
        if old.as_deref().is_some_and(|sealed| !self.keyring.is_current(sealed)) {
            rows::set_proof(session, old.as_deref(), &proof::make(&self.keyring)?).await?;
        }
        Ok(())
    }

    /// Lets go of the rows of what is gone, once they are many.
    pub(super) async fn tidy(&self, session: &PostgresSession) -> Result<(), PostgresFailure> {
        if rows::gone(session).await? <= GONE_KEPT {
            return Ok(());
        }
        session.begin().await?;
        let forgotten = async {
            rows::meta(session, true).await?;
            rows::forget(session).await
        };
        let forgotten = forgotten.await;
        Ok(session.end(forgotten).await?)
    }

    /// A newer version of this program may change the tables while this process runs.
    fn known(&self, meta: MetaItemRow) -> Result<MetaItemRow, PostgresFailure> {
        if meta.format <= migrations::FORMAT {
            return Ok(meta);
        }
        let place = self.place.to_string();
        Err(StoreOpenError::Newer { place, found: meta.format, known: migrations::FORMAT }.into())
    }
}

/// Ten thousand tenants take a while to be read or compared.
async fn off_the_runtime<T: Send + 'static>(database: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    spawn_blocking(database).await.map_err(|error| StoreError(error.to_string()))
}
