//! What is kept besides the configuration: how much each tenant used, and who changed what.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use schemas::Counts;
use serde::Serialize;
use serde_json::Value;

use crate::StoreError;

/// Usage and the audit log.
pub trait UsageAndAudit: Send + Sync {
    /// Keeps what processes say they have done. Reports are cumulative: the same or an older one again changes nothing.
    fn record_usage(&self, reports: Vec<UsageReport>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// A tenant's usage by day and endpoint, from a day to a day (`2026-11-21`, inclusive), in that order.
    fn usage<'a>(
        &'a self,
        tenant: &'a str,
        from: &'a str,
        to: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Usage>, StoreError>>;

    /// Changes, the newest first, at most `limit`, older than the entry `before`. Without a tenant, those of all.
    fn audit<'a>(
        &'a self,
        tenant: Option<&'a str>,
        before: Option<u64>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<AuditEntry>, StoreError>>;

    /// Forgets changes that were made before a time, in unix milliseconds, and says how many. In pieces, so that nobody
    /// waits long for it. The oldest go first, until one is young enough: where clocks differ, some stay a little longer.
    fn trim_audit(&self, before: u64) -> BoxFuture<'_, Result<u64, StoreError>>;
}

/// Entries of the audit log that are forgotten before it is somebody else's turn.
pub(crate) const TRIMMED_AT_ONCE: u32 = 500;

/// What one process did on one day for one endpoint, or, without an endpoint, for the tenant as such (events).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageReport {
    /// Which process: an id made at its start.
    pub process: String,
    /// Rises with every report of the process.
    pub sequence: u64,
    /// Whose.
    pub tenant: String,
    /// For which endpoint; none for what is not one endpoint's.
    pub endpoint_id: Option<String>,
    /// In UTC: `2026-11-21`.
    pub day: String,
    /// Since the process started, on this day.
    pub counts: Counts,
}

/// Of each process, tenant, endpoint and day the newest report, in an order that is the same everywhere: whoever writes
/// them in it never waits for one who waits for him.
pub(crate) fn newest(reports: Vec<UsageReport>) -> Vec<UsageReport> {
    let mut newest: BTreeMap<_, UsageReport> = BTreeMap::new();
    for report in reports {
        let place = (report.tenant.clone(), report.day.clone(), report.endpoint_id.clone(), report.process.clone());
        let known = newest.get(&place).map_or(0, |known| known.sequence);
        if report.sequence >= known {
            newest.insert(place, report);
        }
    }
    newest.into_values().collect()
}

/// What was done on one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Usage {
    /// In UTC: `2026-11-21`.
    pub day: String,
    /// For which endpoint; left out for what is not one endpoint's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_id: Option<String>,
    /// How much.
    #[serde(flatten)]
    pub counts: Counts,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct AuditEntry {
    /// Rises.
    pub id: u64,
    /// When: RFC 3339.
    pub at: String,
    /// The revision it made.
    pub revision: u64,
    /// Whose configuration.
    pub tenant: String,
    /// Who: `operator`, `key:<tenant>/<id>`, or a part of carteiro that acted by itself.
    pub author: String,
    /// Where the request came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What: `tenant`, `endpoint`, `subscription`, `source` or `key`.
    pub kind: String,
    /// Its id.
    pub item: String,
    /// As it was, secrets masked; left out when it is new. Of what is long only the fields that changed are kept, if even
    /// these, and `omitted_bytes` says how long it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// As it is, secrets masked; left out when it is gone. What is long is kept as in `before`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}
