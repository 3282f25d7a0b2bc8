//! How many dead letters of each tenant with a quota are alive: read from the log as it grows.
//!
//! Holds an id and a place for each, and no more of them than some ten times the quota, since nothing is appended
//! beyond. Tenants without a quota are not looked at.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use broker::{Log, Logs, ReadError, Record, records::ReplayMarker};
use futures_util::TryStreamExt as _;
use schemas::{DeadLetterRetention, wire};
use uuid::Uuid;

/// How many countings pass between two looks for the log's beginning: an hour, and the log forgets over weeks.
const COUNTINGS: u32 = 360;

/// What was counted, and how far.
#[derive(Debug, Default)]
pub(crate) struct Census {
    /// The first offset that was not read.
    next: u64,
    tenants: BTreeMap<String, HashMap<Uuid, Alive>>,
    countings: u32,
}

#[derive(Debug)]
struct Alive {
    offset: u64,
    has_body: bool,
}

impl Census {
    /// Counts on to the log's present end, for these tenants.
    pub(crate) async fn count(&mut self, logs: &dyn Logs, tenants: &BTreeSet<String>) -> Result<(), ReadError> {
        self.look_at(tenants);
        if tenants.is_empty() {
            return Ok(());
        }
        let mut records = logs.read(Log::Dead, self.next);
        while let Some(record) = records.try_next().await? {
            self.next = record.offset + 1;
            self.take(&record);
        }
        self.countings += 1;
        if self.countings.is_multiple_of(COUNTINGS)
            && let Some(first) = logs.read(Log::Dead, 0).try_next().await?
        {
            self.forget_before(first.offset);
        }
        Ok(())
    }

    /// A tenant that was not looked at before makes it begin anew.
    fn look_at(&mut self, tenants: &BTreeSet<String>) {
        if tenants.iter().any(|tenant| !self.tenants.contains_key(tenant)) {
            self.next = 0;
            self.tenants = tenants.iter().map(|tenant| (tenant.clone(), HashMap::new())).collect();
        }
        self.tenants.retain(|tenant, _| tenants.contains(tenant));
    }

    fn take(&mut self, record: &Record) {
        let tenant = record.message.headers.text(wire::TENANT).unwrap_or_default();
        let Some(alive) = self.tenants.get_mut(tenant) else { return };
        if ReplayMarker::is_marker(record) {
            let marker = ReplayMarker::read(record);
            let ended =
                |marker: &ReplayMarker| alive.get(&marker.delivery_id).is_some_and(|at| at.offset <= marker.offset);
            if let Some(marker) = marker.filter(ended) {
                alive.remove(&marker.delivery_id);
            }
        } else if let Some(id) = record.message.headers.text(wire::DELIVERY_ID).and_then(|id| id.parse().ok()) {
            alive.insert(id, Alive { offset: record.offset, has_body: !record.message.body.is_empty() });
        }
    }

    fn forget_before(&mut self, first: u64) {
        for alive in self.tenants.values_mut() {
            alive.retain(|_, alive| alive.offset >= first);
        }
    }

    /// What is kept of a tenant's dead letters from now on.
    pub(crate) fn level(&self, tenant: &str, quota: u64) -> DeadLetterRetention {
        let Some(alive) = self.tenants.get(tenant) else { return DeadLetterRetention::Bodies };
        let with_bodies = alive.values().filter(|alive| alive.has_body).count();
        DeadLetterRetention::of(with_bodies as u64, alive.len() as u64, Some(quota))
    }
}
