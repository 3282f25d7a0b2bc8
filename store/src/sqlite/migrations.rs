//! The tables, and how an older file comes to have them: steps that were never changed since they were released.

use rusqlite::{Connection, TransactionBehavior};
use service::sqlite_file;

use crate::StoreOpenError;

/// Each brings a file from one format to the next; the format, `user_version`, is how many were done.
///
/// `items`: a row stays when its item is gone, without a body, until everybody has heard of it. `usage`: the sum of what
/// the processes reported, each cumulative. `meta.forgotten` is the last revision of which rows of gone items were
/// removed, `meta.proof` something sealed: a wrong key is found out even where there is no secret yet.
const STEPS: &[&str] = &["
    CREATE TABLE meta  (one INTEGER PRIMARY KEY CHECK (one = 1), revision INTEGER NOT NULL, forgotten INTEGER NOT NULL,
                        proof BLOB);
    INSERT INTO meta VALUES (1, 1, 0, NULL);
    CREATE TABLE items (tenant TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL,
                        body TEXT, sealed BLOB, PRIMARY KEY (tenant, kind, id)) WITHOUT ROWID;
    CREATE INDEX items_version ON items (version);
    CREATE TABLE usage (tenant TEXT NOT NULL, day TEXT NOT NULL, endpoint TEXT NOT NULL, process TEXT NOT NULL,
                        sequence INTEGER NOT NULL, events INTEGER NOT NULL, deliveries INTEGER NOT NULL,
                        attempts INTEGER NOT NULL, delivered INTEGER NOT NULL, dead INTEGER NOT NULL,
                        bytes INTEGER NOT NULL, PRIMARY KEY (tenant, day, endpoint, process)) WITHOUT ROWID;
    CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, revision INTEGER NOT NULL,
                        tenant TEXT NOT NULL, author TEXT NOT NULL, address TEXT, kind TEXT NOT NULL,
                        item TEXT NOT NULL, before TEXT, after TEXT);
    CREATE INDEX audit_tenant ON audit (tenant, id);
"];

/// The format that this program writes.
pub(super) const FORMAT: i64 = STEPS.len() as i64;

/// Brings the file to this program's format, each step as a whole.
pub(super) fn apply(connection: &mut Connection) -> Result<(), MigrationError> {
    // IMMEDIATE is the lock: whoever else opens the file waits, and then finds it done.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = sqlite_file::format(&transaction)?;
    let done = usize::try_from(found).map_err(|_| MigrationError::Newer(found))?;
    for step in STEPS.get(done..).ok_or(MigrationError::Newer(found))? {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", FORMAT)?;
    Ok(transaction.commit()?)
}

/// What keeps a file from being brought up to date.
#[derive(Debug)]
pub(super) enum MigrationError {
    /// It has this format, of a later version of this program.
    Newer(i64),
    /// SQLite says no.
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for MigrationError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl MigrationError {
    /// Of this file.
    pub(super) fn of(self, path: &std::path::Path) -> StoreOpenError {
        let place = path.display().to_string();
        match self {
            Self::Newer(found) => StoreOpenError::Newer { place, found, known: FORMAT },
            Self::Database(error) => StoreOpenError::Unusable { place, reason: error.to_string() },
        }
    }
}
