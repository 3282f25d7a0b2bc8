//! The tables. Only here they are made.

use rusqlite::Connection;

/// Version of the tables, in `user_version` of each file.
pub(super) const VERSION: i64 = 1;

/// What every connection that writes begins with. Nothing that was deleted stays readable in a file. The write-ahead log is
/// written back every 4,000 pages, some 16 MiB. After a power failure the last transactions may be missing.
pub(super) const SETTINGS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA secure_delete = ON;
    PRAGMA wal_autocheckpoint = 4000;
    PRAGMA cache_size = -16384;
";

/// What a connection to bodies goes on with: they are appended, and a commit looks at all pages in memory (1 MiB).
pub(super) const FEW_PAGES: &str = "PRAGMA cache_size = -1024";

/// The file with what does not belong to a day.
pub(super) const META: &str = "
    CREATE TABLE position (stream INTEGER PRIMARY KEY CHECK (stream = 0), value INTEGER NOT NULL);
    CREATE TABLE tenants (no INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, key BLOB NOT NULL);
    CREATE TABLE endpoints (
        no INTEGER PRIMARY KEY AUTOINCREMENT, tenant INTEGER NOT NULL, id TEXT NOT NULL, UNIQUE (tenant, id)
    );
    CREATE TABLE kept (
        day INTEGER NOT NULL, tenant INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (day, tenant)
    ) WITHOUT ROWID;
    CREATE TABLE processes (id TEXT PRIMARY KEY, covers_until INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE gaps (
        began INTEGER NOT NULL, ended INTEGER NOT NULL, cause TEXT NOT NULL, dropped INTEGER NOT NULL,
        PRIMARY KEY (began, ended, cause)
    ) WITHOUT ROWID;
    PRAGMA user_version = 1;
";

/// The file of a day. A tenant and an endpoint are numbers of the file above. `deliveries` and `attempts` are in the order of
/// their events, so that those of one event are in one place without another index.
pub(super) const DAY: &str = "
    CREATE TABLE events (
        no INTEGER PRIMARY KEY AUTOINCREMENT, tenant INTEGER NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL,
        source TEXT NOT NULL, accepted_at INTEGER NOT NULL, occurred_at INTEGER NOT NULL, channel TEXT, queue TEXT,
        ticket TEXT, protocol TEXT, contact BLOB, matched INTEGER NOT NULL, unmatched TEXT, shape INTEGER,
        is_whole INTEGER NOT NULL, is_erased INTEGER NOT NULL
    );
    CREATE UNIQUE INDEX event_ids ON events (id, tenant);
    CREATE INDEX event_order ON events (accepted_at);
    CREATE INDEX event_times ON events (tenant, accepted_at);
    CREATE INDEX tickets ON events (ticket, accepted_at) WHERE ticket IS NOT NULL;
    CREATE INDEX protocols ON events (protocol, accepted_at) WHERE protocol IS NOT NULL;
    CREATE INDEX contacts ON events (contact, accepted_at) WHERE contact IS NOT NULL;
    CREATE TABLE deliveries (
        event INTEGER NOT NULL, endpoint INTEGER NOT NULL, part TEXT NOT NULL, id BLOB NOT NULL, tenant INTEGER NOT NULL,
        accepted_at INTEGER NOT NULL, subscriptions TEXT NOT NULL, shape INTEGER, state INTEGER NOT NULL, reason TEXT,
        run INTEGER NOT NULL, run_began INTEGER NOT NULL, attempts INTEGER NOT NULL, next_due INTEGER, outcome TEXT,
        last_run INTEGER, last_number INTEGER,
        PRIMARY KEY (event, endpoint, part)
    ) WITHOUT ROWID;
    CREATE INDEX delivery_ids ON deliveries (id);
    CREATE INDEX delivery_endpoints ON deliveries (endpoint, accepted_at, event);
    CREATE INDEX waiting ON deliveries (tenant, accepted_at, event) WHERE state = 0;
    CREATE INDEX dead ON deliveries (tenant, accepted_at, event) WHERE state = 2;
    CREATE TABLE attempts (
        event INTEGER NOT NULL, endpoint INTEGER NOT NULL, part TEXT NOT NULL, run_began INTEGER NOT NULL,
        number INTEGER NOT NULL, at INTEGER NOT NULL, next_due INTEGER, deferrals INTEGER NOT NULL, post BLOB,
        PRIMARY KEY (event, endpoint, part, run_began, number)
    ) WITHOUT ROWID;
    CREATE TABLE counts (
        hour INTEGER NOT NULL, tenant INTEGER NOT NULL, endpoint INTEGER NOT NULL, what TEXT NOT NULL,
        count INTEGER NOT NULL, durations BLOB,
        PRIMARY KEY (hour, tenant, endpoint, what)
    ) WITHOUT ROWID;
    PRAGMA user_version = 1;
";

/// The bodies of a day. `of` tells whose a body is, so that none is ever shown for another event.
pub(super) const BODIES: &str = "
    CREATE TABLE bodies (
        event INTEGER NOT NULL, shape INTEGER NOT NULL, of INTEGER NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (event, shape)
    ) WITHOUT ROWID;
    PRAGMA user_version = 1;
";

/// Makes the tables where there are none.
pub(super) fn prepare(connection: &Connection, tables: &str) -> rusqlite::Result<Result<(), i64>> {
    connection.execute_batch(SETTINGS)?;
    match service::sqlite_file::format(connection)? {
        0 => connection.execute_batch(&format!("BEGIN IMMEDIATE; {tables} COMMIT;"))?,
        VERSION => {}
        newer => return Ok(Err(newer)),
    }
    Ok(Ok(()))
}
