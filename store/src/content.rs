//! All that a database store keeps, as it keeps it: what a backup is made of. Secrets stay sealed.

use crate::{AuditEntry, UsageReport, row::ItemRow};

/// One store at one moment.
#[derive(Debug, Default)]
pub(crate) struct StoreDump {
    pub(crate) revision: u64,
    /// The last revision of which rows of gone items were removed.
    pub(crate) forgotten: u64,
    /// By which the right keys are known.
    pub(crate) proof: Option<Vec<u8>>,
    pub(crate) rows: Vec<ItemRow>,
    pub(crate) usage: Vec<UsageReport>,
    /// In the order of their ids.
    pub(crate) audit: Vec<AuditEntry>,
}
