//! What a store keeps besides the configuration: how much each tenant used, and an audit log of changes.

use std::{collections::BTreeMap, net::IpAddr};

use futures_util::future::BoxFuture;
use schemas::{Counts, time::rfc3339};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{Author, Item, ItemChange, StoreError};

/// Largest number of audit entries that are deleted at once, so that other work does not wait long.
pub(crate) const TRIMMED_AT_ONCE: u32 = 500;

/// Largest number of tenants' days that are rolled up in one transaction.
pub(crate) const ROLLED_UP_AT_ONCE: usize = 100;

/// Largest size of an item in the audit log, before or after a change, in bytes of JSON. An endpoint with many headers,
/// or a subscription with some hundred ids, is kept whole; the largest request would take a hundred times this with
/// every change.
const LARGEST_ITEM: usize = 16 << 10;

/// Field that replaces what was left out. Its value is the size of the whole item, in bytes.
const OMITTED: &str = "omitted_bytes";

pub trait UsageAndAudit: Send + Sync {
    /// Stores reports of processes. Reports are cumulative, so the same or an older one again changes nothing. Returns
    /// how many came too late: their endpoint's day was rolled up, which may have counted a part of them, so they are
    /// left out.
    fn record_usage(&self, reports: Vec<UsageReport>) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Returns a tenant's usage by day and endpoint, in that order, between two days (`2026-11-21`), both included.
    fn usage<'a>(
        &'a self,
        tenant: &'a str,
        scope: UsageScope<'a>,
        from: &'a str,
        to: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Usage>, StoreError>>;

    /// Returns changes of a tenant, or of all tenants, that are older than the entry `before`: the newest first, at
    /// most `limit`.
    fn audit<'a>(
        &'a self,
        tenant: Option<&'a str>,
        before: Option<u64>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<AuditEntry>, StoreError>>;

    /// Adds an entry about what somebody did without changing the configuration. Its id is ignored: it gets the next one.
    fn add_audit(&self, entry: AuditEntry) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Deletes entries that are older than a time, in unix milliseconds, and returns how many. It deletes in pieces, so
    /// that other work does not wait long. It stops at the first entry that is young enough, so that some older ones
    /// may stay a little longer when the clocks of processes differ.
    fn trim_audit(&self, before: u64) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Adds usage from before a day up to one row for each tenant, endpoint and day, in pieces, and returns how many
    /// rows went into the sums. A report of such a day that comes later is left out.
    fn roll_up_usage<'a>(&'a self, before: &'a str) -> BoxFuture<'a, Result<u64, StoreError>>;

    /// Deletes usage from before a day, in pieces, and returns how many rows it had.
    fn trim_usage<'a>(&'a self, before: &'a str) -> BoxFuture<'a, Result<u64, StoreError>>;
}

/// Which usage of a tenant is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageScope<'a> {
    /// The sum of everything, by day.
    Tenant,
    /// Each endpoint by itself.
    Endpoints,
    /// One endpoint.
    Endpoint(&'a str),
}

/// Usage that one process counted on one day for one endpoint or, without an endpoint, for the tenant itself (events).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageReport {
    /// The process's id, made at its start.
    pub process: String,
    /// Rises with every report of the process.
    pub sequence: u64,
    pub tenant: String,
    pub endpoint_id: Option<String>,
    /// In UTC: `2026-11-21`.
    pub day: String,
    /// Counts of this day, since the process started.
    pub counts: Counts,
}

/// Returns the newest report of each process, tenant, endpoint and day. All processes write them in the same order, so
/// that two transactions never wait for each other.
pub(crate) fn newest(reports: Vec<UsageReport>) -> Vec<UsageReport> {
    let mut newest: BTreeMap<_, UsageReport> = BTreeMap::new();
    for report in reports {
        let key = (report.tenant.clone(), report.day.clone(), report.endpoint_id.clone(), report.process.clone());
        let known = newest.get(&key).map_or(0, |known| known.sequence);
        if report.sequence >= known {
            newest.insert(key, report);
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

/// One change of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct AuditEntry {
    /// Number of the entry, which rises.
    pub id: u64,
    /// Time of the change, RFC 3339.
    pub at: String,
    /// Revision of the configuration that the change made.
    pub revision: u64,
    /// Id of the tenant whose configuration was changed.
    pub tenant: String,
    /// Who made the change: `operator`, `key:<tenant>/<id>`, or a part of carteiro that acted by itself.
    pub author: String,
    /// Address that the request came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Kind of what was changed: `tenant`, `endpoint`, `subscription`, `source` or `key`; or `erasure`, which changes nothing of
    /// the configuration.
    pub kind: String,
    /// Id of what was changed.
    pub item: String,
    /// What it was before, secrets masked; left out when it is new. Of what is long, at most the fields that changed are
    /// kept, and `omitted_bytes` says how long it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What it is now, secrets masked; left out when it is deleted. What is long is kept as in `before`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// The author and the time of a change, in unix milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct AuditStamp {
    pub(crate) author: Author,
    pub(crate) at: u64,
}

impl AuditStamp {
    /// Makes the audit entry of one change.
    pub(crate) fn entry(&self, id: u64, revision: u64, change: &ItemChange) -> AuditEntry {
        let [before, after] = [&change.before, &change.after].map(|item| item.as_ref().map(Item::shown));
        AuditEntry {
            id,
            at: rfc3339(self.at),
            revision,
            tenant: change.tenant.clone(),
            author: self.author.name.clone(),
            address: self.author.address.as_ref().map(IpAddr::to_string),
            kind: change.kind.name().to_owned(),
            item: change.id.clone(),
            before: before.as_ref().map(|shown| shortened(shown, after.as_ref())),
            after: after.as_ref().map(|shown| shortened(shown, before.as_ref())),
        }
    }
}

/// Shortens one side of a change: a short item stays whole, and a long one keeps only the fields in which it differs
/// from the other side, if these are short enough.
fn shortened(shown: &Value, other: Option<&Value>) -> Value {
    let bytes = length(shown);
    if bytes <= LARGEST_ITEM {
        return shown.clone();
    }
    let fields = shown.as_object().into_iter().flatten();
    let changed = fields.filter(|(name, value)| other.is_none_or(|other| other.get(name) != Some(value)));
    let mut changed: Map<_, _> = changed.map(|(name, value)| (name.clone(), value.clone())).collect();
    changed.insert(OMITTED.to_owned(), bytes.into());
    let changed = Value::Object(changed);
    if length(&changed) <= LARGEST_ITEM { changed } else { json!({OMITTED: bytes}) }
}

fn length(json: &Value) -> usize {
    json.to_string().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audit_entry_keeps_a_short_item_whole() {
        let (before, after) = (json!({"id": "crm", "name": "a"}), json!({"id": "crm"}));
        assert_eq!((shortened(&before, Some(&after)), shortened(&after, Some(&before))), (before, after));
    }

    #[test]
    fn an_audit_entry_keeps_the_changed_fields_of_a_long_item_and_its_length() {
        let ids: Vec<_> = (0..10_000).collect();
        let (before, after) = (json!({"id": "s", "ids": ids, "name": "a"}), json!({"id": "s", "ids": ids, "more": 1}));
        let lengths = [&before, &after].map(length);
        assert_eq!(shortened(&before, Some(&after)), json!({"name": "a", "omitted_bytes": lengths[0]}));
        assert_eq!(shortened(&after, Some(&before)), json!({"more": 1, "omitted_bytes": lengths[1]}));
    }

    #[test]
    fn an_audit_entry_keeps_only_the_length_of_a_change_that_is_long_itself() {
        let long = json!({"id": "s", "name": "a".repeat(LARGEST_ITEM)});
        let marker = json!({"omitted_bytes": length(&long)});
        assert_eq!(shortened(&long, None), marker, "all of it is new");
        assert_eq!(shortened(&long, Some(&json!({"id": "s"}))), marker);
        assert_eq!(shortened(&json!({"id": "s"}), Some(&long)), json!({"id": "s"}));
    }
}
