//! Statements on the tables `meta`, `items` and `audit`, inside the caller's transaction.

use rusqlite::{Connection, params};

use crate::{AuditEntry, dump::StoreMeta, row::ItemRow};

pub(super) fn meta(connection: &Connection) -> rusqlite::Result<StoreMeta> {
    let mut query = connection.prepare_cached("SELECT revision, forgotten, proof FROM meta")?;
    query.query_row([], |row| {
        Ok(StoreMeta { revision: unsigned(row.get(0)?), forgotten: unsigned(row.get(1)?), proof: row.get(2)? })
    })
}

pub(super) fn set_revision(connection: &Connection, revision: u64) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE meta SET revision = ?1")?.execute([signed(revision)]).map(drop)
}

pub(super) fn set_proof(connection: &Connection, proof: &[u8]) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE meta SET proof = ?1")?.execute([proof]).map(drop)
}

/// Sets `meta` to that of another store.
pub(super) fn set_meta(connection: &Connection, meta: &StoreMeta) -> rusqlite::Result<()> {
    let StoreMeta { revision, forgotten, proof } = meta;
    let mut update = connection.prepare_cached("UPDATE meta SET revision = ?1, forgotten = ?2, proof = ?3")?;
    update.execute(params![signed(*revision), signed(*forgotten), proof]).map(drop)
}

/// Reads the rows that were changed after a revision. After 0, these are all rows.
pub(super) fn since(connection: &Connection, revision: u64) -> rusqlite::Result<Vec<ItemRow>> {
    let mut query = connection
        .prepare_cached("SELECT tenant, kind, id, version, created, body, sealed FROM items WHERE version > ?1")?;
    query.query_map([signed(revision)], row)?.collect()
}

/// Reads at most `limit` rows with secrets after a key, sorted by key.
pub(super) fn sealed(
    connection: &Connection,
    (tenant, kind, id): (&str, &str, &str),
    limit: u32,
) -> rusqlite::Result<Vec<ItemRow>> {
    let mut query = connection.prepare_cached(
        "SELECT tenant, kind, id, version, created, body, sealed FROM items
         WHERE sealed IS NOT NULL AND (tenant, kind, id) > (?1, ?2, ?3) ORDER BY tenant, kind, id LIMIT ?4",
    )?;
    query.query_map(params![tenant, kind, id, limit], row)?.collect()
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<ItemRow> {
    Ok(ItemRow {
        tenant: row.get(0)?,
        kind: row.get(1)?,
        id: row.get(2)?,
        version: unsigned(row.get(3)?),
        created: unsigned(row.get(4)?),
        body: row.get(5)?,
        sealed: row.get(6)?,
    })
}

pub(super) fn put(connection: &Connection, row: &ItemRow) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT OR REPLACE INTO items (tenant, kind, id, version, created, body, sealed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let ItemRow { tenant, kind, id, version, created, body, sealed } = row;
    insert.execute(params![tenant, kind, id, signed(*version), signed(*created), body, sealed]).map(drop)
}

/// Deletes the rows of removed items. This process is the only reader, and has read them all.
pub(super) fn delete_removed(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM items WHERE body IS NULL", []).map(drop)
}

/// Inserts an entry of the audit log; one with the id 0 gets a new id.
pub(super) fn insert_audit(connection: &Connection, entry: &AuditEntry) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO audit (id, at, revision, tenant, author, address, kind, item, before, after)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    let AuditEntry { id, at, revision, tenant, author, address, kind, item, before, after } = entry;
    let id = (*id > 0).then(|| signed(*id));
    let [before, after] = [before, after].map(|value| value.as_ref().map(ToString::to_string));
    insert.execute(params![id, at, signed(*revision), tenant, author, address, kind, item, before, after]).map(drop)
}

/// Reads entries of the audit log that are older than one, the newest first, of one tenant or of all.
pub(super) fn audit(
    connection: &Connection,
    tenant: Option<&str>,
    before: Option<u64>,
    limit: u32,
) -> rusqlite::Result<Vec<AuditEntry>> {
    let columns = "SELECT id, at, revision, tenant, author, address, kind, item, before, after FROM audit";
    let before = before.map_or(i64::MAX, signed);
    let (end, ours) = ("ORDER BY id DESC LIMIT ?2", "WHERE id < ?1");
    match tenant {
        Some(tenant) => connection
            .prepare_cached(&format!("{columns} {ours} AND tenant = ?3 {end}"))?
            .query_map(params![before, limit, tenant], entry)?
            .collect(),
        None => connection
            .prepare_cached(&format!("{columns} {ours} {end}"))?
            .query_map(params![before, limit], entry)?
            .collect(),
    }
}

/// Deletes entries from before a time (RFC 3339) among the `limit` oldest ones, and returns how many.
pub(super) fn trim_audit(connection: &Connection, before: &str, limit: u32) -> rusqlite::Result<u64> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM audit WHERE id IN
             (SELECT id FROM (SELECT id, at FROM audit ORDER BY id LIMIT ?2) WHERE at < ?1)",
    )?;
    delete.execute(params![before, limit]).map(|removed| removed as u64)
}

fn entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<AuditEntry> {
    let json = |at| row.get::<_, Option<String>>(at).map(|text| text.and_then(|text| serde_json::from_str(&text).ok()));
    Ok(AuditEntry {
        id: unsigned(row.get(0)?),
        at: row.get(1)?,
        revision: unsigned(row.get(2)?),
        tenant: row.get(3)?,
        author: row.get(4)?,
        address: row.get(5)?,
        kind: row.get(6)?,
        item: row.get(7)?,
        before: json(8)?,
        after: json(9)?,
    })
}

/// Converts to SQLite's integers, which are all signed. The numbers stay far below the largest one.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
