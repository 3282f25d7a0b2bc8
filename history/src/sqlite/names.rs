//! Tenants and endpoints in the file that belongs to no day.

use rusqlite::{Connection, params};
use service::chance;

use crate::{
    HistoryError, TenantKey,
    names::{KnownNames, Names},
};

/// Makes `names` know what is in the file, and nothing else.
pub(super) fn load(meta: &Connection, names: &Names) -> rusqlite::Result<()> {
    let mut known = KnownNames::default();
    let mut tenants = meta.prepare("SELECT no, name, key FROM tenants WHERE name IS NOT NULL")?;
    let rows = tenants.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?)))?;
    for row in rows {
        let (no, name, key) = row?;
        known.add_tenant(&name, no, key);
    }
    let mut endpoints = meta.prepare("SELECT no, tenant, id FROM endpoints")?;
    let rows = endpoints.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?)))?;
    for row in rows {
        let (no, tenant, id) = row?;
        known.add_endpoint(tenant, &id, no);
    }
    names.replace(known);
    Ok(())
}

/// The number and the key of a tenant, which are made where there are none. `meta` is in a transaction.
pub(super) fn tenant_or_new(meta: &Connection, names: &Names, name: &str) -> Result<(i64, TenantKey), HistoryError> {
    if let Some(known) = names.tenant(name) {
        return Ok(known);
    }
    let key: TenantKey = chance::random()?;
    meta.prepare_cached("INSERT INTO tenants (name, key) VALUES (?1, ?2)")?.execute(params![name, key])?;
    let no = meta.last_insert_rowid();
    names.add_tenant(name, no, key);
    Ok((no, key))
}

/// The number of an endpoint, which is made where there is none. `meta` is in a transaction.
pub(super) fn endpoint_or_new(meta: &Connection, names: &Names, tenant: i64, id: &str) -> Result<i64, HistoryError> {
    if let Some(known) = names.endpoint(tenant, id) {
        return Ok(known);
    }
    meta.prepare_cached("INSERT INTO endpoints (tenant, id) VALUES (?1, ?2)")?.execute(params![tenant, id])?;
    let no = meta.last_insert_rowid();
    names.add_endpoint(tenant, id, no);
    Ok(no)
}

/// Takes its name from a tenant: nothing is found under it any more. Returns its number.
pub(super) fn forget(meta: &Connection, names: &Names, name: &str) -> Result<Option<i64>, HistoryError> {
    let Some((no, _)) = names.tenant(name) else { return Ok(None) };
    // Without the key no token of it can be made any more.
    meta.execute("UPDATE tenants SET name = NULL, key = x'' WHERE no = ?1", [no])?;
    meta.execute("DELETE FROM endpoints WHERE tenant = ?1", [no])?;
    names.forget(name, no);
    Ok(Some(no))
}
