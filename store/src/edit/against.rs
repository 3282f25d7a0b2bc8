//! A decision carried out against the snapshot that is in force, under the lock of whoever calls.

use std::collections::BTreeSet;

use schemas::Tenant;

use super::{Decision, Draft, EditRefusal, ItemChange, TenantSelection, work_out};
use crate::{
    Snapshot, TenantSnapshot,
    problem::{FieldPath, InvalidField, PathSegment},
};

/// What a decision changes at a time (unix ms), given that the snapshot is all there is. Pure.
///
/// # Errors
/// Whatever [`decide`](super::decide) refuses, and what another tenant already has: tokens and keys are looked up without knowing the
/// tenant.
pub(crate) fn against(
    snapshot: &Snapshot,
    selection: &TenantSelection,
    at: u64,
    decision: Decision,
) -> Result<Vec<ItemChange>, EditRefusal> {
    let loaded = snapshot.tenants().filter(|tenant| selection.includes(&tenant.id));
    let draft = Draft::new(loaded.map(|tenant| (tenant.to_tenant(), tenant.versions.clone())));
    let (changes, after) = work_out(draft, at, decision)?;
    let touched: BTreeSet<&str> = changes.iter().map(|change| change.tenant.as_str()).collect();
    if let Some(out) = touched.iter().find(|id| !selection.includes(id) && snapshot.tenant(id).is_some()) {
        // It was not loaded, so that what it has would be overwritten unseen.
        return Err(EditRefusal::Conflict(format!("the tenant {out} exists, and was not reached for")));
    }
    let problems = taken(snapshot, &touched, &after);
    if problems.is_empty() { Ok(changes) } else { Err(EditRefusal::Invalid(problems)) }
}

/// Tokens and keys that a tenant which is not touched has already.
fn taken(snapshot: &Snapshot, touched: &BTreeSet<&str>, after: &[Tenant]) -> Vec<InvalidField> {
    let elsewhere = |owner: &TenantSnapshot| !touched.contains(owner.id.as_str());
    let mut problems = Vec::new();
    let mut complain = |at: usize, list: &'static str, index: usize, key: &'static str, message: &str| {
        let step = |key: &'static str| PathSegment::Key(key.into());
        let path =
            FieldPath(vec![step("tenants"), PathSegment::Index(at), step(list), PathSegment::Index(index), step(key)]);
        problems.push(InvalidField { path, message: message.to_owned(), other: None });
    };
    for (at, tenant) in after.iter().enumerate() {
        for (index, source) in tenant.sources.iter().enumerate() {
            for ((token, _), key) in source.tokens().zip(["token", "old_token"]) {
                if snapshot.owner_of_token(token.reveal()).is_some_and(|known| elsewhere(&known.tenant)) {
                    complain(at, "sources", index, key, "the token is already in use");
                }
            }
        }
        for (index, key) in tenant.keys.iter().enumerate() {
            for ((hash, _), key) in key.hashes().zip(["hash", "old_hash"]) {
                if snapshot.owner_of_hash(&hash).is_some_and(|(tenant, _)| elsewhere(tenant)) {
                    complain(at, "keys", index, key, "the key is already in use");
                }
            }
        }
    }
    problems
}

impl TenantSelection {
    /// Whether a tenant is loaded.
    fn includes(&self, tenant: &str) -> bool {
        match self {
            Self::All => true,
            Self::Tenants(ids) => ids.iter().any(|id| id == tenant),
        }
    }
}
