use crate::{AuditEntry, UsageReport, row::ItemRow};

/// Everything that a database store holds at one moment, but for jobs and leases. Secrets stay encrypted.
#[derive(Debug, Default)]
pub(crate) struct StoreDump {
    pub(crate) meta: StoreMeta,
    pub(crate) rows: Vec<ItemRow>,
    pub(crate) usage: Vec<UsageReport>,
    /// The oldest entry first.
    pub(crate) audit: Vec<AuditEntry>,
}

/// The one row of the table `meta`.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoreMeta {
    pub(crate) revision: u64,
    /// Last revision whose rows of removed items were deleted.
    pub(crate) forgotten: u64,
    /// A known text, encrypted. It reveals a wrong key even while there is no secret.
    pub(crate) proof: Option<Vec<u8>>,
}
