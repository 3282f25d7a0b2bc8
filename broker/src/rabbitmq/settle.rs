//! Settling: writes the settlements of one consuming channel. A contiguous run of finished tags becomes one frame,
//! which is never delayed: what is not acknowledged comes again after a crash.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::future::join_all;
use lapin::{
    Channel,
    options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{error::describe, health::SessionHealth, session::Session};
use crate::Settlement;

pub(super) type SettledTag = (u64, Settlement);

/// The priority of a consumer that is there for no message: the queue prefers every other one.
const LAST: i32 = -1_000_000;

/// Time in which a queue takes what was settled, also when its disk is busy.
const TAKEN_TIME: Duration = Duration::from_secs(1);

/// Time in which settlements are gathered for common frames.
const GATHER_TIME: Duration = Duration::from_millis(2);
/// Longest time for which an acknowledgement waits for those of earlier messages, with which it is one frame and one command
/// to the queue.
const LONGEST_HOLD: Duration = Duration::from_millis(10);

/// Largest number of settlements that are written at once. It exceeds a channel's prefetch.
const BATCH: usize = 1024;

struct OpenTags {
    /// The lowest tag that is not settled yet.
    next: u64,
    /// Settled tags above `next`.
    above: BTreeSet<u64>,
    /// Tags that are done and not acknowledged yet, because one below them is not settled.
    held: BTreeSet<u64>,
}

/// Which acknowledgements are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// Those that one frame covers.
    Runs,
    All,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Frames {
    /// Acknowledges every open tag up to this one.
    up_to: Option<u64>,
    /// Tags to acknowledge one by one.
    single: Vec<u64>,
    /// Tags to give back.
    again: Vec<u64>,
}

/// A channel with one consumer, whose messages are settled on it.
#[derive(Clone)]
pub(super) struct ConsumingChannel {
    channel: Channel,
    queue: ShortString,
    consumer: ShortString,
    /// True once the consumer was cancelled, so that nothing more comes.
    is_cancelled: Arc<AtomicBool>,
}

impl ConsumingChannel {
    /// Of a consumer of `queue`, by its tag.
    pub(super) fn new(channel: Channel, queue: ShortString, consumer: ShortString) -> Self {
        Self { channel, queue, consumer, is_cancelled: Arc::default() }
    }

    /// Asks the broker to send nothing more. What it has sent can still be read, and settled.
    pub(super) async fn cancel(&self) -> lapin::Result<()> {
        self.is_cancelled.store(true, Relaxed);
        self.channel.basic_cancel(self.consumer.clone(), BasicCancelOptions::default()).await
    }

    /// Writes settlements until none can come any more, or `stop`, and closes the channel once the queue has taken them.
    pub(super) async fn settle(
        self,
        settled: mpsc::UnboundedReceiver<SettledTag>,
        session: Arc<Session>,
        stop: CancellationToken,
    ) {
        if !write(&self.channel, settled, &session.health, &stop).await {
            return;
        }
        // While the session goes on, the queue has the time that it needs.
        if timeout(TAKEN_TIME, stop.cancelled()).await.is_ok() {
            // An error closes the channel or ends the session.
            let _ = self.await_taken().await;
        }
        session.consuming.close_channel(&self.channel).await;
    }

    /// Waits until the queue has taken what was settled. The answer to the cancelling of a consumer comes after that
    /// (docs/rabbitmq.md#a-closing-channel-drops-settlements). Where the consumer is cancelled already another one comes
    /// and goes; a message that it gets is given back when the channel closes.
    async fn await_taken(&self) -> lapin::Result<()> {
        if !self.is_cancelled.load(Relaxed) {
            return self.cancel().await;
        }
        self.channel.basic_qos(1, BasicQosOptions::default()).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-priority".into(), AMQPValue::LongInt(LAST));
        let (queue, options) = (self.queue.clone(), BasicConsumeOptions::default());
        let other = self.channel.basic_consume(queue, "".into(), options, arguments).await?;
        self.channel.basic_cancel(other.tag(), BasicCancelOptions::default()).await
    }
}

/// Writes settlements until all senders are gone, the session has failed, or `stop`; then it writes what has come. False when
/// the session has failed.
async fn write(
    channel: &Channel,
    mut settled: mpsc::UnboundedReceiver<SettledTag>,
    health: &SessionHealth,
    stop: &CancellationToken,
) -> bool {
    let mut tags = OpenTags::default();
    let (mut batch, mut flush_at) = (Vec::new(), None);
    loop {
        let overdue = async {
            match flush_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let (due, is_over) = tokio::select! {
            biased;
            () = overdue => (Due::All, false),
            received = settled.recv_many(&mut batch, BATCH) => match received {
                0 => (Due::All, true),
                _ => (Due::Runs, false),
            },
            () = stop.cancelled() => (Due::All, true),
            _ = health.failed() => return false,
        };
        if due == Due::Runs {
            // Each frame is a command to the queue, which costs the broker as much as a message.
            sleep(GATHER_TIME).await;
        }
        while let (true, Ok(more)) = (batch.len() < BATCH, settled.try_recv()) {
            batch.push(more);
        }
        if let Err(error) = send(channel, tags.frames(&mut batch, due)).await {
            health.fail(describe(&error));
            return false;
        }
        if is_over {
            return !health.has_failed();
        }
        flush_at = match (tags.held.is_empty(), flush_at) {
            (true, _) => None,
            (false, Some(at)) if due == Due::Runs => Some(at),
            (false, _) => Some(Instant::now() + LONGEST_HOLD),
        };
    }
}

async fn send(channel: &Channel, frames: Frames) -> lapin::Result<()> {
    let again = BasicNackOptions { multiple: false, requeue: true };
    // These come first, because acknowledging the run would otherwise include them.
    join_all(frames.again.iter().map(|tag| channel.basic_nack(*tag, again)))
        .await
        .into_iter()
        .collect::<Result<(), _>>()?;
    if let Some(tag) = frames.up_to {
        channel.basic_ack(tag, BasicAckOptions { multiple: true }).await?;
    }
    let one = BasicAckOptions { multiple: false };
    join_all(frames.single.iter().map(|tag| channel.basic_ack(*tag, one))).await.into_iter().collect()
}

impl OpenTags {
    /// Turns a batch into frames, and empties it.
    fn frames(&mut self, batch: &mut Vec<SettledTag>, due: Due) -> Frames {
        let mut frames = Frames::default();
        for (tag, settlement) in batch.drain(..) {
            self.above.insert(tag);
            match settlement {
                Settlement::Done => drop(self.held.insert(tag)),
                Settlement::Again => frames.again.push(tag),
            }
        }
        while self.above.remove(&self.next) {
            self.next += 1;
        }
        let beyond_gap = self.held.split_off(&self.next);
        frames.up_to = self.held.last().copied();
        self.held = beyond_gap;
        if due == Due::All {
            frames.single = std::mem::take(&mut self.held).into_iter().collect();
        }
        frames
    }
}

impl Default for OpenTags {
    fn default() -> Self {
        Self { next: 1, above: BTreeSet::new(), held: BTreeSet::new() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn done(tags: &[u64]) -> Vec<SettledTag> {
        tags.iter().map(|tag| (*tag, Settlement::Done)).collect()
    }

    #[test]
    fn a_contiguous_run_is_one_frame() {
        let mut tags = OpenTags::default();
        let frames = tags.frames(&mut done(&[3, 1, 2]), Due::Runs);
        assert_eq!(frames, Frames { up_to: Some(3), ..Frames::default() });
    }

    #[test]
    fn what_lies_beyond_a_gap_is_held_until_the_gap_closes() {
        let mut tags = OpenTags::default();
        let frames = tags.frames(&mut done(&[1, 2, 5]), Due::Runs);
        assert_eq!(frames, Frames { up_to: Some(2), ..Frames::default() });
        let frames = tags.frames(&mut done(&[3, 4]), Due::Runs);
        assert_eq!(frames, Frames { up_to: Some(5), ..Frames::default() });
    }

    #[test]
    fn what_is_held_too_long_is_acknowledged_by_itself() {
        let mut tags = OpenTags::default();
        assert_eq!(tags.frames(&mut done(&[3, 5]), Due::Runs), Frames::default());
        let frames = tags.frames(&mut done(&[1]), Due::All);
        assert_eq!(frames, Frames { up_to: Some(1), single: vec![3, 5], again: vec![] });
        let frames = tags.frames(&mut done(&[2, 4]), Due::Runs);
        assert_eq!(frames, Frames { up_to: Some(4), ..Frames::default() }, "3 was acknowledged before");
    }

    #[test]
    fn what_is_given_back_is_never_acknowledged_by_itself() {
        let mut batch = vec![(1, Settlement::Done), (2, Settlement::Again)];
        let frames = OpenTags::default().frames(&mut batch, Due::Runs);
        assert_eq!(frames, Frames { up_to: Some(1), single: vec![], again: vec![2] });
    }

    proptest! {
        /// A model of the broker's side: which tags are open, and what each frame does to them.
        #[test]
        fn every_tag_is_settled_exactly_once_and_as_it_was_asked(
            order in Just((1..=60_u64).collect::<Vec<_>>()).prop_shuffle(),
            again in prop::collection::hash_set(1..=60_u64, 0..20),
            cuts in prop::collection::vec((1..8_usize, any::<bool>()), 60),
        ) {
            let (mut tags, mut rest) = (OpenTags::default(), order.as_slice());
            let (mut open, mut unacked) = ((1..=60).collect::<BTreeSet<u64>>(), BTreeSet::<u64>::new());
            for (cut, is_overdue) in cuts {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                rest = later;
                let due = if is_overdue || rest.is_empty() { Due::All } else { Due::Runs };
                let settle = |tag: &u64| {
                    (*tag, if again.contains(tag) { Settlement::Again } else { Settlement::Done })
                };
                let frames = tags.frames(&mut now.iter().map(settle).collect(), due);
                for tag in &frames.again {
                    prop_assert!(open.remove(tag));
                }
                unacked.extend(now.iter().filter(|tag| !again.contains(tag)));
                if let Some(up_to) = frames.up_to {
                    prop_assert!(open.contains(&up_to), "the broker closes the channel on an unknown tag");
                    let above = open.split_off(&(up_to + 1));
                    for tag in std::mem::replace(&mut open, above) {
                        prop_assert!(unacked.remove(&tag), "{tag} is not done");
                    }
                }
                for tag in &frames.single {
                    prop_assert!(open.remove(tag) && unacked.remove(tag));
                }
                prop_assert!(due == Due::Runs || unacked.is_empty());
            }
            prop_assert!(open.is_empty());
        }
    }
}
