//! Publishing dead letters again. The delivery goes to the lane of retries as it was, with a fresh start; once that is
//! confirmed, a marker ends its dead letter. A crash between the two repeats a delivery, under the same webhook-id, and
//! never loses one; it repeats as many as are under way at once, at most.

use std::{sync::Arc, time::Duration};

use broker::{
    Broker, Deadline, Lane, PublishError, ReadError, Record, Target, publish_until_confirmed,
    records::{ReplayMarker, read_dead_letter},
};
use futures_util::{
    Stream, StreamExt as _,
    stream::{self, BoxStream},
};
use schemas::{BadHeader, Counts, DeadReason, Delivery, Message};
use service::Clock;
use store::Outbox;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{ControlMetrics, Live, Rate, rate::Pace};

/// How many are under way at once: enough to hide a confirm's round trip, few enough to repeat after a crash.
pub const WINDOW: usize = 100;
/// Bytes of bodies under way at once, so that a window of the largest bodies does not fill the memory.
const BYTES: u32 = 64 << 20;
/// How long after a failed read the log is read on: the broker is mending, or somebody must mend it.
const AGAIN: Duration = Duration::from_secs(1);

/// How to replay.
pub struct Replay<'a> {
    /// Where the log is, and the lane.
    pub broker: &'a dyn Broker,
    /// The replay's id, which every delivery then carries.
    pub job: &'a str,
    /// How many start a second; none for as fast as they are confirmed.
    pub rate: Option<Rate>,
    /// The time.
    pub clock: &'a Clock,
    /// Where the tenants' usage is counted, if anywhere,
    pub outbox: Option<&'a Outbox>,
    /// and what becomes of the dead letters.
    pub metrics: Option<&'a ControlMetrics>,
    /// No more are started once this reads true; those under way end as soon as they can.
    pub stop: CancellationToken,
}

/// How far a replay is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayProgress {
    /// So many were published again.
    pub replayed: u64,
    /// So many cannot be: their bodies were not kept, since they were too large or beyond the tenant's quota.
    pub skipped: u64,
}

/// How a replay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With the last of what was found.
    Done,
    /// Before, because it was asked to.
    Stopped,
}

/// Why one was not replayed. It stays alive.
#[derive(Debug, thiserror::Error)]
enum NotReplayed {
    #[error("its body was not kept")]
    WithoutBody,
    #[error(transparent)]
    NoDelivery(#[from] BadHeader),
    #[error(transparent)]
    NotPublished(#[from] PublishError),
}

impl Replay<'_> {
    /// Replays what was found; `progress` is told after each how many there were so far. Whose body was not kept is left
    /// as it is. Waits for as long as the
    /// broker takes no publishes, or its log cannot be read.
    pub async fn run(self, live: Live, progress: impl Fn(ReplayProgress)) -> Ended {
        let asked = self.stop.clone().cancelled_owned();
        let paced = paced(Reading::new(self.broker, live), Pace::new(self.rate)).take_until(asked);
        let mut ends = std::pin::pin!(paced.map(|started| self.replay(started)).buffer_unordered(WINDOW));
        let mut so_far = ReplayProgress::default();
        while let Some(end) = ends.next().await {
            self.count(&end);
            match end {
                Ok(_) => so_far.replayed += 1,
                Err(NotReplayed::WithoutBody) => so_far.skipped += 1,
                Err(_) => {}
            }
            progress(so_far);
        }
        if self.stop.is_cancelled() { Ended::Stopped } else { Ended::Done }
    }

    /// Says for which reason it had ended.
    async fn replay(&self, Started { record, _weight }: Started) -> Result<Option<DeadReason>, NotReplayed> {
        let published = self.publish(&record).await.inspect_err(|error| {
            // Those are counted by the replay, and may be as many as a tenant's quota times ten.
            if !matches!(error, NotReplayed::WithoutBody) {
                let (dead_letter_id, event_id) = (record.offset, &record.message.id);
                tracing::warn!(%error, replay_id = self.job, dead_letter_id, event_id, "dead_letter.not_replayed");
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
        // No delivery is empty.
        if body.is_empty() {
            return Err(NotReplayed::WithoutBody);
        }
        let dead = Delivery::from_message(&record.message)?;
        let again = Delivery {
            accepted_at: now,
            attempt: 1,
            due: None,
            first_at: None,
            last: None,
            deferrals: 0,
            replay: Some(self.job.to_owned()),
            ..dead
        };
        self.publish_until_confirmed(&Target::Lane(Lane::Slow, None), &again.to_message(body.clone())).await?;
        if let Some(outbox) = self.outbox {
            outbox.add(now, &again.tenant, Some(&again.endpoint_id), Counts { deliveries: 1, ..Counts::default() });
        }
        // A crash here repeats this delivery.
        let (to, marker) = ReplayMarker::of(&again, record.offset, self.job, now);
        Ok(self.publish_until_confirmed(&to, &marker).await?)
    }

    async fn publish_until_confirmed(&self, to: &Target, message: &Message) -> Result<(), PublishError> {
        publish_until_confirmed(self.broker, to, message, Deadline { stop: self.stop.clone(), limit: None }).await
    }
}

/// Reads what was found, and after a failure reads on from where it was.
struct Reading<'a> {
    broker: &'a dyn Broker,
    live: Live,
    records: BoxStream<'static, Result<Record, ReadError>>,
    next: u64,
    /// The last read failed, and that was said.
    has_failed: bool,
}

impl<'a> Reading<'a> {
    fn new(broker: &'a dyn Broker, live: Live) -> Self {
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
                    tokio::time::sleep(AGAIN).await;
                    self.records = self.live.records(self.broker, self.next);
                }
            }
        }
    }
}

/// A record whose turn has come.
struct Started {
    record: Record,
    /// Its body's share of what may be under way.
    _weight: Option<OwnedSemaphorePermit>,
}

/// Lets records through at a pace, and only while there is room for their bodies.
fn paced(reading: Reading<'_>, pace: Pace) -> impl Stream<Item = Started> {
    let room = Arc::new(Semaphore::new(BYTES as usize));
    stream::unfold((reading, pace, room), async |(mut reading, mut pace, room)| {
        let record = reading.next().await?;
        let weight = u32::try_from(record.message.body.len()).unwrap_or(BYTES).min(BYTES);
        // Closed never, so acquired always.
        let _weight = room.clone().acquire_many_owned(weight).await.ok();
        pace.wait().await;
        Some((Started { record, _weight }, (reading, pace, room)))
    })
}
