//! Changes the configuration: a decision runs on a draft of the selected tenants, all or nothing.
//!
//! [`decide`] is pure: a store loads tenants into it and writes the changes that it returns. A store adds the lock, the
//! rows and the revision, and makes no decisions of its own.

mod draft;
mod error;
mod item;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use schemas::{Endpoint, Key, SourceConfig, Tenant};

pub(crate) use self::item::items;
pub use self::{
    draft::{Draft, ItemVersion, Versions},
    error::{EditError, EditRefusal},
    item::{Item, ItemChange, ItemKind},
};
use crate::{FieldPath, InvalidField, PathSegment, Snapshot, TenantSnapshot, validate};

pub struct Edit {
    /// The tenants that the decision looks at and may change.
    pub selection: TenantSelection,
    pub author: Author,
    /// The time of the change, in unix milliseconds.
    pub at: u64,
    /// True when the edit only reports what it would change.
    pub dry_run: bool,
    pub decision: Decision,
}

/// Changes the draft. It runs once, while the store holds a lock, so it must not wait for anything.
pub type Decision = Box<dyn FnOnce(&mut Draft) -> Result<(), EditRefusal> + Send>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TenantSelection {
    /// The tenants of these ids, as far as they exist.
    Tenants(Vec<String>),
    All,
}

impl TenantSelection {
    fn includes(&self, tenant: &str) -> bool {
        match self {
            Self::All => true,
            Self::Tenants(ids) => ids.iter().any(|id| id == tenant),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// `operator`, `key:<tenant>/<id>`, or the part of carteiro that acts by itself.
    pub name: String,
    /// Address of the request's sender. None when the change was not requested over HTTP.
    pub address: Option<IpAddr>,
}

/// The result of an edit or, in a dry run, what it would be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edited {
    /// The store's revision after the edit. It is unchanged when nothing was changed.
    pub revision: u64,
    /// Sorted by tenant, kind and id.
    pub changes: Vec<ItemChange>,
}

/// Carries a decision out on a draft, at a time in unix milliseconds, and returns the changes.
///
/// # Errors
/// The decision refuses, or the result would be invalid.
pub fn decide(draft: Draft, at: u64, decision: Decision) -> Result<Vec<ItemChange>, EditRefusal> {
    work_out(draft, at, decision).map(|(changes, _)| changes)
}

/// Does the same as [`decide`], and also returns the changed tenants as they are afterwards.
fn work_out(mut draft: Draft, at: u64, decision: Decision) -> Result<(Vec<ItemChange>, Vec<Tenant>), EditRefusal> {
    let before = draft.tenants().clone();
    decision(&mut draft)?;
    remove_expired(&before, &mut draft, at);
    let changes = item::between(&before, &draft);
    let touched = |id: &String| changes.iter().any(|change| change.tenant == *id);
    let after: Vec<_> =
        draft.tenants().iter().filter(|(id, _)| touched(id)).map(|(_, tenant)| tenant.clone()).collect();
    let problems = validate::tenants(&after);
    if problems.is_empty() { Ok((changes, after)) } else { Err(EditRefusal::Invalid(problems)) }
}

/// Removes expired secrets from every changed item, so that nothing has to be written at the moment they expire.
/// Unchanged items keep them, because their version must stay.
fn remove_expired(before: &BTreeMap<String, Tenant>, draft: &mut Draft, now: u64) {
    for tenant in draft.tenants_mut() {
        let old = before.get(&tenant.id);
        remove_in(old.map(|old| &*old.endpoints), &mut tenant.endpoints, |one| Endpoint::forget_ended(one, now));
        remove_in(old.map(|old| &*old.sources), &mut tenant.sources, |one| SourceConfig::forget_ended(one, now));
        remove_in(old.map(|old| &*old.keys), &mut tenant.keys, |one| Key::forget_ended(one, now));
    }
}

fn remove_in<T: Clone + PartialEq>(before: Option<&[T]>, after: &mut [T], remove: impl Fn(&mut T)) {
    for item in after {
        let mut tidy = item.clone();
        remove(&mut tidy);
        if tidy != *item && !before.is_some_and(|before| before.contains(item)) {
            *item = tidy;
        }
    }
}

/// Returns what a decision changes in a snapshot, at a time in unix milliseconds. The caller holds its store's lock.
///
/// # Errors
/// The refusals of [`decide`], and a token or key that another tenant has: those are looked up without knowing the
/// tenant.
pub(crate) fn decide_on(
    snapshot: &Snapshot,
    selection: &TenantSelection,
    at: u64,
    decision: Decision,
) -> Result<Vec<ItemChange>, EditRefusal> {
    let loaded = snapshot.tenants().filter(|tenant| selection.includes(&tenant.id));
    let draft = Draft::new(loaded.map(|tenant| (tenant.to_tenant(), tenant.versions.clone())));
    let (changes, after) = work_out(draft, at, decision)?;
    let touched: BTreeSet<&str> = changes.iter().map(|change| change.tenant.as_str()).collect();
    if let Some(id) = touched.iter().find(|id| !selection.includes(id) && snapshot.tenant(id).is_some()) {
        // The tenant was not loaded, so the change would overwrite it unseen.
        return Err(EditRefusal::Conflict(format!("the tenant {id} exists, and was not selected")));
    }
    let problems = taken(snapshot, &touched, &after);
    if problems.is_empty() { Ok(changes) } else { Err(EditRefusal::Invalid(problems)) }
}

/// Returns the tokens and keys that an untouched tenant has already.
fn taken(snapshot: &Snapshot, touched: &BTreeSet<&str>, after: &[Tenant]) -> Vec<InvalidField> {
    let elsewhere = |owner: &TenantSnapshot| !touched.contains(owner.id.as_str());
    let mut problems = Vec::new();
    let mut add = |at: usize, list: &'static str, index: usize, key: &'static str, message: &str| {
        let segment = |key: &'static str| PathSegment::Key(key.into());
        let path =
            vec![segment("tenants"), PathSegment::Index(at), segment(list), PathSegment::Index(index), segment(key)];
        problems.push(InvalidField { path: FieldPath(path), message: message.to_owned(), other: None });
    };
    for (at, tenant) in after.iter().enumerate() {
        for (index, source) in tenant.sources.iter().enumerate() {
            for ((token, _), key) in source.tokens().zip(["token", "old_token"]) {
                if snapshot.owner_of_token(token.reveal()).is_some_and(|known| elsewhere(&known.tenant)) {
                    add(at, "sources", index, key, "the token is already in use");
                }
            }
        }
        for (index, key) in tenant.keys.iter().enumerate() {
            for ((hash, _), key) in key.hashes().zip(["hash", "old_hash"]) {
                if snapshot.owner_of_hash(&hash).is_some_and(|(tenant, _)| elsewhere(tenant)) {
                    add(at, "keys", index, key, "the key is already in use");
                }
            }
        }
    }
    problems
}
