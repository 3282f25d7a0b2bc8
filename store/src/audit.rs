//! The entries of the audit log that a change makes: the same in every store.

use std::net::IpAddr;

use schemas::time::rfc3339;

use crate::{AuditEntry, Author, Change, Item};

/// Who changed something, and when.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) author: Author,
    /// Unix milliseconds.
    pub(crate) at: u64,
}

impl Signed {
    /// What is written down of one change that made this revision.
    pub(crate) fn entry(&self, id: u64, revision: u64, change: &Change) -> AuditEntry {
        AuditEntry {
            id,
            at: rfc3339(self.at),
            revision,
            tenant: change.tenant.clone(),
            author: self.author.name.clone(),
            address: self.author.address.as_ref().map(IpAddr::to_string),
            kind: change.kind.name().to_owned(),
            item: change.id.clone(),
            before: change.before.as_ref().map(Item::shown),
            after: change.after.as_ref().map(Item::shown),
        }
    }
}
