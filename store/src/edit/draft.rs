//! What a decision works on: the loaded tenants, and the version of everything in them.

use std::collections::{BTreeMap, HashMap};

use schemas::Tenant;

use super::{EditRefusal, ItemKind};

/// The revision at which each thing of a tenant was last changed: its `ETag`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions(HashMap<(ItemKind, String), u64>);

impl Versions {
    /// Of one thing; the tenant itself goes by its own id.
    pub fn of(&self, kind: ItemKind, id: &str) -> Option<u64> {
        // A pair cannot be looked up by its borrowed half; ids are short.
        self.0.get(&(kind, id.to_owned())).copied()
    }

    /// Notes a version.
    pub fn set(&mut self, kind: ItemKind, id: &str, version: u64) {
        self.0.insert((kind, id.to_owned()), version);
    }

    /// Forgets what is gone.
    pub fn remove(&mut self, kind: ItemKind, id: &str) {
        self.0.remove(&(kind, id.to_owned()));
    }
}

/// The touched tenants, to be changed.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    tenants: BTreeMap<String, Tenant>,
    versions: HashMap<String, Versions>,
}

impl Draft {
    /// Of what a store has loaded.
    pub fn new(loaded: impl IntoIterator<Item = (Tenant, Versions)>) -> Self {
        let mut draft = Self::default();
        for (tenant, versions) in loaded {
            draft.versions.insert(tenant.id.clone(), versions);
            draft.tenants.insert(tenant.id.clone(), tenant);
        }
        draft
    }

    /// All of them, by id.
    pub fn tenants(&self) -> &BTreeMap<String, Tenant> {
        &self.tenants
    }

    /// All of them, to be changed.
    pub(super) fn tenants_mut(&mut self) -> impl Iterator<Item = &mut Tenant> {
        self.tenants.values_mut()
    }

    /// A tenant.
    ///
    /// # Errors
    /// [`EditRefusal::NoSuch`].
    pub fn tenant(&mut self, id: &str) -> Result<&mut Tenant, EditRefusal> {
        self.tenants.get_mut(id).ok_or(EditRefusal::NoSuch(ItemKind::Tenant))
    }

    /// Adds a tenant, or replaces one.
    pub fn put(&mut self, tenant: Tenant) {
        self.tenants.insert(tenant.id.clone(), tenant);
    }

    /// Takes a tenant away with all that belongs to it.
    pub fn remove(&mut self, id: &str) -> Option<Tenant> {
        self.tenants.remove(id)
    }

    /// At which revision something was last changed; none when it is not there. A tenant goes by its own id.
    pub fn version(&self, tenant: &str, kind: ItemKind, id: &str) -> Option<u64> {
        self.versions.get(tenant)?.of(kind, id)
    }
}
