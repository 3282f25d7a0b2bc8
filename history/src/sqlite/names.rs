//! The numbers that stand for tenants and endpoints in the files of days, and the tenants' keys.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use rusqlite::{Connection, params};
use service::chance;

use crate::{ContactToken, HistoryError, TenantKey, token};

#[derive(Debug, Default)]
pub(super) struct Names(RwLock<KnownNames>);

#[derive(Debug, Default)]
struct KnownNames {
    tenants: HashMap<String, (i64, TenantKey)>,
    tenant_names: HashMap<i64, String>,
    endpoints: HashMap<i64, HashMap<String, i64>>,
    endpoint_ids: HashMap<i64, String>,
}

impl Names {
    pub(super) fn load(meta: &Connection) -> rusqlite::Result<Self> {
        let names = Self::default();
        names.reload(meta)?;
        Ok(names)
    }

    /// Knows what is in the file, and nothing else.
    pub(super) fn reload(&self, meta: &Connection) -> rusqlite::Result<()> {
        let mut known = KnownNames::default();
        let mut tenants = meta.prepare("SELECT no, name, key FROM tenants WHERE name IS NOT NULL")?;
        let rows = tenants.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?)))?;
        for row in rows {
            let (no, name, key) = row?;
            known.tenants.insert(name.clone(), (no, key));
            known.tenant_names.insert(no, name);
        }
        let mut endpoints = meta.prepare("SELECT no, tenant, id FROM endpoints")?;
        let rows = endpoints.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?)))?;
        for row in rows {
            let (no, tenant, id) = row?;
            known.endpoints.entry(tenant).or_default().insert(id.clone(), no);
            known.endpoint_ids.insert(no, id);
        }
        *self.write() = known;
        Ok(())
    }

    /// The number of a tenant with records, and its key.
    pub(super) fn tenant(&self, name: &str) -> Option<(i64, TenantKey)> {
        self.read().tenants.get(name).copied()
    }

    pub(super) fn tenant_name(&self, no: i64) -> Option<String> {
        self.read().tenant_names.get(&no).cloned()
    }

    pub(super) fn endpoint(&self, tenant: i64, id: &str) -> Option<i64> {
        self.read().endpoints.get(&tenant)?.get(id).copied()
    }

    /// Endpoints of this id, of all tenants.
    pub(super) fn endpoints_called(&self, id: &str) -> Vec<i64> {
        self.read().endpoints.values().filter_map(|of_tenant| of_tenant.get(id).copied()).collect()
    }

    pub(super) fn endpoint_id(&self, no: i64) -> String {
        self.read().endpoint_ids.get(&no).cloned().unwrap_or_default()
    }

    /// The tokens of a contact, of all tenants.
    pub(super) fn tokens(&self, contact: &str) -> Vec<ContactToken> {
        self.read().tenants.values().map(|(_, key)| token(key, contact)).collect()
    }

    /// The number and the key of a tenant, which are made where there are none. `meta` is in a transaction.
    pub(super) fn tenant_or_new(&self, meta: &Connection, name: &str) -> Result<(i64, TenantKey), HistoryError> {
        if let Some(known) = self.tenant(name) {
            return Ok(known);
        }
        let key: TenantKey = chance::random()?;
        meta.prepare_cached("INSERT INTO tenants (name, key) VALUES (?1, ?2)")?.execute(params![name, key])?;
        let no = meta.last_insert_rowid();
        let mut known = self.write();
        known.tenants.insert(name.to_owned(), (no, key));
        known.tenant_names.insert(no, name.to_owned());
        Ok((no, key))
    }

    /// The number of an endpoint, which is made where there is none. `meta` is in a transaction.
    pub(super) fn endpoint_or_new(&self, meta: &Connection, tenant: i64, id: &str) -> Result<i64, HistoryError> {
        if let Some(known) = self.endpoint(tenant, id) {
            return Ok(known);
        }
        meta.prepare_cached("INSERT INTO endpoints (tenant, id) VALUES (?1, ?2)")?.execute(params![tenant, id])?;
        let no = meta.last_insert_rowid();
        let mut known = self.write();
        known.endpoints.entry(tenant).or_default().insert(id.to_owned(), no);
        known.endpoint_ids.insert(no, id.to_owned());
        Ok(no)
    }

    /// Takes its name from a tenant: nothing is found under it any more.
    pub(super) fn forget(&self, meta: &Connection, name: &str) -> Result<Option<i64>, HistoryError> {
        let Some((no, _)) = self.tenant(name) else { return Ok(None) };
        // Without the key no token of it can be made any more.
        meta.execute("UPDATE tenants SET name = NULL, key = x'' WHERE no = ?1", [no])?;
        meta.execute("DELETE FROM endpoints WHERE tenant = ?1", [no])?;
        let mut known = self.write();
        known.tenants.remove(name);
        known.tenant_names.remove(&no);
        for endpoint in known.endpoints.remove(&no).unwrap_or_default().into_values() {
            known.endpoint_ids.remove(&endpoint);
        }
        Ok(Some(no))
    }

    fn read(&self) -> RwLockReadGuard<'_, KnownNames> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, KnownNames> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
