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
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{error::describe, health::SessionHealth, session::Session};
use crate::Settlement;

pub(super) type SettledTag = (u64, Settlement);

/// The priority of a consumer that is there for no message: the queue prefers every other one.
const LAST: i32 = -1_000_000;

/// Time in which a queue takes what was settled, also when its disk is busy.
const TAKEN_TIME: Duration = Duration::from_secs(1);

/// Largest number of settlements that are written at once. It exceeds a channel's prefetch.
const BATCH: usize = 1024;

struct OpenTags {
    /// The lowest tag that is not settled yet.
    next: u64,
    /// Settled tags above `next`.
    above: BTreeSet<u64>,
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
    let mut tags = OpenTags { next: 1, above: BTreeSet::new() };
    let mut batch = Vec::new();
    loop {
        let received = tokio::select! {
            biased;
            received = settled.recv_many(&mut batch, BATCH) => received,
            () = stop.cancelled() => 0,
            _ = health.failed() => return false,
        };
        if received == 0 {
            return !health.has_failed();
        }
        // Other tasks that are ready may add their acknowledgements to this run.
        tokio::task::yield_now().await;
        while let (true, Ok(more)) = (batch.len() < BATCH, settled.try_recv()) {
            batch.push(more);
        }
        if let Err(error) = send(channel, tags.frames(&mut batch)).await {
            health.fail(describe(&error));
            return false;
        }
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
    fn frames(&mut self, batch: &mut Vec<SettledTag>) -> Frames {
        let mut frames = Frames::default();
        let mut done = BTreeSet::new();
        for (tag, settlement) in batch.drain(..) {
            self.above.insert(tag);
            match settlement {
                Settlement::Done => drop(done.insert(tag)),
                Settlement::Again => frames.again.push(tag),
            }
        }
        while self.above.remove(&self.next) {
            self.next += 1;
        }
        frames.single = done.split_off(&self.next).into_iter().collect();
        frames.up_to = done.last().copied();
        frames
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tags() -> OpenTags {
        OpenTags { next: 1, above: BTreeSet::new() }
    }

    fn done(tags: &[u64]) -> Vec<SettledTag> {
        tags.iter().map(|tag| (*tag, Settlement::Done)).collect()
    }

    #[test]
    fn a_contiguous_run_is_one_frame_and_what_lies_beyond_a_gap_is_not_held_back() {
        let mut tags = tags();
        let frames = tags.frames(&mut done(&[3, 1, 2, 5]));
        assert_eq!(frames, Frames { up_to: Some(3), single: vec![5], again: vec![] });
        let frames = tags.frames(&mut done(&[4, 6]));
        assert_eq!(frames, Frames { up_to: Some(6), single: vec![], again: vec![] });
    }

    #[test]
    fn what_is_given_back_is_never_acknowledged_by_itself() {
        let frames = tags().frames(&mut vec![(1, Settlement::Done), (2, Settlement::Again)]);
        assert_eq!(frames, Frames { up_to: Some(1), single: vec![], again: vec![2] });
    }

    proptest! {
        /// A model of the broker's side: which tags are open, and what each frame does to them.
        #[test]
        fn every_tag_is_settled_exactly_once_and_as_it_was_asked(
            order in Just((1..=60_u64).collect::<Vec<_>>()).prop_shuffle(),
            again in prop::collection::hash_set(1..=60_u64, 0..20),
            cuts in prop::collection::vec(1..8_usize, 60),
        ) {
            let (mut tags, mut open, mut rest) = (tags(), (1..=60).collect::<BTreeSet<u64>>(), order.as_slice());
            for cut in cuts {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                rest = later;
                let settle = |tag: &u64| {
                    (*tag, if again.contains(tag) { Settlement::Again } else { Settlement::Done })
                };
                let frames = tags.frames(&mut now.iter().map(settle).collect());
                let mut acked = BTreeSet::new();
                for tag in &frames.again {
                    prop_assert!(open.remove(tag));
                }
                if let Some(up_to) = frames.up_to {
                    prop_assert!(open.contains(&up_to), "the broker closes the channel on an unknown tag");
                    let above = open.split_off(&(up_to + 1));
                    acked.append(&mut std::mem::replace(&mut open, above));
                }
                for tag in &frames.single {
                    prop_assert!(open.remove(tag));
                    acked.insert(*tag);
                }
                let asked = now.iter().filter(|tag| !again.contains(tag)).copied().collect::<BTreeSet<_>>();
                prop_assert_eq!(acked, asked);
            }
            prop_assert!(open.is_empty());
        }
    }
}
