//! Creates and updates the tables in steps from one format to the next. A released step is never changed.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};
use service::sqlite_file;

use crate::StoreOpenError;

/// The steps of a kind of file, in their order. The format of a file, its `user_version`, is the number of finished steps.
pub(super) struct Migrations(&'static [&'static str]);

/// The file of a `sqlite:` store.
///
/// When an item is removed, its row in `items` stays without a body until every reader has seen that. `usage` holds the
/// last report of each process, which is cumulative. The fields of `StoreMeta` describe `meta`.
pub(super) const SETTINGS_FILE: Migrations = Migrations(&[
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
    JOBS_AND_LEASES,
]);

/// The file of control beside a `file:` store.
pub(super) const CONTROL_FILE: Migrations = Migrations(&[JOBS_AND_LEASES]);

/// The step that both kinds of file have. The fields of `Job` describe `jobs`; times are unix milliseconds.
const JOBS_AND_LEASES: &str = "
    CREATE TABLE jobs (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, tenant_created INTEGER NOT NULL, kind TEXT NOT NULL,
                       state TEXT NOT NULL, spec TEXT NOT NULL, matched INTEGER NOT NULL, position TEXT NOT NULL,
                       done INTEGER NOT NULL, skipped INTEGER NOT NULL, started_at INTEGER NOT NULL, ended_at INTEGER)
                      WITHOUT ROWID;
    CREATE INDEX jobs_tenant ON jobs (tenant, id);
    CREATE INDEX jobs_running ON jobs (id) WHERE state = 'running';
    CREATE TABLE leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, expires_at INTEGER NOT NULL) WITHOUT ROWID;
";

/// Shows the rows of a file of the first format as they are after the second step, to a connection that may not write.
pub(super) const FIRST_FORMAT_VIEW: &str =
    "CREATE TEMP VIEW items AS SELECT tenant, kind, id, version, 0 AS created, body, sealed FROM main.items";

impl Migrations {
    /// The format of this program.
    pub(super) const fn format(&self) -> i64 {
        self.0.len() as i64
    }

    /// Refuses the format of a file at `path` that a later version of this program wrote.
    pub(super) fn refuse_newer(&self, found: i64, path: &Path) -> Result<(), StoreOpenError> {
        let newer = || StoreOpenError::Newer { place: path.display().to_string(), found, known: self.format() };
        if found > self.format() { Err(newer()) } else { Ok(()) }
    }

    /// Brings a file of no newer format to this program's, all steps or none.
    pub(super) fn apply(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        // IMMEDIATE locks the file, so that another process that opens it waits and finds the steps done.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = usize::try_from(sqlite_file::format(&transaction)?).unwrap_or_default();
        for step in self.0.iter().skip(done) {
            transaction.execute_batch(step)?;
        }
        if done < self.0.len() {
            transaction.pragma_update(None, "user_version", self.format())?;
        }
        transaction.commit()
    }
}
