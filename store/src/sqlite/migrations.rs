//! Creates and updates the tables in steps from one format to the next. A released step is never changed.

use rusqlite::{Connection, TransactionBehavior};
use service::sqlite_file;

use crate::StoreOpenError;

/// Steps in their order. The format of a file, its `user_version`, is the number of finished steps.
///
/// When an item is removed, its row in `items` stays without a body until every reader has seen that. `usage` holds the
/// last report of each process, which is cumulative. The fields of `StoreMeta` describe `meta`.
const STEPS: &[&str] = &[
    "
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
",
    "
    ALTER TABLE items ADD COLUMN created INTEGER NOT NULL DEFAULT 0;
",
];

/// Shows the rows of a file of the first format as they are after the second step, to a connection that may not write.
pub(super) const FIRST_FORMAT_VIEW: &str =
    "CREATE TEMP VIEW items AS SELECT tenant, kind, id, version, 0 AS created, body, sealed FROM main.items";

pub(super) const FORMAT: i64 = STEPS.len() as i64;

/// Brings the file to this program's format, all steps or none.
pub(super) fn apply(connection: &mut Connection) -> Result<(), MigrationError> {
    // IMMEDIATE locks the file, so that another process that opens it waits and finds the steps done.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = sqlite_file::format(&transaction)?;
    let done = usize::try_from(found).map_err(|_| MigrationError::Newer(found))?;
    for step in STEPS.get(done..).ok_or(MigrationError::Newer(found))? {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", FORMAT)?;
    Ok(transaction.commit()?)
}

#[derive(Debug)]
pub(super) enum MigrationError {
    /// A later version of this program wrote the file, which has this format.
    Newer(i64),
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for MigrationError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl MigrationError {
    pub(super) fn of(self, path: &std::path::Path) -> StoreOpenError {
        let place = path.display().to_string();
        match self {
            Self::Newer(found) => StoreOpenError::Newer { place, found, known: FORMAT },
            Self::Database(error) => StoreOpenError::Unusable { place, reason: error.to_string() },
        }
    }
}
