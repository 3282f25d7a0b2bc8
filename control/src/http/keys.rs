//! Keys, with which a tenant's programs authenticate.

use schemas::{Key, KeyHash, Scope, Tenant};
use service::problem::{Code, Problem};
use store::{Item, ItemKind, Snapshot, TenantSnapshot};

use super::tenant_item::TenantItem;
use crate::settings::{Generator, Object, Rules};

impl TenantItem for Key {
    const KIND: ItemKind = ItemKind::Key;
    const GENERATED: &'static [(&'static str, &'static str)] =
        &[("hash", "a key cannot be without its hash: rotate it, or delete the key")];
    const ISSUED: &'static [(&'static str, &'static str)] =
        &[("key", "The key itself. Shown this once; only its hash is kept.")];
    const EXAMPLE: &'static str = r#"{"name":"Backend","scopes":["publish","read"]}"#;

    fn id(&self) -> &str {
        &self.id
    }

    fn list(tenant: &Tenant) -> &Vec<Self> {
        &tenant.keys
    }

    fn list_mut(tenant: &mut Tenant) -> &mut Vec<Self> {
        &mut tenant.keys
    }

    fn of_snapshot(tenant: &TenantSnapshot) -> Vec<&Self> {
        tenant.keys.iter().collect()
    }

    fn of_change(item: &Item) -> Option<&Self> {
        if let Item::Key(key) = item { Some(key) } else { None }
    }

    fn generate_fields(fields: &mut Object, generator: &Generator) -> std::io::Result<Object> {
        if fields.contains_key("hash") {
            return Ok(Object::new());
        }
        let key = generator.key()?;
        fields.insert("hash".to_owned(), String::from(KeyHash::of(&key)).into());
        Ok(shown_once(key))
    }

    fn normalize(&mut self, _: Option<&Self>, _: &Rules, scopes: Option<&[Scope]>) -> Result<(), Problem> {
        check_granted(&self.scopes, scopes)
    }

    fn owners(&self, snapshot: &Snapshot) -> Vec<(String, String)> {
        let known = self.hashes().filter_map(|(hash, _)| snapshot.owner_of_hash(&hash));
        known.map(|(owner, known)| (owner.id.clone(), known.id.clone())).collect()
    }
}

/// Refuses scopes that the caller's own key does not have. Otherwise a key that may only manage could create one that
/// publishes.
pub(crate) fn check_granted(wanted: &[Scope], own: Option<&[Scope]>) -> Result<(), Problem> {
    match own {
        Some(own) if !wanted.iter().all(|scope| own.contains(scope)) => {
            Err(Problem::new(Code::Forbidden).detail("a key grants at most its own scopes"))
        }
        _ => Ok(()),
    }
}

pub(crate) fn shown_once(key: String) -> Object {
    [("key".to_owned(), key.into())].into_iter().collect()
}
