//! The one way in which anything is changed: a decision over a draft of the touched tenants, all or nothing.
//!
//! [`decide`] is pure: what a store loaded in, the changes it must write out. A store adds the lock, the rows and the
//! revision, and nothing of its own mind.

mod against;
mod change;
mod draft;
mod ended;

use std::net::IpAddr;

use schemas::Tenant;

use crate::{InvalidField, StoreError, validate};

pub(crate) use against::against;
pub(crate) use change::items;
pub use change::{Item, ItemChange, ItemKind};
pub use draft::{Draft, Versions};

/// What is to be changed.
pub struct Edit {
    /// Whose configuration the decision looks at and may change.
    pub selection: TenantSelection,
    /// Who wants it, for the audit log.
    pub author: Author,
    /// When, in unix milliseconds.
    pub at: u64,
    /// Only say what would change.
    pub dry_run: bool,
    /// What is wanted.
    pub decision: Decision,
}

/// What is done to the draft. It runs once, while the store holds a lock: no waiting in it.
pub type Decision = Box<dyn FnOnce(&mut Draft) -> Result<(), EditRefusal> + Send>;

/// Which tenants are loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TenantSelection {
    /// These, as far as they exist.
    Tenants(Vec<String>),
    /// All.
    All,
}

/// Who changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// `operator`, `key:<tenant>/<id>`, or the part of carteiro that acts by itself.
    pub name: String,
    /// Where the request came from, if it was one.
    pub address: Option<IpAddr>,
}

/// What was changed, or would be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edited {
    /// At which revision the store is now. Unchanged when nothing was changed.
    pub revision: u64,
    /// What, in the order of tenants, kinds and ids.
    pub changes: Vec<ItemChange>,
}

/// Why a decision was not carried out. Nothing was changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EditRefusal {
    /// There is no such thing.
    #[error("there is no such {}", .0.name())]
    NoSuch(ItemKind),
    /// It was changed since the version that the caller knows.
    #[error("it was changed in the meantime")]
    Stale,
    /// Something else forbids it.
    #[error("{0}")]
    Conflict(String),
    /// The result would not be valid; paths begin with `tenants`, in the order of the draft.
    #[error("the result would not be valid")]
    Invalid(Vec<InvalidField>),
    /// More than the tenant may have.
    #[error("{0}")]
    Quota(String),
}

/// Why nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EditError {
    /// The decision, or what must always be true, does not allow it.
    #[error(transparent)]
    Refused(#[from] EditRefusal),
    /// This store is changed by other means.
    #[error("this store is read only: change its files")]
    ReadOnly,
    /// It cannot be done now. Where the line broke at the very end it may be done all the same, whole.
    #[error("the store is away: {0}")]
    Away(#[from] StoreError),
}

/// Carries a decision out on what is configured, at a time (unix ms), and says what follows. Pure.
///
/// # Errors
/// Whatever the decision refuses, or what would make the result invalid.
pub fn decide(draft: Draft, at: u64, decision: Decision) -> Result<Vec<ItemChange>, EditRefusal> {
    work_out(draft, at, decision).map(|(changes, _)| changes)
}

/// As [`decide`]; also the touched tenants as they are afterwards.
fn work_out(mut draft: Draft, at: u64, decision: Decision) -> Result<(Vec<ItemChange>, Vec<Tenant>), EditRefusal> {
    let before = draft.tenants().clone();
    decision(&mut draft)?;
    ended::forget(&before, &mut draft, at);
    let changes = change::between(&before, draft.tenants());
    let touched = |id: &String| changes.iter().any(|change| change.tenant == *id);
    let after: Vec<_> =
        draft.tenants().iter().filter(|(id, _)| touched(id)).map(|(_, tenant)| tenant.clone()).collect();
    let problems = validate::tenants(&after);
    if problems.is_empty() { Ok((changes, after)) } else { Err(EditRefusal::Invalid(problems)) }
}

#[cfg(test)]
mod tests;
