//! What must be unique, and among what: ids within their list, tokens and keys among all tenants.

use std::{collections::HashMap, hash::Hash};

use schemas::{KeyHash, Tenant};

use crate::problem::{Path, Report, Step};

/// Ids within one tenant's lists.
pub(super) fn within_tenant(tenant: &Tenant, report: &mut Report) {
    unique("endpoints", tenant.endpoints.iter().map(|endpoint| endpoint.id.as_str()), report);
    unique("subscriptions", tenant.subscriptions.iter().map(|subscription| subscription.id.as_str()), report);
    unique("sources", tenant.sources.iter().map(|source| source.id.as_str()), report);
    unique("keys", tenant.keys.iter().map(|key| key.id.as_str()), report);
}

fn unique<'a>(list: &'static str, ids: impl Iterator<Item = &'a str>, report: &mut Report) {
    let here = report.path().clone();
    let mut seen = Seen::default();
    for (index, id) in ids.enumerate() {
        let mut path = here.clone();
        path.0.extend([Step::Key(list.into()), Step::Index(index), Step::Key("id".into())]);
        seen.see(id, path, "the id is already used at", report);
    }
}

/// Tenants' ids, and what is looked up without knowing the tenant: two owners of one token would be a lottery.
pub(super) fn among_tenants(tenants: &[Tenant], report: &mut Report) {
    let mut ids = Seen::default();
    let mut tokens = Seen::default();
    let mut hashes = Seen::<KeyHash>::default();
    for (at, tenant) in tenants.iter().enumerate() {
        let path = |rest: &[Step]| Path([&[Step::Key("tenants".into()), Step::Index(at)], rest].concat());
        let item = |list, index, key| path(&[Step::Key(list), Step::Index(index), Step::Key(key)]);
        ids.see(tenant.id.as_str(), path(&[Step::Key("id".into())]), "the tenant is already described at", report);
        for (index, source) in tenant.sources.iter().enumerate() {
            for ((token, _), key) in source.tokens().zip(["token", "old_token"]) {
                let path = item("sources".into(), index, key.into());
                tokens.see(token.reveal(), path, "the token is already used at", report);
            }
        }
        for (index, key) in tenant.keys.iter().enumerate() {
            for ((hash, _), key) in key.hashes().zip(["hash", "old_hash"]) {
                hashes.see(hash, item("keys".into(), index, key.into()), "the key is already used at", report);
            }
        }
    }
}

/// Where each value was first.
struct Seen<T>(HashMap<T, Path>);

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Eq + Hash> Seen<T> {
    fn see(&mut self, value: T, path: Path, message: &str, report: &mut Report) {
        match self.0.get(&value) {
            Some(first) => report.say_at(path, message, first.clone()),
            None => _ = self.0.insert(value, path),
        }
    }
}
