//! Everything that a database store holds, as values. Secrets stay encrypted.

use crate::{AuditEntry, UsageReport, row::ItemRow};

/// A database store at one moment.
#[derive(Debug, Default)]
pub(crate) struct StoreDump {
    pub(crate) meta: StoreMeta,
    pub(crate) rows: Vec<ItemRow>,
    pub(crate) usage: Vec<UsageReport>,
    /// Entries of the audit log, the oldest first.
    pub(crate) audit: Vec<AuditEntry>,
}

/// The one row of the table `meta`.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoreMeta {
    pub(crate) revision: u64,
    /// The last revision of which rows of removed items were deleted.
    pub(crate) forgotten: u64,
    /// A known text, encrypted: a wrong key is found out even where there is no secret yet.
    pub(crate) proof: Option<Vec<u8>>,
}
