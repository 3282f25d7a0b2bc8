//! The log of parked messages: those that could not be processed. It is read and counted here, and deliveries that the
//! broker itself has parked come back from it by themselves.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use broker::{
    ConnectionState, Deadline, Log, Logs, PublishError, ReadError, Record, Target, publish_until_confirmed,
    records::{RequeueMarker, parked_delivery, read_parked, read_parked_with_body, requeued},
};
use futures_util::TryStreamExt as _;
use schemas::{
    DeadLetterRetention, Delivery, EndpointState, MAX_TENANT_BYTES, Message, Notice, ParkReason, Parked, time::unix_ms,
    wire,
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    Control, NotStarted,
    log_search::{LogEntry, LogFilter, Origin, RecordKey, Search, Searched},
    log_use::{LogUse, RecordState},
};

/// Interval at which new records are looked at. An alert on them may be this much late.
const LOOK_INTERVAL: Duration = Duration::from_secs(15);

/// Deliveries that are remembered at once until they come back, some 100 bytes each. Further ones follow once half of
/// these are back.
const MAX_RETURNING: usize = 10_000;
/// Most deliveries that come back after one look, so that those which kill their deliverer bring down few others.
const MAX_PER_LOOK: usize = 250;
/// Longest wait for the confirm of one of them. Then the rest waits until the next look.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(15);

/// Whose searches of this log are bounded together. No tenant has this name.
const OPERATOR: &str = "(parked)";

/// A search for the parked messages that were not published again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ParkedSearch;

impl LogFilter for ParkedSearch {
    const LOG: Log = Log::Parked;

    /// A foreign producer may have named the tenant, so the index has all messages as nobody's.
    fn tenant(&self) -> Option<&str> {
        None
    }

    fn floor(&self) -> u64 {
        0
    }

    fn read(&self, record: &Record) -> LogEntry {
        if RequeueMarker::is_marker(record) {
            let end = |marker: RequeueMarker| {
                let key = marker.delivery_id.map_or(RecordKey::Record(marker.offset), RecordKey::Delivery);
                LogEntry::End(key, marker.offset)
            };
            return RequeueMarker::read(record).map_or(LogEntry::Nothing, end);
        }
        if !is_message(record) {
            return LogEntry::Nothing;
        }
        let delivery = parked_delivery(record);
        let key = delivery.map_or(RecordKey::Record(record.offset), |delivery| RecordKey::Delivery(delivery.id));
        let Parked { tenant, reason, .. } = read_parked(record);
        let tenant = tenant.filter(|tenant| tenant.len() <= MAX_TENANT_BYTES).unwrap_or_default();
        LogEntry::Record(key, Some(Origin { tenant, endpoint_id: String::new(), reason: reason.as_str() }))
    }
}

/// Markers are no messages, and neither are canaries: the broker itself parks them where a path is broken, they belong to
/// no tenant, and they would hide the messages of tenants.
pub(crate) fn is_message(record: &Record) -> bool {
    record.message.headers.text(wire::CANARY).is_none() && !RequeueMarker::is_marker(record)
}

/// Returns the parked message of this id with its body, whether or not it was published again.
pub(crate) async fn show(logs: &dyn Logs, id: &str) -> Result<Option<Parked>, ReadError> {
    Ok(record(logs, id).await?.as_ref().map(read_parked_with_body))
}

pub(crate) async fn record(logs: &dyn Logs, id: &str) -> Result<Option<Record>, ReadError> {
    let Ok(offset) = id.parse() else { return Ok(None) };
    let record = logs.read(Log::Parked, offset).try_next().await?;
    Ok(record.filter(|record| record.offset == offset && is_message(record)))
}

/// Wait of a delivery that was published again `times` before until it comes back: half a minute at first, and twice as
/// long each time, up to six hours. One that kills its deliverer leaves the others more and more time between.
fn pause(times: u32) -> Duration {
    const FIRST: Duration = Duration::from_secs(30);
    const LONGEST: Duration = Duration::from_secs(6 * 60 * 60);
    FIRST.saturating_mul(2_u32.saturating_pow(times)).min(LONGEST)
}

/// Looks after which what the log has deleted is forgotten: an hour.
const LOOKS_PER_TRIM: u32 = 240;

/// The log as far as it was read.
struct ParkedLog {
    /// Whose the records are; empty for what is no tenant's.
    records: LogUse,
    /// Offset of the first record that is not among `records`.
    next_record: u64,
    looks: u32,
    /// Offset at which the next look begins.
    next: u64,
    /// Offset of the first record that is counted; none before the first look.
    count_from: Option<u64>,
    /// Deliveries that come back by themselves.
    returning: HashMap<Uuid, Returning>,
    /// True when more deliveries come back than are remembered: they are found by another look from the beginning.
    is_incomplete: bool,
}

/// The latest record of a delivery that the broker has parked.
struct Returning {
    offset: u64,
    due: Instant,
}

impl ParkedLog {
    fn new(capacity: u64) -> Self {
        Self {
            records: LogUse::new(capacity),
            next_record: 0,
            looks: 0,
            next: 0,
            count_from: None,
            returning: HashMap::new(),
            is_incomplete: false,
        }
    }

    /// Counts the bytes of a record for its tenant.
    fn count(&mut self, record: &Record, parked: &Parked, is_tenant: impl FnOnce(&str) -> bool) {
        if record.offset < self.next_record {
            return;
        }
        self.next_record = record.offset + 1;
        let (owner, marker) =
            (parked.tenant.as_deref().filter(|tenant| is_tenant(tenant)), RequeueMarker::read(record));
        let (owner, marker) = (owner.unwrap_or_default(), marker.filter(|_| RequeueMarker::is_marker(record)));
        let state = match &marker {
            Some(_) => RecordState::Ended,
            None if record.message.body.is_empty() => RecordState::WithoutBody,
            None => RecordState::Whole,
        };
        self.records.add(record.offset, Some(owner), record.message.size() as u64, state);
        if let Some(marker) = marker {
            self.records.end(marker.offset, owner);
        }
    }

    /// Notes a record. A delivery that may not come back any more would keep the place of another.
    fn note(&mut self, record: &Record, may_return: impl FnOnce(&Delivery) -> bool, now: Instant) {
        if let Some(marker) = RequeueMarker::read(record).filter(|_| RequeueMarker::is_marker(record)) {
            if let Some(delivery) = marker.delivery_id
                && self.returning.get(&delivery).is_some_and(|latest| latest.offset <= marker.offset)
            {
                self.returning.remove(&delivery);
            }
            return;
        }
        let Some(delivery) = returns(record).filter(may_return) else { return };
        if self.returning.get(&delivery.id).is_some_and(|latest| latest.offset >= record.offset) {
            // Its pause has begun at an earlier look from the beginning.
            return;
        }
        if self.returning.len() >= MAX_RETURNING && !self.returning.contains_key(&delivery.id) {
            self.is_incomplete = true;
            return;
        }
        let due = now + pause(delivery.requeued);
        self.returning.insert(delivery.id, Returning { offset: record.offset, due });
    }

    /// Offsets of the deliveries that come back now: those that were parked the longest ago.
    fn due(&self, now: Instant) -> BTreeSet<u64> {
        let due = self.returning.values().filter(|waiting| waiting.due <= now).map(|waiting| waiting.offset);
        due.collect::<BTreeSet<_>>().into_iter().take(MAX_PER_LOOK).collect()
    }

    /// True when it is time to read the log from its beginning for deliveries that were not remembered.
    fn has_room_again(&self) -> bool {
        self.is_incomplete && self.returning.len() <= MAX_RETURNING / 2
    }
}

/// The delivery in a record, if it comes back by itself: the broker has parked it, as no queue was bound for it or as it
/// was handed out too often, mostly since deliverers died of something else.
fn returns(record: &Record) -> Option<Delivery> {
    let is_the_brokers = matches!(read_parked(record).reason, ParkReason::DeliveryLimit | ParkReason::Unroutable);
    let delivery = parked_delivery(record).filter(|delivery| !delivery.is_test)?;
    (is_the_brokers && is_message(record)).then_some(delivery)
}

impl Control {
    /// Counts the messages that are parked from now on, and publishes deliveries again that the broker has parked, until
    /// the future is dropped. The broker parks messages by itself, which no other process can count. After a failed read,
    /// the next continues from the same offset.
    ///
    /// Several processes may do so at once: each publishes a delivery once before it sees the marker of another, so there
    /// are as many copies at most, under one id.
    pub async fn watch_parked(&self) {
        let mut log = ParkedLog::new(self.deps.broker.max_log_bytes(Log::Parked));
        let mut connection = self.deps.broker.connection_state();
        loop {
            // The first read fixes the offset to count from, so it waits until the broker is connected.
            if connection.wait_for(|state| !matches!(state, ConnectionState::Away(_))).await.is_err() {
                return;
            }
            match self.follow_parked(&mut log).await {
                Ok(()) => {
                    self.announce_parked(&log.records);
                    if let Err(error) = self.requeue_due(&mut log).await {
                        tracing::debug!(%error, "parked.not_requeued");
                    }
                }
                Err(error) => tracing::debug!(%error, "parked.not_counted"),
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Announces how much is kept of what the tenants' publishers send: the tenants have shares of this log as of that of
    /// dead letters.
    fn announce_parked(&self, records: &LogUse) {
        let Some(snapshot) = self.deps.store.snapshot() else { return };
        let (shares, no_tenant) = (records.shares(), "");
        let mut levels = shares.levels();
        for owner in snapshot.tenants().map(|tenant| tenant.id.as_str()).chain([no_tenant]) {
            shares.add_level(&mut levels, owner, shares.of(owner, None), DeadLetterRetention::Bodies);
        }
        self.deps.broker.announce(Notice::ParkedRetention(levels).write().into());
    }

    /// Reads to the present end of the log.
    async fn follow_parked(&self, log: &mut ParkedLog) -> Result<(), ReadError> {
        let logs = &self.deps.broker;
        let snapshot = self.deps.store.snapshot();
        let is_tenant = |id: &str| snapshot.as_ref().is_some_and(|snapshot| snapshot.tenant(id).is_some());
        if log.count_from.is_none() {
            log.count_from = Some(logs.end(Log::Parked).await?);
        }
        if log.has_room_again() {
            (log.count_from, log.next, log.is_incomplete) = (log.count_from.max(Some(log.next)), 0, false);
        }
        let mut records = logs.read(Log::Parked, log.next);
        while let Some(record) = records.try_next().await? {
            log.next = record.offset + 1;
            log.note(&record, |delivery| !self.is_too_old(delivery), Instant::now());
            let parked = read_parked(&record);
            let is_new = record.offset >= log.next_record;
            log.count(&record, &parked, is_tenant);
            if is_new && is_message(&record) {
                // The broker's own records have no time. One that comes now is of today.
                let at = parked.parked_at.as_deref().and_then(unix_ms);
                let now = (self.deps.clock)();
                let at = at.or((Some(record.offset) >= log.count_from).then_some(now));
                let owner = parked.tenant.as_deref().filter(|tenant| is_tenant(tenant)).unwrap_or_default();
                if let Some(at) = at {
                    self.parked_by_reason.add(at, owner, parked.reason.as_str(), now);
                }
            }
            if record.message.headers.text(wire::CANARY).is_none() {
                self.parked_index.add("", record.offset);
            }
            if Some(record.offset) >= log.count_from && !RequeueMarker::is_marker(&record) {
                self.metrics.park_log.with_label_values(&[parked.reason.as_str()]).inc();
            }
        }
        self.parked_by_reason.complete();
        log.looks += 1;
        if log.looks.is_multiple_of(LOOKS_PER_TRIM)
            && let Some(first) = logs.read(Log::Parked, 0).try_next().await?
        {
            log.records.forget_before(first.offset);
            self.parked_index.forget_before(first.offset);
        }
        Ok(())
    }

    /// Searches the parked messages that were not published again until `is_enough` or everything was read.
    pub(crate) async fn search_parked(
        &self,
        until: Instant,
        is_enough: impl Fn(&Search<ParkedSearch>) -> bool,
    ) -> Result<(Searched<ParkedSearch>, bool), NotStarted> {
        let whose = (OPERATOR, &self.recent_parked_searches, &self.parked_index);
        self.search_log(whose, ParkedSearch, until, is_enough).await
    }

    /// Publishes deliveries again whose pause is over, one after the other. A delivery that is older than its attempts
    /// may be stays parked, from where it can be published again by hand.
    async fn requeue_due(&self, log: &mut ParkedLog) -> Result<(), ReadError> {
        let due = log.due(Instant::now());
        let (Some(first), Some(last)) = (due.first().copied(), due.last().copied()) else { return Ok(()) };
        let mut records = self.deps.broker.read(Log::Parked, first);
        while let Some(record) = records.try_next().await?.filter(|record| record.offset <= last) {
            let Some(delivery) = returns(&record).filter(|_| due.contains(&record.offset)) else { continue };
            if !self.is_too_old(&delivery)
                && let Ok((to, message)) = requeued(&record)
            {
                match self.requeue(&record, &to, &message, Some(CONFIRM_TIMEOUT)).await {
                    Ok(()) => {
                        let reason = read_parked(&record).reason;
                        self.metrics.parked_requeued.with_label_values(&[reason.as_str()]).inc();
                        let (parked_id, event_id, author) = (record.offset, &message.id, "carteiro");
                        tracing::info!(parked_id, event_id, author, "parked.requeued");
                    }
                    // It stays parked.
                    Err(PublishError::TooLarge) => {}
                    // The process stops, or the broker takes nothing now. The rest is due at the next look too.
                    Err(_) => return Ok(()),
                }
            }
            log.returning.remove(&delivery.id);
        }
        // Records that the log has deleted meanwhile.
        log.returning.retain(|_, waiting| waiting.offset > last || !due.contains(&waiting.offset));
        Ok(())
    }

    /// True for a delivery that is older than its policy allows. Nothing is too old while its endpoint is paused, nor
    /// afterwards until its next attempt.
    fn is_too_old(&self, delivery: &Delivery) -> bool {
        let snapshot = self.deps.store.snapshot();
        let tenant = snapshot.as_ref().and_then(|snapshot| snapshot.tenant(&delivery.tenant));
        let endpoint = tenant.and_then(|tenant| tenant.endpoints.get(&delivery.endpoint_id));
        if delivery.found_paused > 0 || endpoint.is_some_and(|endpoint| endpoint.state == EndpointState::Paused) {
            return false;
        }
        let policy = endpoint.and_then(|endpoint| endpoint.retry.as_ref()).unwrap_or(&self.deps.retry);
        (self.deps.clock)() > delivery.accepted_at.saturating_add(policy.max_age.millis())
    }

    /// Publishes the message of a parked record again, and then its marker. Without the marker, as after a crash between
    /// the two, it is still listed, and a delivery may come back once more by itself, under the same id. `limit` is for
    /// each of the two.
    pub(crate) async fn requeue(
        &self,
        record: &Record,
        to: &Target,
        message: &Message,
        limit: Option<Duration>,
    ) -> Result<(), PublishError> {
        let deadline = || Deadline { stop: self.deps.stop.clone(), limit };
        publish_until_confirmed(&*self.deps.broker, to, message, deadline()).await?;
        let (to, marker) = RequeueMarker::of(record);
        let _ = publish_until_confirmed(&*self.deps.broker, &to, &marker, deadline()).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_that_is_parked_again_and_again_comes_back_ever_later() {
        let seconds = |times| pause(times).as_secs();
        assert_eq!([0, 1, 2, 9, 10, 40, u32::MAX].map(seconds), [30, 60, 120, 15_360, 21_600, 21_600, 21_600]);
    }
}
