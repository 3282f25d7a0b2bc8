//! Quotas of dead letters decide how much of each tenant's dead letters is kept: bodies up to the quota, records
//! without bodies up to ten times the quota, and only counts beyond that.
//!
//! The counter follows the log as it grows. It holds an id and an offset for each live dead letter of a tenant with a
//! quota, which is some ten times the quota at most. Tenants without a quota are not counted. What it reads is noted in
//! the index, for all tenants.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use broker::{Log, Logs, ReadError, Record};
use futures_util::TryStreamExt as _;
use schemas::{DeadLetterRetention, Notice, OperationalEvent, QuotaName, wire};

use crate::{Control, dead_letter_index::DeadLetterIndex, dead_letters::read_ranges, live_records::LiveRecords};

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
            let known = self.deps.store.snapshot();
            let known = known.iter().flat_map(|known| known.tenants()).map(|tenant| tenant.id.clone()).collect();
            let (logs, index) = (&*self.deps.broker, &self.dead_letter_index);
            let with_quota = quotas.keys().map(|tenant| (tenant.clone(), self.created(tenant))).collect();
            match counter.count(logs, index, &with_quota, known).await {
                Ok(()) => (reached, is_readable) = (reached_quotas(&counter, &quotas), true),
                // The last result stays in force: nothing better is known.
                Err(error) if !quotas.is_empty() && std::mem::take(&mut is_readable) => {
                    tracing::warn!(%error, "dead_letters.not_counted");
                }
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
    tenants: BTreeMap<String, TenantLetters>,
    /// All tenants that there were at the last count, with a quota or without.
    known: BTreeSet<String>,
    counts: u32,
}

#[derive(Debug)]
struct TenantLetters {
    /// Revision that created the tenant. Dead letters of a former tenant of its id do not count.
    since: u64,
    /// True for those whose bodies were kept.
    live: LiveRecords<bool>,
}

impl TenantLetters {
    fn none_since(since: u64) -> Self {
        Self { since, live: LiveRecords::default() }
    }
}

impl DeadLetterCounter {
    /// Counts from the last offset to the present end of the log. `with_quota` has the revisions that created the tenants
    /// to count, `known` are all tenants that there are.
    async fn count(
        &mut self,
        logs: &dyn Logs,
        index: &DeadLetterIndex,
        with_quota: &BTreeMap<String, u64>,
        known: BTreeSet<String>,
    ) -> Result<(), ReadError> {
        let joined = self.set_tenants(with_quota, known);
        let mut records = logs.read(Log::Dead, self.next);
        while let Some(record) = records.try_next().await? {
            self.next = record.offset + 1;
            add(&mut self.tenants, &record);
            index.add(record.message.headers.text(wire::TENANT).unwrap_or_default(), record.offset);
        }
        for (tenant, since) in joined {
            let mut joined = BTreeMap::from([(tenant.clone(), TenantLetters::none_since(since))]);
            let counted = index.ranges(&tenant, 0).into_iter().filter(|range| *range.start() < self.next);
            let mut records = read_ranges(logs, counted);
            while let Some(record) = records.try_next().await?
                && record.offset < self.next
            {
                add(&mut joined, &record);
            }
            self.tenants.append(&mut joined);
        }
        self.counts += 1;
        if self.counts.is_multiple_of(COUNTS_PER_TRIM)
            && let Some(first) = logs.read(Log::Dead, 0).try_next().await?
        {
            self.forget_before(first.offset);
            index.forget_before(first.offset);
        }
        Ok(())
    }

    /// Sets the tenants to count. Returns those that got their quota after the last count, whose dead letters up to there
    /// are to be counted as well. A tenant that is new itself has none: its count begins where the others are.
    fn set_tenants(&mut self, with_quota: &BTreeMap<String, u64>, known: BTreeSet<String>) -> Vec<(String, u64)> {
        self.tenants.retain(|tenant, letters| with_quota.get(tenant) == Some(&letters.since));
        let added = with_quota.iter().filter(|(tenant, _)| !self.tenants.contains_key(*tenant));
        let added = added.map(|(tenant, since)| (tenant.clone(), *since));
        let (joined, new): (Vec<_>, Vec<_>) =
            added.partition(|(tenant, _)| self.next > 0 && self.known.contains(tenant));
        self.tenants.extend(new.into_iter().map(|(tenant, since)| (tenant, TenantLetters::none_since(since))));
        self.known = known;
        joined
    }

    fn forget_before(&mut self, first: u64) {
        for letters in self.tenants.values_mut() {
            letters.live.forget_before(first);
        }
    }

    fn retention(&self, tenant: &str, quota: u64) -> DeadLetterRetention {
        let Some(TenantLetters { live, .. }) = self.tenants.get(tenant) else { return DeadLetterRetention::Bodies };
        let with_bodies = live.iter().filter(|(_, has_body)| *has_body).count();
        DeadLetterRetention::of(with_bodies as u64, live.len() as u64, Some(quota))
    }
}

/// Adds a record of the log to those of its tenant, if that one is counted.
fn add(tenants: &mut BTreeMap<String, TenantLetters>, record: &Record) {
    let tenant = record.message.headers.text(wire::TENANT).unwrap_or_default();
    let Some(TenantLetters { since, live }) = tenants.get_mut(tenant) else { return };
    live.note(record, *since, |record| {
        let id = record.message.headers.text(wire::DELIVERY_ID)?.parse().ok()?;
        Some((id, Some(!record.message.body.is_empty())))
    });
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use broker::memory::Memory;
    use futures_util::{future::BoxFuture, stream::BoxStream};

    use super::*;
    use crate::tests::fixture::{DeadDelivery, append};

    /// The logs of the memory broker, and the offsets from which they were read.
    struct ReadLogs(Memory, Mutex<Vec<u64>>);

    impl Logs for ReadLogs {
        fn read(&self, log: Log, offset: u64) -> BoxStream<'static, Result<Record, ReadError>> {
            self.1.lock().unwrap().push(offset);
            self.0.read(log, offset)
        }

        fn end(&self, log: Log) -> BoxFuture<'_, Result<u64, ReadError>> {
            self.0.end(log)
        }
    }

    fn alive(counter: &DeadLetterCounter, tenant: &str) -> Option<usize> {
        counter.tenants.get(tenant).map(|letters| letters.live.len())
    }

    fn set(tenants: &[&str]) -> BTreeSet<String> {
        tenants.iter().map(|tenant| (*tenant).to_owned()).collect()
    }

    #[tokio::test]
    async fn a_new_tenant_is_counted_from_the_end_of_the_log_and_one_that_gets_a_quota_from_its_beginning() {
        let logs = ReadLogs(Memory::calm(Arc::new(|| 0)), Mutex::default());
        let die = async |tenant: &str, event: &str| {
            append(&logs.0, &DeadDelivery::default().event(event).to(tenant, "crm")).await;
        };
        let quota = |tenants: &[&str]| tenants.iter().map(|tenant| ((*tenant).to_owned(), 0)).collect();
        let (mut counter, index) = (DeadLetterCounter::default(), DeadLetterIndex::default());
        for tenant in ["acme", "free"] {
            die(tenant, "e1").await;
        }
        counter.count(&logs, &index, &quota(&["acme"]), set(&["acme", "free"])).await.unwrap();
        assert_eq!((alive(&counter, "acme"), alive(&counter, "free")), (Some(1), None));

        die("new", "e1").await;
        counter.count(&logs, &index, &quota(&["acme", "new"]), set(&["acme", "free", "new"])).await.unwrap();
        assert_eq!((alive(&counter, "acme"), alive(&counter, "new")), (Some(1), Some(1)));
        assert_eq!(*logs.1.lock().unwrap(), [0, 2]);

        die("free", "e2").await;
        counter.count(&logs, &index, &quota(&["acme", "free", "new"]), set(&["acme", "free", "new"])).await.unwrap();
        assert_eq!((alive(&counter, "acme"), alive(&counter, "free")), (Some(1), Some(2)));
        assert_eq!(*logs.1.lock().unwrap(), [0, 2, 3, 1]);
    }

    #[tokio::test]
    async fn dead_letters_of_a_former_tenant_do_not_count_for_the_one_that_has_its_id_now() {
        let logs = Memory::calm(Arc::new(|| 0));
        let die = async |event: &str, revision| {
            append(&logs, &DeadDelivery::default().event(event).revision(revision)).await;
        };
        let (mut counter, index) = (DeadLetterCounter::default(), DeadLetterIndex::default());
        die("e1", 3).await;
        for (since, event, revision, expected) in
            [(2, "e2", 3, 2), (7, "e3", 7, 1), (7, "e1", 6, 1), (7, "e3", 6, 1), (7, "e4", 0, 2)]
        {
            die(event, revision).await;
            let with_quota = BTreeMap::from([("acme".to_owned(), since)]);
            counter.count(&logs, &index, &with_quota, set(&["acme"])).await.unwrap();
            assert_eq!(alive(&counter, "acme"), Some(expected), "{event} of {revision}, since {since}");
        }
    }
}
