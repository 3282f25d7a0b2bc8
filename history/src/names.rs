//! The numbers that stand for tenants and endpoints, and the tenants' keys, as they are in a backend.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use crate::{ContactToken, TenantKey, token};

#[derive(Debug, Default)]
pub(crate) struct Names(RwLock<KnownNames>);

#[derive(Debug, Default)]
pub(crate) struct KnownNames {
    tenants: HashMap<String, (i64, TenantKey)>,
    tenant_names: HashMap<i64, String>,
    endpoints: HashMap<i64, HashMap<String, i64>>,
    endpoint_ids: HashMap<i64, String>,
}

impl KnownNames {
    pub(crate) fn add_tenant(&mut self, name: &str, no: i64, key: TenantKey) {
        self.tenants.insert(name.to_owned(), (no, key));
        self.tenant_names.insert(no, name.to_owned());
    }

    pub(crate) fn add_endpoint(&mut self, tenant: i64, id: &str, no: i64) {
        self.endpoints.entry(tenant).or_default().insert(id.to_owned(), no);
        self.endpoint_ids.insert(no, id.to_owned());
    }
}

impl Names {
    /// Knows these, and nothing else.
    pub(crate) fn replace(&self, known: KnownNames) {
        *self.write() = known;
    }

    /// Knows these as well.
    pub(crate) fn add_all(&self, more: KnownNames) {
        let mut known = self.write();
        known.tenants.extend(more.tenants);
        known.tenant_names.extend(more.tenant_names);
        known.endpoint_ids.extend(more.endpoint_ids);
        for (tenant, endpoints) in more.endpoints {
            known.endpoints.entry(tenant).or_default().extend(endpoints);
        }
    }

    pub(crate) fn add_tenant(&self, name: &str, no: i64, key: TenantKey) {
        self.write().add_tenant(name, no, key);
    }

    pub(crate) fn add_endpoint(&self, tenant: i64, id: &str, no: i64) {
        self.write().add_endpoint(tenant, id, no);
    }

    /// Finds nothing under a tenant's name any more.
    pub(crate) fn forget(&self, name: &str, no: i64) {
        let mut known = self.write();
        known.tenants.remove(name);
        known.tenant_names.remove(&no);
        for endpoint in known.endpoints.remove(&no).unwrap_or_default().into_values() {
            known.endpoint_ids.remove(&endpoint);
        }
    }

    /// The number of a tenant with records, and its key.
    pub(crate) fn tenant(&self, name: &str) -> Option<(i64, TenantKey)> {
        self.read().tenants.get(name).copied()
    }

    pub(crate) fn tenant_name(&self, no: i64) -> Option<String> {
        self.read().tenant_names.get(&no).cloned()
    }

    pub(crate) fn endpoint(&self, tenant: i64, id: &str) -> Option<i64> {
        self.read().endpoints.get(&tenant)?.get(id).copied()
    }

    /// Endpoints of this id, of all tenants.
    pub(crate) fn endpoints_called(&self, id: &str) -> Vec<i64> {
        self.read().endpoints.values().filter_map(|of_tenant| of_tenant.get(id).copied()).collect()
    }

    pub(crate) fn endpoint_id(&self, no: i64) -> String {
        self.read().endpoint_ids.get(&no).cloned().unwrap_or_default()
    }

    /// The names of all tenants.
    pub(crate) fn tenants(&self) -> Vec<String> {
        self.read().tenants.keys().cloned().collect()
    }

    /// The tokens of a contact, of all tenants.
    pub(crate) fn tokens(&self, contact: &str) -> Vec<ContactToken> {
        self.read().tenants.values().map(|(_, key)| token(key, contact)).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, KnownNames> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, KnownNames> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
