//! The draft that a decision works on: the selected tenants, and the versions of their items.

use std::collections::{BTreeMap, HashMap};

use schemas::Tenant;

use super::{error::EditRefusal, item::ItemKind};

/// Versions of a tenant's items: the revision of each item's last change, which is its `ETag`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions(HashMap<(ItemKind, String), u64>);

impl Versions {
    /// Returns the version of an item. A tenant's item has the tenant's own id.
    pub fn of(&self, kind: ItemKind, id: &str) -> Option<u64> {
        // The tuple key cannot be looked up by borrowed parts. Ids are short, so this copy is cheap.
        self.0.get(&(kind, id.to_owned())).copied()
    }

    pub fn set(&mut self, kind: ItemKind, id: &str, version: u64) {
        self.0.insert((kind, id.to_owned()), version);
    }

    pub fn remove(&mut self, kind: ItemKind, id: &str) {
        self.0.remove(&(kind, id.to_owned()));
    }
}

#[derive(Clone, Debug, Default)]
pub struct Draft {
    tenants: BTreeMap<String, Tenant>,
    versions: HashMap<String, Versions>,
}

impl Draft {
    pub fn new(loaded: impl IntoIterator<Item = (Tenant, Versions)>) -> Self {
        let mut draft = Self::default();
        for (tenant, versions) in loaded {
            draft.versions.insert(tenant.id.clone(), versions);
            draft.tenants.insert(tenant.id.clone(), tenant);
        }
        draft
    }

    pub fn tenants(&self) -> &BTreeMap<String, Tenant> {
        &self.tenants
    }

    pub(super) fn tenants_mut(&mut self) -> impl Iterator<Item = &mut Tenant> {
        self.tenants.values_mut()
    }

    pub fn tenant(&mut self, id: &str) -> Result<&mut Tenant, EditRefusal> {
        self.tenants.get_mut(id).ok_or(EditRefusal::NoSuch(ItemKind::Tenant))
    }

    pub fn put(&mut self, tenant: Tenant) {
        self.tenants.insert(tenant.id.clone(), tenant);
    }

    pub fn remove(&mut self, id: &str) -> Option<Tenant> {
        self.tenants.remove(id)
    }

    /// Returns the revision of an item's last change. A tenant's item has the tenant's own id.
    pub fn version(&self, tenant: &str, kind: ItemKind, id: &str) -> Option<u64> {
        self.versions.get(tenant)?.of(kind, id)
    }
}
