//! Statements on the tables `meta`, `items` and `audit`.

use tokio_postgres::types::Type;

use crate::{AuditEntry, StoreError, dump::StoreMeta, row::ItemRow};
use service::postgres::{LONG, Parameters, PostgresSession, QUICK};

/// Largest number of rows in one statement.
const AT_ONCE: usize = 1000;

/// Reads the format of the tables and `meta`. If `locked`, no other process writes until the end of the transaction, so
/// that revisions are committed in their order.
pub(super) async fn meta(session: &PostgresSession, locked: bool) -> Result<(i64, StoreMeta), StoreError> {
    let sql = "SELECT format, revision, forgotten, proof FROM meta";
    let sql = if locked { format!("{sql} FOR UPDATE") } else { sql.to_owned() };
    let rows = session.query(QUICK, &sql, &[]).await?;
    let row = rows.first().ok_or_else(|| StoreError("the table meta is empty".to_owned()))?;
    let [revision, forgotten] = [1, 2].map(|at| unsigned(row.get(at)));
    Ok((row.get(0), StoreMeta { revision, forgotten, proof: row.get(3) }))
}

/// Sets the revision, and notifies all listening processes once it is committed.
pub(super) async fn set_revision(session: &PostgresSession, revision: u64) -> Result<(), StoreError> {
    session.execute(QUICK, "UPDATE meta SET revision = $1", &[(&signed(revision), Type::INT8)]).await?;
    let payload = revision.to_string();
    Ok(session.query(QUICK, "SELECT pg_notify('carteiro_store', $1)", &[(&payload, Type::TEXT)]).await.map(drop)?)
}

/// Sets the proof, unless another process has changed it in between.
pub(super) async fn set_proof(session: &PostgresSession, old: Option<&[u8]>, new: &[u8]) -> Result<(), StoreError> {
    let sql = "UPDATE meta SET proof = $1 WHERE proof IS NOT DISTINCT FROM $2";
    Ok(session.execute(QUICK, sql, &[(&new, Type::BYTEA), (&old, Type::BYTEA)]).await.map(drop)?)
}

const COLUMNS: &str = "SELECT tenant, kind, id, version, created, body, sealed FROM items";

pub(super) async fn since(session: &PostgresSession, revision: u64) -> Result<Vec<ItemRow>, StoreError> {
    let sql = format!("{COLUMNS} WHERE version > $1");
    let rows = session.query(LONG, &sql, &[(&signed(revision), Type::INT8)]).await?;
    Ok(rows.iter().map(row).collect())
}

/// Reads the rows of all items that exist.
pub(super) async fn all(session: &PostgresSession) -> Result<Vec<ItemRow>, StoreError> {
    let rows = session.query(LONG, &format!("{COLUMNS} WHERE body IS NOT NULL"), &[]).await?;
    Ok(rows.iter().map(row).collect())
}

/// Reads at most `limit` rows with secrets after a key, sorted by key.
pub(super) async fn sealed(
    session: &PostgresSession,
    (tenant, kind, id): (&str, &str, &str),
    limit: i64,
) -> Result<Vec<ItemRow>, StoreError> {
    let sql = format!(
        "{COLUMNS} WHERE sealed IS NOT NULL AND (tenant, kind, id) > ($1, $2, $3) ORDER BY tenant, kind, id LIMIT $4"
    );
    let given: Parameters<'_> = &[(&tenant, Type::TEXT), (&kind, Type::TEXT), (&id, Type::TEXT), (&limit, Type::INT8)];
    Ok(session.query(QUICK, &sql, given).await?.iter().map(row).collect())
}

/// Replaces the sealed parts of rows, except where another process has changed them in between.
pub(super) async fn reseal(session: &PostgresSession, rows: &[(Vec<u8>, ItemRow)]) -> Result<u64, StoreError> {
    let sql = "UPDATE items SET sealed = new.sealed
               FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::bytea[]) AS new (tenant, kind, id, was, sealed)
               WHERE (items.tenant, items.kind, items.id) = (new.tenant, new.kind, new.id) AND items.sealed = new.was";
    let tenants: Vec<_> = rows.iter().map(|(_, row)| &row.tenant).collect();
    let kinds: Vec<_> = rows.iter().map(|(_, row)| &row.kind).collect();
    let ids: Vec<_> = rows.iter().map(|(_, row)| &row.id).collect();
    let was: Vec<_> = rows.iter().map(|(was, _)| was).collect();
    let sealed: Vec<_> = rows.iter().map(|(_, row)| &row.sealed).collect();
    let given: Parameters<'_> = &[
        (&tenants, Type::TEXT_ARRAY),
        (&kinds, Type::TEXT_ARRAY),
        (&ids, Type::TEXT_ARRAY),
        (&was, Type::BYTEA_ARRAY),
        (&sealed, Type::BYTEA_ARRAY),
    ];
    Ok(session.execute(QUICK, sql, given).await?)
}

fn row(row: &tokio_postgres::Row) -> ItemRow {
    ItemRow {
        tenant: row.get(0),
        kind: row.get(1),
        id: row.get(2),
        version: unsigned(row.get(3)),
        created: unsigned(row.get(4)),
        body: row.get(5),
        sealed: row.get(6),
    }
}

/// Inserts or replaces rows.
pub(super) async fn put(session: &PostgresSession, rows: &[ItemRow]) -> Result<(), StoreError> {
    let sql = "INSERT INTO items (tenant, kind, id, version, created, body, sealed)
               SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::int8[], $5::int8[], $6::text[], $7::bytea[])
               ON CONFLICT (tenant, kind, id) DO UPDATE
               SET version = excluded.version, created = excluded.created, body = excluded.body,
                   sealed = excluded.sealed";
    for rows in rows.chunks(AT_ONCE) {
        let tenants: Vec<_> = rows.iter().map(|row| &row.tenant).collect();
        let kinds: Vec<_> = rows.iter().map(|row| &row.kind).collect();
        let ids: Vec<_> = rows.iter().map(|row| &row.id).collect();
        let versions: Vec<_> = rows.iter().map(|row| signed(row.version)).collect();
        let created: Vec<_> = rows.iter().map(|row| signed(row.created)).collect();
        let bodies: Vec<_> = rows.iter().map(|row| &row.body).collect();
        let sealed: Vec<_> = rows.iter().map(|row| &row.sealed).collect();
        let given: Parameters<'_> = &[
            (&tenants, Type::TEXT_ARRAY),
            (&kinds, Type::TEXT_ARRAY),
            (&ids, Type::TEXT_ARRAY),
            (&versions, Type::INT8_ARRAY),
            (&created, Type::INT8_ARRAY),
            (&bodies, Type::TEXT_ARRAY),
            (&sealed, Type::BYTEA_ARRAY),
        ];
        session.execute(LONG, sql, given).await?;
    }
    Ok(())
}

pub(super) async fn count_removed(session: &PostgresSession) -> Result<u64, StoreError> {
    let rows = session.query(LONG, "SELECT count(*) FROM items WHERE body IS NULL", &[]).await?;
    Ok(rows.first().map_or(0, |row| unsigned(row.get(0))))
}

/// Deletes the rows of removed items. A process that has not read them yet will load everything.
pub(super) async fn delete_removed(session: &PostgresSession) -> Result<(), StoreError> {
    session.execute(LONG, "DELETE FROM items WHERE body IS NULL", &[]).await?;
    Ok(session.execute(QUICK, "UPDATE meta SET forgotten = revision", &[]).await.map(drop)?)
}

/// Sets `meta` to that of another store.
pub(super) async fn set_meta(session: &PostgresSession, meta: &StoreMeta) -> Result<(), StoreError> {
    let (revision, forgotten) = (signed(meta.revision), signed(meta.forgotten));
    let sql = "UPDATE meta SET revision = $1, forgotten = $2, proof = $3";
    let given: Parameters<'_> = &[(&revision, Type::INT8), (&forgotten, Type::INT8), (&meta.proof, Type::BYTEA)];
    session.execute(QUICK, sql, given).await?;
    // Rows inserted with their own ids do not advance the sequence.
    let sql = "SELECT setval('audit_id_seq', (SELECT coalesce(max(id), 0) + 1 FROM audit), false)";
    Ok(session.query(QUICK, sql, &[]).await.map(drop)?)
}

/// Inserts entries of the audit log; those with the id 0 get new ids.
pub(super) async fn insert_audit(session: &PostgresSession, entries: &[AuditEntry]) -> Result<(), StoreError> {
    let sql = "INSERT INTO audit
               SELECT coalesce(nullif(id, 0), nextval('audit_id_seq')), at, revision, tenant, author, address, kind, item,
                   before, after
               FROM unnest($1::int8[], $2::text[], $3::int8[], $4::text[], $5::text[], $6::text[], $7::text[],
                   $8::text[], $9::text[], $10::text[])
                   AS new (id, at, revision, tenant, author, address, kind, item, before, after)";
    for entries in entries.chunks(AT_ONCE) {
        let text = |of: for<'a> fn(&'a AuditEntry) -> &'a String| entries.iter().map(of).collect::<Vec<_>>();
        let number = |of: fn(&AuditEntry) -> u64| entries.iter().map(|entry| signed(of(entry))).collect::<Vec<_>>();
        let json = |of: for<'a> fn(&'a AuditEntry) -> Option<&'a serde_json::Value>| {
            entries.iter().map(|entry| of(entry).map(ToString::to_string)).collect::<Vec<_>>()
        };
        let addresses: Vec<_> = entries.iter().map(|entry| &entry.address).collect();
        let given: Parameters<'_> = &[
            (&number(|entry| entry.id), Type::INT8_ARRAY),
            (&text(|entry| &entry.at), Type::TEXT_ARRAY),
            (&number(|entry| entry.revision), Type::INT8_ARRAY),
            (&text(|entry| &entry.tenant), Type::TEXT_ARRAY),
            (&text(|entry| &entry.author), Type::TEXT_ARRAY),
            (&addresses, Type::TEXT_ARRAY),
            (&text(|entry| &entry.kind), Type::TEXT_ARRAY),
            (&text(|entry| &entry.item), Type::TEXT_ARRAY),
            (&json(|entry| entry.before.as_ref()), Type::TEXT_ARRAY),
            (&json(|entry| entry.after.as_ref()), Type::TEXT_ARRAY),
        ];
        session.execute(LONG, sql, given).await?;
    }
    Ok(())
}

pub(super) async fn all_audit(session: &PostgresSession) -> Result<Vec<AuditEntry>, StoreError> {
    let sql = "SELECT id, at, revision, tenant, author, address, kind, item, before, after FROM audit ORDER BY id";
    Ok(session.query(LONG, sql, &[]).await?.iter().map(entry).collect())
}

/// Reads entries of the audit log that are older than one, the newest first, of one tenant or of all.
pub(super) async fn audit(
    session: &PostgresSession,
    tenant: Option<&str>,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<AuditEntry>, StoreError> {
    // The planner knows the parameter, and plans only for the part of the condition that applies.
    let sql = "SELECT id, at, revision, tenant, author, address, kind, item, before, after FROM audit
               WHERE id < $1 AND ($3::text IS NULL OR tenant = $3) ORDER BY id DESC LIMIT $2";
    let before = before.map_or(i64::MAX, signed);
    let given: Parameters<'_> = &[(&before, Type::INT8), (&i64::from(limit), Type::INT8), (&tenant, Type::TEXT)];
    Ok(session.query(QUICK, sql, given).await?.iter().map(entry).collect())
}

/// Deletes entries from before a time (RFC 3339) among the `limit` oldest ones, and returns how many.
pub(super) async fn trim_audit(session: &PostgresSession, before: &str, limit: u32) -> Result<u64, StoreError> {
    // Texts of this form sort by time when they are compared byte by byte.
    let sql = "DELETE FROM audit WHERE id IN
                   (SELECT id FROM (SELECT id, at FROM audit ORDER BY id LIMIT $2) oldest WHERE at COLLATE \"C\" < $1)";
    Ok(session.execute(LONG, sql, &[(&before, Type::TEXT), (&i64::from(limit), Type::INT8)]).await?)
}

fn entry(row: &tokio_postgres::Row) -> AuditEntry {
    let json = |at| row.get::<_, Option<String>>(at).and_then(|text| serde_json::from_str(&text).ok());
    AuditEntry {
        id: unsigned(row.get(0)),
        at: row.get(1),
        revision: unsigned(row.get(2)),
        tenant: row.get(3),
        author: row.get(4),
        address: row.get(5),
        kind: row.get(6),
        item: row.get(7),
        before: json(8),
        after: json(9),
    }
}

/// Converts to PostgreSQL's integers, which are all signed. The numbers stay far below the largest one.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
