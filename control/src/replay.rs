//! A replay publishes dead letters again. Each delivery goes to the lane of retries unchanged, except that it starts
//! again with its first attempt. Once that publish is confirmed, a marker ends the dead letter. A crash between the two
//! repeats a delivery under the same webhook-id and never loses one. At most as many deliveries are repeated as are
//! under way at once.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use broker::{
    Broker, Deadline, Lane, PublishError, ReadError, Record, Target, publish_until_confirmed,
    records::{ReplayMarker, read_dead_letter},
};
use futures_util::{
    FutureExt as _, Stream, StreamExt as _,
    stream::{self, BoxStream},
};
use history::{Record as HistoryRecord, RecordedDelivery, Recorder, RunRecord};
use schemas::{BadHeader, Counts, DeadReason, Delivery, Message};
use service::Clock;
use store::{Outbox, Store, is_older};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    ControlMetrics, LiveDeadLetters, Rate,
    rate::Throttle,
    replay_tracker::{LetterState, ReplayProgress, ReplayTracker},
};

/// Most deliveries under way at once: enough to hide a confirm's round trip, few enough to repeat after a crash.
pub(crate) const WINDOW: usize = 100;
/// Most bytes of bodies under way at once, so that a window of the largest bodies does not fill the memory.
const WINDOW_BYTES: u32 = 64 << 20;
/// Pause between a failed read of the log and the next.
pub(crate) const READ_RETRY: Duration = Duration::from_secs(1);

pub(crate) struct Replay<'a> {
    pub(crate) broker: &'a dyn Broker,
    /// Has the endpoints for which the deliveries are now. Without them, deliveries keep their revisions, so that none goes
    /// to an endpoint that was made anew.
    pub(crate) receivers: Option<Receivers<'a>>,
    /// Id of the replay, which every replayed delivery carries.
    pub(crate) replay_id: &'a str,
    /// False while dead letters that came back from a replay are skipped. Without it, none is skipped for that.
    pub(crate) has_room: Option<&'a (dyn Fn() -> bool + Sync)>,
    /// Starts per second. Without a rate, deliveries start as fast as they are confirmed.
    pub(crate) rate: Option<Rate>,
    pub(crate) clock: &'a Clock,
    /// Counts the tenants' usage, where it is reported.
    pub(crate) outbox: Option<&'a Outbox>,
    /// Records that a delivery waits again, where history is written.
    pub(crate) runs: Option<Runs<'a>>,
    /// Counts replayed and skipped dead letters, where metrics are served.
    pub(crate) metrics: Option<&'a ControlMetrics>,
    /// When it is cancelled, no more deliveries start, and those under way end as soon as they can.
    pub(crate) stop: CancellationToken,
}

#[derive(Clone, Copy)]
pub(crate) struct Receivers<'a> {
    pub(crate) store: &'a dyn Store,
    /// Revision at which the replay's filter named the endpoint: one that was made anew before gets the dead letters of the
    /// former one. 0 when the filter named none.
    pub(crate) named_at: u64,
}

/// Where runs are recorded, and of which tenant.
#[derive(Clone, Copy)]
pub(crate) struct Runs<'a> {
    pub(crate) recorder: &'a Recorder,
    /// Revision that made the tenant.
    pub(crate) tenant_created: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplayEnd {
    /// Every dead letter that was found at the start has been handled.
    Done,
    Stopped,
}

/// Why a dead letter was not replayed. It stays alive.
#[derive(Debug, thiserror::Error)]
enum NotReplayed {
    #[error("its body was not kept")]
    WithoutBody,
    #[error("its endpoint was made anew")]
    OtherReceiver,
    #[error("it came back from a replay, and too many have")]
    CameBack,
    #[error(transparent)]
    NoDelivery(#[from] BadHeader),
    #[error(transparent)]
    NotPublished(#[from] PublishError),
}

impl Replay<'_> {
    /// Replays dead letters, which `tracker` knows, and calls `progress` after each. Skips those without a body or
    /// receiver. Waits while the broker takes no publishes or its log cannot be read.
    pub(crate) async fn run(
        self,
        live: LiveDeadLetters,
        tracker: ReplayTracker,
        progress: impl Fn(ReplayProgress),
    ) -> ReplayEnd {
        let stopped = self.stop.clone().cancelled_owned();
        let started = throttled(RetryingReader::new(self.broker, live), Throttle::new(self.rate)).take_until(stopped);
        let tracker = Mutex::new(tracker);
        // The lock is never held across an await.
        let tracked = || tracker.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = started.map(|started| {
            let offset = started.record.offset;
            tracked().begin(offset);
            self.replay(started).map(move |end| (offset, end))
        });
        let mut ends = std::pin::pin!(ends.buffer_unordered(WINDOW));
        while let Some((offset, end)) = ends.next().await {
            self.count(&end);
            let mut tracker = tracked();
            match end {
                Ok(_) => tracker.end(offset, LetterState::Replayed),
                Err(error) if error.is_skipped() => tracker.end(offset, LetterState::Skipped),
                // One that was under way at the stop may go out when the replay goes on.
                Err(_) if self.stop.is_cancelled() => {}
                Err(_) => tracker.end(offset, LetterState::Left),
            }
            progress(tracker.progress());
        }
        if self.stop.is_cancelled() { ReplayEnd::Stopped } else { ReplayEnd::Done }
    }

    /// Replays one dead letter. Returns the reason with which it ended before.
    async fn replay(&self, Started { record, _weight }: Started) -> Result<Option<DeadReason>, NotReplayed> {
        let published = self.publish(&record).await.inspect_err(|error| {
            // Skipped dead letters are counted instead of logged: there may be ten times a tenant's quota of them.
            // What the stop has interrupted is replayed when the replay goes on.
            if !error.is_skipped() && !self.stop.is_cancelled() {
                let (dead_letter_id, event_id) = (record.offset, &record.message.id);
                tracing::warn!(%error, replay_id = self.replay_id, dead_letter_id, event_id, "dead_letter.not_replayed");
            }
        });
        published.map(|()| read_dead_letter(&record).map(|letter| letter.reason))
    }

    fn count(&self, end: &Result<Option<DeadReason>, NotReplayed>) {
        match (self.metrics, end) {
            (Some(metrics), Ok(Some(reason))) => metrics.replays.with_label_values(&[reason.as_str()]).inc(),
            (Some(metrics), Err(NotReplayed::WithoutBody)) => metrics.not_replayable.inc(),
            _ => {}
        }
    }

    async fn publish(&self, record: &Record) -> Result<(), NotReplayed> {
        let now = (self.clock)();
        let body = &record.message.body;
        // A delivery always has a body, so an empty one was not kept.
        if body.is_empty() {
            return Err(NotReplayed::WithoutBody);
        }
        let dead = Delivery::from_message(&record.message)?;
        if dead.replay.is_some() && self.has_room.is_some_and(|has_room| !has_room()) {
            return Err(NotReplayed::CameBack);
        }
        let revision = self.receivers.map_or(Ok(dead.revision), |receivers| receivers.revision(&dead))?;
        let again = Delivery {
            revision,
            accepted_at: now,
            first_accepted_at: Some(dead.first_accepted_at.unwrap_or(dead.accepted_at)),
            attempt: 1,
            due: None,
            first_at: None,
            last: None,
            deferrals: 0,
            requeued: 0,
            found_paused: 0,
            replay: Some(self.replay_id.to_owned()),
            ..dead
        };
        self.publish_until_confirmed(&Target::Lane(Lane::Slow, None), &again.to_message(body.clone())).await?;
        if let Some(outbox) = self.outbox {
            outbox.add(now, &again.tenant, Some(&again.endpoint_id), Counts { deliveries: 1, ..Counts::default() });
        }
        if let Some(Runs { recorder, tenant_created }) = self.runs {
            recorder.record(|| {
                let delivery = RecordedDelivery::of(&again, tenant_created);
                HistoryRecord::Run(Box::new(RunRecord { delivery, body: Some(body.clone()) }))
            });
        }
        // A crash before the marker is confirmed repeats this delivery.
        let (to, marker) = ReplayMarker::of(&again, record.offset, self.replay_id, now);
        Ok(self.publish_until_confirmed(&to, &marker).await?)
    }

    async fn publish_until_confirmed(&self, to: &Target, message: &Message) -> Result<(), PublishError> {
        publish_until_confirmed(self.broker, to, message, Deadline { stop: self.stop.clone(), limit: None }).await
    }
}

impl NotReplayed {
    fn is_skipped(&self) -> bool {
        matches!(self, Self::WithoutBody | Self::OtherReceiver | Self::CameBack)
    }
}

impl Receivers<'_> {
    /// Returns the present revision, in which the delivery goes to the endpoint that has its id now, unless that is
    /// another one which the request did not mean. What a former tenant left is nobody's.
    fn revision(&self, dead: &Delivery) -> Result<u64, NotReplayed> {
        let snapshot = self.store.snapshot();
        let Some(snapshot) = snapshot.filter(|snapshot| snapshot.has_shared_revisions()) else { return Ok(0) };
        // The deliverer knows what becomes of a delivery whose tenant was deleted.
        let Some(tenant) = snapshot.tenant(&dead.tenant) else { return Ok(dead.revision) };
        let endpoint_created = tenant.endpoint_created(&dead.endpoint_id);
        let is_other = is_older(dead.revision, endpoint_created) && self.named_at < endpoint_created;
        if is_other || is_older(dead.revision, tenant.created()) {
            return Err(NotReplayed::OtherReceiver);
        }
        Ok(snapshot.revision())
    }
}

/// Reads the records of dead letters. After a failure it continues from the same offset.
struct RetryingReader<'a> {
    broker: &'a dyn Broker,
    live: LiveDeadLetters,
    records: BoxStream<'a, Result<Record, ReadError>>,
    next: u64,
    /// True when the last read failed and was logged, so that an outage is logged once.
    has_failed: bool,
}

impl<'a> RetryingReader<'a> {
    fn new(broker: &'a dyn Broker, live: LiveDeadLetters) -> Self {
        Self { broker, records: live.records(broker, 0), live, next: 0, has_failed: false }
    }

    async fn next(&mut self) -> Option<Record> {
        loop {
            match self.records.next().await? {
                Ok(record) => {
                    self.next = record.offset + 1;
                    self.has_failed = false;
                    return Some(record);
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.has_failed, true) {
                        tracing::warn!(%error, dead_letter_id = self.next, "dead_letters.unreadable");
                    }
                    tokio::time::sleep(READ_RETRY).await;
                    self.records = self.live.records(self.broker, self.next);
                }
            }
        }
    }
}

/// A record whose replay may begin.
struct Started {
    record: Record,
    /// Reserves the bytes of the body. Its drop frees them.
    _weight: Option<OwnedSemaphorePermit>,
}

/// Yields records at the replay's rate, and only while their bodies fit into the bytes that may be under way.
fn throttled(reader: RetryingReader<'_>, throttle: Throttle) -> impl Stream<Item = Started> {
    let room = Arc::new(Semaphore::new(WINDOW_BYTES as usize));
    stream::unfold((reader, throttle, room), async |(mut reader, mut throttle, room)| {
        let record = reader.next().await?;
        let weight = u32::try_from(record.message.body.len()).unwrap_or(WINDOW_BYTES).min(WINDOW_BYTES);
        // The semaphore is never closed, so acquiring from it cannot fail.
        let _weight = room.clone().acquire_many_owned(weight).await.ok();
        throttle.wait().await;
        Some((Started { record, _weight }, (reader, throttle, room)))
    })
}
