//! Publishing dead letters again. The delivery goes to the lane of retries as it was, with a fresh start; once that is
//! confirmed, a marker ends its dead letter. A crash between the two repeats a delivery, under the same webhook-id, and
//! never loses one; it repeats as many as are under way at once, at most.

use std::sync::Arc;

use broker::{Broker, Clock, Headers, Lane, Message, Patience, PublishError, ReadError, Record, Target, insist};
use futures_util::{Stream, StreamExt as _, future, stream};
use schemas::{BadHeader, Delivery};
use tokio::sync::{Semaphore, watch};

use crate::{Live, Rate, marker::Replayed, rate::Pace};

/// How many are under way at once: enough to hide a confirm's round trip, few enough to repeat after a crash.
pub const WINDOW: usize = 100;
/// Bytes of bodies under way at once, so that a window of the largest bodies does not fill the memory.
const BYTES: u32 = 64 << 20;

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
    /// No more are started once this reads true; those under way end as soon as they can.
    pub stop: watch::Receiver<bool>,
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
    #[error(transparent)]
    NoDelivery(#[from] BadHeader),
    #[error(transparent)]
    NotPublished(#[from] PublishError),
}

impl Replay<'_> {
    /// Replays what was found; `progress` is told after each how many there were so far. Waits for as long as the
    /// broker takes no publishes.
    ///
    /// # Errors
    /// When the log cannot be read to its end; what is not replayed by then stays alive.
    pub async fn run(self, live: Live, progress: impl Fn(u64)) -> Result<Ended, ReadError> {
        let mut stop = self.stop.clone();
        let asked = async move {
            if stop.wait_for(|stop| *stop).await.is_err() {
                // Nobody can ask any more.
                future::pending::<()>().await;
            }
        };
        let paced = paced(live.records(self.broker), Pace::new(self.rate)).take_until(asked);
        let mut ends = std::pin::pin!(paced.map(|next| self.replay(next)).buffer_unordered(WINDOW));
        let (mut replayed, mut failed) = (0, None);
        while let Some(end) = ends.next().await {
            match end {
                Ok(true) => {
                    replayed += 1;
                    progress(replayed);
                }
                Ok(false) => {}
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) => Err(error),
            None if *self.stop.borrow() => Ok(Ended::Stopped),
            None => Ok(Ended::Done),
        }
    }

    /// Whether it was.
    async fn replay(&self, next: Result<Started, ReadError>) -> Result<bool, ReadError> {
        let Started { record, _weight } = next?;
        let Err(error) = self.publish(&record).await else { return Ok(true) };
        tracing::warn!(%error, job = self.job, dead_letter_id = record.offset, event_id = record.message.id, "dead_letter.not_replayed");
        Ok(false)
    }

    async fn publish(&self, record: &Record) -> Result<(), NotReplayed> {
        let now = (self.clock)();
        let Message { id, kind, headers, body } = &record.message;
        let dead = Delivery::read(id, kind, |name| headers.int(name), |name| headers.text(name))?;
        let again = Delivery {
            accepted_at: now,
            attempt: 1,
            due: None,
            first_at: None,
            last: None,
            parks: 0,
            replay: Some(self.job.to_owned()),
            ..dead
        };
        let headers = Headers::new(again.ints(), again.texts());
        let message = Message { id: id.clone(), kind: kind.clone(), headers, body: body.clone() };
        self.insist(&Target::Lane(Lane::Slow, None), &message).await?;
        // A crash here repeats this delivery.
        let (to, marker) = Replayed::of(&again, record.offset, self.job, now);
        Ok(self.insist(&to, &marker).await?)
    }

    async fn insist(&self, to: &Target, message: &Message) -> Result<(), PublishError> {
        insist(self.broker, to, message, Patience { stop: self.stop.clone(), limit: None }).await
    }
}

/// A record whose turn has come.
struct Started {
    record: Record,
    /// Its body's share of what may be under way.
    _weight: Option<tokio::sync::OwnedSemaphorePermit>,
}

/// Lets records through at a pace, and only while there is room for their bodies.
fn paced(
    records: impl Stream<Item = Result<Record, ReadError>> + Send + Unpin,
    pace: Pace,
) -> impl Stream<Item = Result<Started, ReadError>> {
    let room = Arc::new(Semaphore::new(BYTES as usize));
    stream::unfold((records, pace, room), async |(mut records, mut pace, room)| {
        let started = match records.next().await? {
            Err(error) => Err(error),
            Ok(record) => {
                let weight = u32::try_from(record.message.body.len()).unwrap_or(BYTES).min(BYTES);
                // Closed never, so acquired always.
                let _weight = room.clone().acquire_many_owned(weight).await.ok();
                pace.wait().await;
                Ok(Started { record, _weight })
            }
        };
        Some((started, (records, pace, room)))
    })
}
