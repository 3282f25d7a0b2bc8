//! The draft that a decision works on: the selected tenants, and the versions of their items.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use schemas::Tenant;

use super::{error::EditRefusal, item::ItemKind};

/// Versions of a tenant's items. A tenant's item has the tenant's own id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions([HashMap<String, ItemVersion>; ItemKind::ALL.len()]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemVersion {
    /// Revision of the item's last change, which is its `ETag`.
    pub changed: u64,
    /// Revision that created the item; 0 for one from before revisions were noted.
    pub created: u64,
}

impl Versions {
    /// Returns the revision of an item's last change.
    pub fn of(&self, kind: ItemKind, id: &str) -> Option<u64> {
        self.0[kind as usize].get(id).map(|version| version.changed)
    }

    /// Returns the revision that created an item; 0 where that is not known.
    pub fn created(&self, kind: ItemKind, id: &str) -> u64 {
        self.0[kind as usize].get(id).map_or(0, |version| version.created)
    }

    pub fn set(&mut self, kind: ItemKind, id: &str, version: ItemVersion) {
        self.0[kind as usize].insert(id.to_owned(), version);
    }

    pub fn remove(&mut self, kind: ItemKind, id: &str) {
        self.0[kind as usize].remove(id);
    }
}

#[derive(Clone, Debug, Default)]
pub struct Draft {
    tenants: BTreeMap<String, Tenant>,
    versions: HashMap<String, Versions>,
    /// Tenants that the decision has removed. One of them that is there again is another tenant.
    removed: BTreeSet<String>,
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
        let removed = self.tenants.remove(id)?;
        self.removed.insert(removed.id.clone());
        Some(removed)
    }

    /// True when a tenant of this id was removed, whether or not there is another one now.
    pub(super) fn was_removed(&self, id: &str) -> bool {
        self.removed.contains(id)
    }

    /// Returns the revision that created a loaded item.
    pub(super) fn created(&self, tenant: &str, kind: ItemKind, id: &str) -> u64 {
        self.versions.get(tenant).map_or(0, |versions| versions.created(kind, id))
    }

    /// Returns the revision of an item's last change. A tenant's item has the tenant's own id.
    pub fn version(&self, tenant: &str, kind: ItemKind, id: &str) -> Option<u64> {
        self.versions.get(tenant)?.of(kind, id)
    }
}
