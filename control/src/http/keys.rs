//! Keys: what a tenant's programs show to act for it.

use schemas::{Key, KeyHash, Scope, Tenant};
use service::problem::{Code, Problem};
use store::{ItemKind, Snapshot, TenantSnapshot};

use super::resource::Resource;
use crate::settings::{Field, Made, Maker, Object, Rules};

impl Resource for Key {
    const KIND: ItemKind = ItemKind::Key;
    const KEPT: &'static [Field] = &[
        Field::Needed("hash", "a key cannot be without its hash: rotate it, or delete the key"),
        Field::One("old_hash"),
    ];
    const MADE: &'static [&'static str] = &["hash"];
    const SHOWN_ONCE: &'static [(&'static str, &'static str)] =
        &[("key", "The key itself. Shown this once; only its hash is kept.")];
    const EXAMPLE: &'static str = r#"{"name":"Backend","scopes":["publish","read"]}"#;

    fn id(&self) -> &str {
        &self.id
    }

    fn list(tenant: &mut Tenant) -> &mut Vec<Self> {
        &mut tenant.keys
    }

    fn in_snapshot(tenant: &TenantSnapshot) -> Vec<&Self> {
        tenant.keys.iter().collect()
    }

    fn make(fields: &mut Object, maker: &Maker) -> std::io::Result<Made> {
        if fields.contains_key("hash") {
            return Ok(Made::new());
        }
        let key = maker.key()?;
        fields.insert("hash".to_owned(), String::from(KeyHash::of(&key)).into());
        Ok([("key".to_owned(), key.into())].into_iter().collect())
    }

    fn settle(&mut self, _: Option<&Self>, _: &Rules, scopes: Option<&[Scope]>) -> Result<(), Problem> {
        within(&self.scopes, scopes)
    }

    fn owners(&self, snapshot: &Snapshot) -> Vec<(String, String)> {
        let known = self.hashes().filter_map(|(hash, _)| snapshot.owner_of_hash(&hash));
        known.map(|(owner, known)| (owner.id.clone(), known.id.clone())).collect()
    }
}

/// A key grants at most its own scopes: else one that may only manage could make itself one that publishes.
pub(crate) fn within(wanted: &[Scope], own: Option<&[Scope]>) -> Result<(), Problem> {
    match own {
        Some(own) if !wanted.iter().all(|scope| own.contains(scope)) => {
            Err(Problem::new(Code::Forbidden).detail("a key grants at most its own scopes"))
        }
        _ => Ok(()),
    }
}
