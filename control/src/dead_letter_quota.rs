//! Quotas of dead letters decide how much of each tenant's dead letters is kept: bodies up to the quota, records
//! without bodies beyond it, and only counts beyond that. There are two: of letters (bodies up to the quota, records up to
//! ten times as many) and of bytes in the log (bodies up to the quota, records up to twice that). Without a quota of bytes,
//! a tenant has its share of the log ([`Shares`](crate::log_use::Shares)).
//!
//! The counter follows the log as it grows. What it reads is noted in the index as well.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use broker::{
    Log, Logs, ReadError, Record,
    records::{ReplayMarker, dead_at, revision},
};
use futures_util::TryStreamExt as _;
use schemas::{DeadLetterRetention, DeadReason, Notice, OperationalEvent, Quota, QuotaName, RetentionLevels, wire};
use store::{Snapshot, is_older};

use crate::{
    Control,
    day_counts::DayCounts,
    log_index::LogIndex,
    log_use::{LogUse, RecordState, Share, Shares, TenantUse},
};

/// Interval at which dead letters are counted and the result is announced. Deliverers forget an announcement after six
/// intervals. Between two, a flood is bounded by the allowances.
const INTERVAL: Duration = Duration::from_secs(10);
/// The interval while the log grows by more than half of an allowance between two counts.
const INTERVAL_OF_FLOOD: Duration = Duration::from_secs(1);
/// Dead letters that came back from a replay are replayed again until those of their tenant have used so many times what
/// it may use for bodies: what fails again keeps its body, whatever the quota says. What died once can always be replayed.
const SHARES_OF_REPLAYS: u64 = 4;

/// Number of counts after which records that the log has deleted are forgotten: once an hour, or several times while a
/// flood is counted. The log keeps records for weeks, so that is often enough.
const COUNTS_PER_TRIM: u32 = 360;

/// What the last count of dead letters has found.
#[derive(Debug, Default)]
pub(crate) struct DeadLetterCount {
    /// What each tenant with dead letters has in the log. None before the first count.
    tenants: Option<HashMap<Arc<str>, TenantUse>>,
    levels: RetentionLevels,
    /// The quotas that were reached, each with its limit.
    reached: Vec<(String, QuotaName, u64)>,
    /// Tenants whose dead letters that came back from a replay are not replayed again.
    held: HashSet<String>,
}

impl Control {
    /// Counts dead letters and announces what is kept of them, until the future is dropped. A process that starts to
    /// listen gets the last announcement at once.
    pub async fn watch_dead_letters(&self) {
        let broker = &*self.deps.broker;
        let (mut counter, mut is_readable) = (DeadLetterCounter::new(broker.max_log_bytes(Log::Dead)), true);
        counter.by_reason = self.dead_by_reason.clone();
        loop {
            let mut interval = INTERVAL;
            if let Some(snapshot) = self.deps.store.snapshot() {
                let created = |tenant: &str| snapshot.tenant(tenant).map(|tenant| tenant.created());
                match counter.count(broker, &self.dead_letter_index, created, (self.deps.clock)()).await {
                    Ok(bytes) => {
                        *self.dead_letter_count() = counter.found(&snapshot);
                        is_readable = true;
                        self.dead_by_reason.complete();
                        if bytes > counter.log.allowance() / 2 {
                            interval = INTERVAL_OF_FLOOD;
                        }
                    }
                    // The last result stays in force: nothing better is known.
                    Err(error) if std::mem::take(&mut is_readable) => {
                        tracing::warn!(%error, "dead_letters.not_counted");
                    }
                    Err(_) => {}
                }
            }
            self.announce_retention().await;
            let pause = tokio::time::sleep(interval);
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    () = self.new_listener.notified() => self.announce_retention().await,
                }
            }
        }
    }

    async fn announce_retention(&self) {
        let (notice, reached) = {
            let count = self.dead_letter_count();
            let reduced = i64::try_from(count.levels.by_tenant.len()).unwrap_or(i64::MAX);
            self.metrics.dead_letter_quotas_reached.set(reduced);
            (Notice::DeadLetterRetention(count.levels.clone()), count.reached.clone())
        };
        self.deps.broker.announce(notice.write().into());
        let now = (self.deps.clock)();
        for (tenant, quota, limit) in reached {
            let event = OperationalEvent::quota_reached(&tenant, quota, limit as f64, now);
            if let Err(error) = self.publish_event(&tenant, &event).await {
                tracing::debug!(%error, event_id = %event.id, tenant, "event.told_later");
            }
        }
    }

    /// What a tenant has in the log of dead letters. None before the first count.
    pub(crate) fn dead_letters_of(&self, tenant: &str) -> Option<TenantUse> {
        self.dead_letter_count().tenants.as_ref().map(|tenants| tenants.get(tenant).copied().unwrap_or_default())
    }

    /// True while a tenant's dead letters that came back from a replay may be replayed again.
    pub(crate) fn has_room_for_replays(&self, tenant: &str) -> bool {
        !self.dead_letter_count().held.contains(tenant)
    }

    fn dead_letter_count(&self) -> MutexGuard<'_, DeadLetterCount> {
        self.dead_letter_count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The dead letters of all tenants, as far as the log was read.
#[derive(Debug)]
struct DeadLetterCounter {
    /// Bytes that the log keeps at most.
    capacity: u64,
    /// Offset at which the next count begins.
    next: u64,
    log: LogUse,
    /// Revisions that created the tenants with dead letters, as of the first one since they are known.
    since: HashMap<String, u64>,
    counts: u32,
    /// The letters by reason and hour.
    by_reason: Arc<DayCounts>,
}

impl DeadLetterCounter {
    fn new(capacity: u64) -> Self {
        Self {
            capacity,
            next: 0,
            log: LogUse::new(capacity),
            since: HashMap::new(),
            counts: 0,
            by_reason: Arc::default(),
        }
    }

    /// Counts from the last offset to the present end of the log. `created` returns the revision that created a tenant,
    /// `now` is in unix milliseconds. Returns how many bytes were read.
    async fn count(
        &mut self,
        logs: &dyn Logs,
        index: &LogIndex,
        created: impl Fn(&str) -> Option<u64>,
        now: u64,
    ) -> Result<u64, ReadError> {
        self.forget_former_tenants(&created);
        let (mut records, mut bytes) = (logs.read(Log::Dead, self.next), 0);
        while let Some(record) = records.try_next().await? {
            self.next = record.offset + 1;
            bytes += self.add(&record, &created, now);
            index.add(tenant_of(&record), record.offset);
        }
        self.counts += 1;
        if self.counts.is_multiple_of(COUNTS_PER_TRIM)
            && let Some(first) = logs.read(Log::Dead, 0).try_next().await?
        {
            self.log.forget_before(first.offset);
            self.since.retain(|tenant, _| self.log.of(tenant) != TenantUse::default());
            index.forget_before(first.offset);
        }
        Ok(bytes)
    }

    /// Forgets the dead letters of tenants whose ids are others' now. A tenant that is not known yet, or was deleted, keeps
    /// its own.
    fn forget_former_tenants(&mut self, created: impl Fn(&str) -> Option<u64>) {
        let Self { log, since, .. } = self;
        since.retain(|tenant, since| {
            let is_former = created(tenant).is_some_and(|created| created != *since);
            if is_former {
                log.forget_tenant(tenant);
            }
            !is_former
        });
    }

    fn add(&mut self, record: &Record, created: impl Fn(&str) -> Option<u64>, now: u64) -> u64 {
        let tenant = tenant_of(record);
        let bytes = record.message.size() as u64;
        let since = self.since.get(tenant).copied().or_else(|| {
            let since = created(tenant)?;
            self.since.insert(tenant.to_owned(), since);
            Some(since)
        });
        let state = match record.message.body.is_empty() {
            _ if ReplayMarker::is_marker(record) => RecordState::Ended,
            true => RecordState::WithoutBody,
            false if record.message.headers.text(wire::REPLAY).is_some() => RecordState::CameBack,
            false => RecordState::Whole,
        };
        let is_former = state != RecordState::Ended && is_older(revision(record), since.unwrap_or_default());
        if !ReplayMarker::is_marker(record)
            && let Some(reason) = record.key.split_once('.').and_then(|(reason, _)| DeadReason::parse(reason))
            && let Some(at) = dead_at(record)
        {
            self.by_reason.add(at, tenant, reason.as_str(), now);
        }
        self.log.add(record.offset, (!is_former).then_some(tenant), bytes, state);
        if ReplayMarker::is_marker(record)
            && let Some(marker) = ReplayMarker::read(record)
        {
            self.log.end(marker.offset, tenant);
        }
        bytes
    }

    /// Decides how much of each tenant's dead letters is kept.
    fn found(&self, snapshot: &Snapshot) -> DeadLetterCount {
        let (tenants, shares) = (Some(self.log.tenants().clone()), self.log.shares());
        let mut found = DeadLetterCount { tenants, levels: shares.levels(), ..DeadLetterCount::default() };
        for tenant in snapshot.tenants() {
            self.decide(&shares, &tenant.id, tenant.quota, &mut found);
        }
        found
    }

    fn decide(&self, shares: &Shares<'_>, tenant: &str, quota: Quota, found: &mut DeadLetterCount) {
        let share = shares.of(tenant, quota.dead_letter_bytes);
        let TenantUse { whole, alive, .. } = self.log.of(tenant);
        let by_letters = DeadLetterRetention::of(whole, alive, quota.dead_letters);
        let by_bytes = share.map_or(DeadLetterRetention::Bodies, Share::retention);
        if by_letters != DeadLetterRetention::Bodies {
            let limit = quota.dead_letters.unwrap_or_default();
            found.reached.push((tenant.to_owned(), QuotaName::DeadLetters, limit));
        }
        if by_bytes != DeadLetterRetention::Bodies {
            // A share changes with each count. An event says the largest, so that it is the same for an hour.
            let limit = quota.dead_letter_bytes.unwrap_or(self.capacity / 3);
            found.reached.push((tenant.to_owned(), QuotaName::DeadLetterBytes, limit));
        }
        shares.add_level(&mut found.levels, tenant, share, by_letters);
        // Others' floods and a low quota make a share small, so that it is taken for no less than the least.
        let is_beyond =
            |share: Share| share.came_back >= share.most.max(shares.least()).saturating_mul(SHARES_OF_REPLAYS);
        if share.is_some_and(is_beyond) {
            found.held.insert(tenant.to_owned());
        }
    }
}

fn tenant_of(record: &Record) -> &str {
    record.message.headers.text(wire::TENANT).unwrap_or_default()
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

    #[tokio::test]
    async fn dead_letters_that_were_counted_before_their_tenant_was_known_count_on() {
        let logs = Memory::calm(Arc::new(|| 0));
        let (mut counter, index) = (DeadLetterCounter::new(1_000_000), LogIndex::default());
        for (event, created, expected) in [("e1", None, 1), ("e2", Some(5), 2), ("e3", Some(5), 3), ("e4", Some(8), 0)]
        {
            append(&logs, &DeadDelivery::default().event(event)).await;
            counter.count(&logs, &index, |_| created, 0).await.unwrap();
            assert_eq!(alive(&counter, "acme"), expected, "{event}");
        }
    }

    fn alive(counter: &DeadLetterCounter, tenant: &str) -> u64 {
        counter.log.of(tenant).alive
    }

    #[tokio::test]
    async fn a_new_tenant_is_counted_from_the_end_of_the_log_and_one_that_gets_a_quota_from_its_beginning() {
        let logs = ReadLogs(Memory::calm(Arc::new(|| 0)), Mutex::default());
        let die = async |tenant: &str, event: &str| {
            append(&logs.0, &DeadDelivery::default().event(event).to(tenant, "crm")).await;
        };
        let (mut counter, index) = (DeadLetterCounter::new(1_000_000), LogIndex::default());
        for tenant in ["acme", "free"] {
            die(tenant, "e1").await;
        }
        let bytes = counter.count(&logs, &index, |_| Some(0), 0).await.unwrap();
        assert_eq!((alive(&counter, "acme"), alive(&counter, "free")), (1, 1), "with a quota or without");
        assert_eq!(counter.log.of("acme").bytes + counter.log.of("free").bytes, bytes);

        die("new", "e1").await;
        counter.count(&logs, &index, |_| Some(0), 0).await.unwrap();
        assert_eq!((alive(&counter, "acme"), alive(&counter, "new")), (1, 1));
        assert_eq!(*logs.1.lock().unwrap(), [0, 2]);
    }

    #[tokio::test]
    async fn dead_letters_of_a_former_tenant_do_not_count_for_the_one_that_has_its_id_now() {
        let logs = Memory::calm(Arc::new(|| 0));
        let die = async |event: &str, revision| {
            append(&logs, &DeadDelivery::default().event(event).revision(revision)).await;
        };
        let (mut counter, index) = (DeadLetterCounter::new(1_000_000), LogIndex::default());
        die("e1", 3).await;
        for (since, event, revision, expected) in
            [(2, "e2", 3, 2), (7, "e3", 7, 1), (7, "e1", 6, 1), (7, "e3", 6, 1), (7, "e4", 0, 2)]
        {
            die(event, revision).await;
            counter.count(&logs, &index, |_| Some(since), 0).await.unwrap();
            assert_eq!(alive(&counter, "acme"), expected, "{event} of {revision}, since {since}");
        }
    }
}
