//! Checks what must be unique: ids within their list, tokens and keys among all tenants.

use std::{collections::HashMap, hash::Hash};

use schemas::{KeyHash, Tenant};

use crate::invalid_field::{FieldPath, PathSegment, ValidationReport};

/// Checks the ids within one tenant's lists.
pub(super) fn within_tenant(tenant: &Tenant, report: &mut ValidationReport) {
    unique("endpoints", tenant.endpoints.iter().map(|endpoint| endpoint.id.as_str()), report);
    unique("subscriptions", tenant.subscriptions.iter().map(|subscription| subscription.id.as_str()), report);
    unique("sources", tenant.sources.iter().map(|source| source.id.as_str()), report);
    unique("keys", tenant.keys.iter().map(|key| key.id.as_str()), report);
}

fn unique<'a>(list: &'static str, ids: impl Iterator<Item = &'a str>, report: &mut ValidationReport) {
    let here = report.path().clone();
    let mut seen = FirstUses::default();
    for (index, id) in ids.enumerate() {
        let mut path = here.clone();
        path.0.extend([PathSegment::Key(list.into()), PathSegment::Index(index), PathSegment::Key("id".into())]);
        seen.see(id, path, "the id is already used at", report);
    }
}

/// Checks tenants' ids, tokens and keys. A token or key is looked up without knowing its tenant, so it must have one
/// owner.
pub(super) fn among_tenants(tenants: &[Tenant], report: &mut ValidationReport) {
    let mut ids = FirstUses::default();
    let mut tokens = FirstUses::default();
    let mut hashes = FirstUses::<KeyHash>::default();
    for (at, tenant) in tenants.iter().enumerate() {
        let path = |rest: &[PathSegment]| {
            FieldPath([&[PathSegment::Key("tenants".into()), PathSegment::Index(at)], rest].concat())
        };
        let item = |list, index, key| path(&[PathSegment::Key(list), PathSegment::Index(index), PathSegment::Key(key)]);
        ids.see(
            tenant.id.as_str(),
            path(&[PathSegment::Key("id".into())]),
            "the tenant is already described at",
            report,
        );
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

struct FirstUses<T>(HashMap<T, FieldPath>);

impl<T> Default for FirstUses<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Eq + Hash> FirstUses<T> {
    fn see(&mut self, value: T, path: FieldPath, message: &str, report: &mut ValidationReport) {
        match self.0.get(&value) {
            Some(first) => report.add_at(path, message, first.clone()),
            None => _ = self.0.insert(value, path),
        }
    }
}
