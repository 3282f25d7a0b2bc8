//! Quotas of dead letters decide how much of each tenant's dead letters is kept: bodies up to the quota, records
//! without bodies up to ten times the quota, and only counts beyond that.
//!
//! The counter follows the log as it grows. It holds an id and an offset for each live dead letter of a tenant with a
//! quota, which is some ten times the quota at most. Tenants without a quota are not counted.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use broker::{Log, Logs, ReadError, Record, records::ReplayMarker};
use futures_util::TryStreamExt as _;
use schemas::{DeadLetterRetention, Notice, OperationalEvent, QuotaName, wire};
use uuid::Uuid;

use crate::Control;

/// Interval at which dead letters are counted and the result is announced. Deliverers forget an announcement after six
/// intervals. A flood may exceed a quota in between.
const INTERVAL: Duration = Duration::from_secs(10);

/// Number of counts after which records that the log has deleted are forgotten: once an hour. The log keeps records for
/// weeks, so that is often enough.
const COUNTS_PER_TRIM: u32 = 360;

impl Control {
    /// Counts dead letters and announces what is kept of them, until the future is dropped. A process that starts to
    /// listen gets the last announcement at once.
    pub async fn watch_dead_letters(&self) {
        let (mut counter, mut reached, mut is_readable) = (DeadLetterCounter::default(), BTreeMap::new(), true);
        loop {
            let quotas = self.dead_letter_quotas();
            match counter.count(&*self.deps.broker, &quotas.keys().cloned().collect()).await {
                Ok(()) => (reached, is_readable) = (reached_quotas(&counter, &quotas), true),
                // The last result stays in force: nothing better is known.
                Err(error) if std::mem::take(&mut is_readable) => tracing::warn!(%error, "dead_letters.not_counted"),
                Err(_) => {}
            }
            self.announce_retention(&reached, &quotas).await;
            let pause = tokio::time::sleep(INTERVAL);
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    () = self.new_listener.notified() => self.announce_retention(&reached, &quotas).await,
                }
            }
        }
    }

    fn dead_letter_quotas(&self) -> BTreeMap<String, u64> {
        let Some(snapshot) = self.deps.store.snapshot() else { return BTreeMap::new() };
        let quotas = snapshot.tenants().filter_map(|tenant| Some((tenant.id.clone(), tenant.quota.dead_letters?)));
        quotas.collect()
    }

    async fn announce_retention(
        &self,
        reached: &BTreeMap<String, DeadLetterRetention>,
        quotas: &BTreeMap<String, u64>,
    ) {
        self.metrics.dead_letter_quotas_reached.set(i64::try_from(reached.len()).unwrap_or(i64::MAX));
        self.deps.broker.announce(Notice::DeadLetterRetention { by_tenant: reached.clone() }.write().into());
        let now = (self.deps.clock)();
        for tenant in reached.keys() {
            let quota = quotas.get(tenant).copied().unwrap_or_default();
            let event = OperationalEvent::quota_reached(tenant, QuotaName::DeadLetters, quota as f64, now);
            if let Err(error) = self.publish_event(tenant, &event).await {
                tracing::debug!(%error, event_id = %event.id, tenant, "event.told_later");
            }
        }
    }
}

/// Tenants that have reached a quota, each with how much of its dead letters is still kept.
fn reached_quotas(
    counter: &DeadLetterCounter,
    quotas: &BTreeMap<String, u64>,
) -> BTreeMap<String, DeadLetterRetention> {
    let retention = quotas.iter().map(|(tenant, quota)| (tenant.clone(), counter.retention(tenant, *quota)));
    retention.filter(|(_, retention)| *retention != DeadLetterRetention::Bodies).collect()
}

/// The live dead letters of tenants with a quota, as far as the log was read.
#[derive(Debug, Default)]
struct DeadLetterCounter {
    /// Offset at which the next count begins.
    next: u64,
    tenants: BTreeMap<String, HashMap<Uuid, LiveRecord>>,
    counts: u32,
}

/// The latest record of a live dead letter.
#[derive(Debug)]
struct LiveRecord {
    offset: u64,
    has_body: bool,
}

impl DeadLetterCounter {
    /// Counts from the last offset to the present end of the log.
    async fn count(&mut self, logs: &dyn Logs, tenants: &BTreeSet<String>) -> Result<(), ReadError> {
        self.set_tenants(tenants);
        if tenants.is_empty() {
            return Ok(());
        }
        let mut records = logs.read(Log::Dead, self.next);
        while let Some(record) = records.try_next().await? {
            self.next = record.offset + 1;
            self.add(&record);
        }
        self.counts += 1;
        if self.counts.is_multiple_of(COUNTS_PER_TRIM)
            && let Some(first) = logs.read(Log::Dead, 0).try_next().await?
        {
            self.forget_before(first.offset);
        }
        Ok(())
    }

    /// Sets the tenants to count. A new one makes the count start again at the beginning of the log.
    fn set_tenants(&mut self, tenants: &BTreeSet<String>) {
        if tenants.iter().any(|tenant| !self.tenants.contains_key(tenant)) {
            self.next = 0;
            self.tenants = tenants.iter().map(|tenant| (tenant.clone(), HashMap::new())).collect();
        }
        self.tenants.retain(|tenant, _| tenants.contains(tenant));
    }

    fn add(&mut self, record: &Record) {
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
            alive.insert(id, LiveRecord { offset: record.offset, has_body: !record.message.body.is_empty() });
        }
    }

    fn forget_before(&mut self, first: u64) {
        for alive in self.tenants.values_mut() {
            alive.retain(|_, alive| alive.offset >= first);
        }
    }

    fn retention(&self, tenant: &str, quota: u64) -> DeadLetterRetention {
        let Some(alive) = self.tenants.get(tenant) else { return DeadLetterRetention::Bodies };
        let with_bodies = alive.values().filter(|alive| alive.has_body).count();
        DeadLetterRetention::of(with_bodies as u64, alive.len() as u64, Some(quota))
    }
}
