//! The open file and its snapshot. Operations run one at a time and block.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use rusqlite::{Connection, Transaction, TransactionBehavior::Immediate};
use schemas::time::rfc3339;
use tokio::sync::watch;

use super::{
    control_state::{SqliteControlState, end_leases},
    migrations::SETTINGS_FILE,
    open::{OpenDatabase, lock, open, unusable},
    rows, usage,
};
use crate::{
    AuditEntry, Edit, EditError, Edited, ItemChange, Keyring, Snapshot, StoreError, StoreOpenError, Usage, UsageReport,
    edit::decide_on,
    row::{ItemRow, RowError},
    snapshot::{StoredItem, current::CurrentSnapshot},
    usage_and_audit::{AuditStamp, ROLLED_UP_AT_ONCE, TRIMMED_AT_ONCE},
};

/// Largest number of rows that are encrypted again in one transaction, so that an edit does not wait long.
const RESEALED_AT_ONCE: u32 = 500;

#[derive(Debug)]
pub(super) struct SqliteDatabase {
    /// Locked during a transaction. The snapshot is replaced only under this lock.
    file: Arc<Mutex<OpenDatabase>>,
    /// The tables of control in the same file.
    control_state: SqliteControlState,
    current: CurrentSnapshot,
    keyring: ArcSwap<Keyring>,
}

impl SqliteDatabase {
    pub(super) fn open(path: &Path, keyring: Keyring) -> Result<Self, StoreOpenError> {
        let mut opened = open(path, lock(path)?, &SETTINGS_FILE)?;
        end_leases(&opened.connection).map_err(|error| unusable(path, &error))?;
        let snapshot = first_snapshot(&mut opened.connection, path, &keyring)?;
        let (file, keyring) = (Arc::new(Mutex::new(opened)), ArcSwap::from_pointee(keyring));
        let control_state = SqliteControlState::within(file.clone());
        let database = Self { file, control_state, current: CurrentSnapshot::default(), keyring };
        tracing::info!(revision = snapshot.revision(), tenants = snapshot.tenants().count(), "store.loaded");
        database.current.replace(Arc::new(snapshot));
        Ok(database)
    }

    pub(super) fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.current.snapshot()
    }

    pub(super) fn revision(&self) -> watch::Receiver<u64> {
        self.current.revision()
    }

    pub(super) fn control_state(&self) -> &SqliteControlState {
        &self.control_state
    }

    pub(super) fn set_keyring(&self, keyring: Keyring) {
        self.keyring.store(Arc::new(keyring));
    }

    pub(super) fn edit(&self, edit: Edit) -> Result<Edited, EditError> {
        let mut file = self.file();
        let transaction = file.connection.transaction_with_behavior(Immediate).map_err(away)?;
        let snapshot = self.catch_up(&transaction)?;
        let Edit { selection, author, at, dry_run, decision } = edit;
        let changes = decide_on(&snapshot, &selection, at, decision)?;
        if changes.is_empty() || dry_run {
            return Ok(Edited { revision: snapshot.revision(), changes });
        }
        let revision = snapshot.revision() + 1;
        self.write(&transaction, revision, &changes, &AuditStamp { author, at })?;
        transaction.commit().map_err(away)?;
        self.current.replace(Arc::new(snapshot.with(revision, &changes)));
        Ok(Edited { revision, changes })
    }

    /// Returns the snapshot of the file's content. The two differ only after a commit that was reported as failed and
    /// was made nevertheless.
    fn catch_up(&self, transaction: &Transaction<'_>) -> Result<Arc<Snapshot>, StoreError> {
        let revision = rows::meta(transaction).map_err(away)?.revision;
        let known = self.current.snapshot().unwrap_or_default();
        if known.revision() == revision {
            return Ok(known);
        }
        let read = read(transaction, known.revision(), &self.keyring.load()).map_err(away)?;
        let snapshot = Arc::new(known.caught_up(revision, read));
        self.current.replace(snapshot.clone());
        Ok(snapshot)
    }

    fn write(
        &self,
        transaction: &Transaction<'_>,
        revision: u64,
        changes: &[ItemChange],
        stamp: &AuditStamp,
    ) -> Result<(), StoreError> {
        let keyring = self.keyring.load();
        for change in changes {
            rows::put(transaction, &ItemRow::of(change, revision, &keyring)?).map_err(away)?;
            rows::insert_audit(transaction, &stamp.entry(0, revision, change)).map_err(away)?;
        }
        rows::set_revision(transaction, revision).map_err(away)
    }

    pub(super) fn reseal(&self) -> Result<u64, StoreError> {
        let mut resealed = 0;
        let mut after = Some((String::new(), String::new(), String::new()));
        while let Some((tenant, kind, id)) = after {
            let mut file = self.file();
            let transaction = file.connection.transaction_with_behavior(Immediate).map_err(away)?;
            let keyring = self.keyring.load();
            let page = rows::sealed(&transaction, (&tenant, &kind, &id), RESEALED_AT_ONCE).map_err(away)?;
            after = page.last().map(|row| (row.tenant.clone(), row.kind.clone(), row.id.clone()));
            for row in page {
                if let Some(row) = row.resealed(&keyring)? {
                    rows::put(&transaction, &row).map_err(away)?;
                    resealed += 1;
                }
            }
            if after.is_none() {
                // The proof comes last: while only the old key opens the proof, that key is known to be needed.
                rows::set_proof(&transaction, &keyring.seal_proof()?).map_err(away)?;
            }
            transaction.commit().map_err(away)?;
        }
        Ok(resealed)
    }

    pub(super) fn record_usage(&self, reports: &[UsageReport]) -> Result<u64, StoreError> {
        let mut file = self.file();
        let transaction = file.connection.transaction_with_behavior(Immediate).map_err(away)?;
        let late = usage::record(&transaction, reports).map_err(away)?;
        transaction.commit().map_err(away)?;
        Ok(late)
    }

    pub(super) fn usage(
        &self,
        tenant: &str,
        by_endpoint: bool,
        endpoint: Option<&str>,
        days: [&str; 2],
    ) -> Result<Vec<Usage>, StoreError> {
        usage::sums(&self.file().connection, tenant, by_endpoint, endpoint, days).map_err(away)
    }

    pub(super) fn roll_up_usage(&self, before: &str) -> Result<u64, StoreError> {
        let days = usage::not_rolled_up(&self.file().connection, before).map_err(away)?;
        let mut rows = 0;
        for days in days.chunks(ROLLED_UP_AT_ONCE) {
            let mut file = self.file();
            let transaction = file.connection.transaction_with_behavior(Immediate).map_err(away)?;
            rows += usage::roll_up(&transaction, days).map_err(away)?;
            transaction.commit().map_err(away)?;
        }
        Ok(rows)
    }

    pub(super) fn trim_usage(&self, before: &str) -> Result<u64, StoreError> {
        let mut trimmed = 0;
        loop {
            let piece = usage::trim(&self.file().connection, before).map_err(away)?;
            if piece == 0 {
                return Ok(trimmed);
            }
            trimmed += piece;
        }
    }

    pub(super) fn audit(
        &self,
        tenant: Option<&str>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        rows::audit(&self.file().connection, tenant, before, limit).map_err(away)
    }

    pub(super) fn add_audit(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        rows::insert_audit(&self.file().connection, entry).map_err(away)
    }

    pub(super) fn trim_audit(&self, before: u64) -> Result<u64, StoreError> {
        let (before, mut trimmed) = (rfc3339(before), 0);
        loop {
            let piece = rows::trim_audit(&self.file().connection, &before, TRIMMED_AT_ONCE).map_err(away)?;
            if piece == 0 {
                return Ok(trimmed);
            }
            trimmed += piece;
        }
    }

    /// Ignores poisoning: the transaction of a decision that panicked was rolled back.
    fn file(&self) -> MutexGuard<'_, OpenDatabase> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks the keys, then reads everything.
fn first_snapshot(connection: &mut Connection, path: &Path, keyring: &Keyring) -> Result<Snapshot, StoreOpenError> {
    let wrong_key = |reason: &dyn std::fmt::Display| StoreOpenError::Key {
        place: path.display().to_string(),
        reason: reason.to_string(),
    };
    let failed = |error: rusqlite::Error| unusable(path, &error);
    let transaction = connection.transaction_with_behavior(Immediate).map_err(failed)?;
    let meta = rows::meta(&transaction).map_err(failed)?;
    match meta.proof {
        Some(sealed) => keyring.check_proof(&sealed).map_err(|error| wrong_key(&error))?,
        None => {
            let proof = keyring.seal_proof().map_err(|error| unusable(path, &error))?;
            rows::set_proof(&transaction, &proof).map_err(failed)?;
        }
    }
    rows::delete_removed(&transaction).map_err(failed)?;
    let read = read(&transaction, 0, keyring).map_err(|error| match error {
        RowsError::Database(error) => failed(error),
        RowsError::Row(error @ RowError::Sealed { .. }) => wrong_key(&error),
        RowsError::Row(error) => unusable(path, &error),
    })?;
    transaction.commit().map_err(failed)?;
    Ok(Snapshot::default().replaced(meta.revision, read))
}

#[derive(Debug, thiserror::Error)]
enum RowsError {
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    #[error(transparent)]
    Row(#[from] RowError),
}

fn read(connection: &Connection, since: u64, keyring: &Keyring) -> Result<Vec<StoredItem>, RowsError> {
    let rows = rows::since(connection, since)?;
    Ok(rows.into_iter().map(|row| row.read(keyring)).collect::<Result<_, _>>()?)
}

/// SQLite's texts name tables and files, never values.
fn away(error: impl std::fmt::Display) -> StoreError {
    StoreError(error.to_string())
}
