//! Consuming both lanes. A lane's prefetch is as many messages as there are slots for, and no more than the budget of bytes
//! has room for at their average size.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use broker::{Broker, ConsumerStatus, Handler, Incoming, Lane, Queue, run_handler};
use bytes::Bytes;
use schemas::Delivery;
use tokio::{
    task::JoinSet,
    time::{Instant, Interval, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::limits::SlotCounts;

/// How often the prefetch is reviewed. Changing it gives all unread messages back to the broker, so it must be rare.
const REVIEW: Duration = Duration::from_secs(5);

pub(crate) struct ConsumedDelivery<'a> {
    pub(crate) delivery: Delivery,
    pub(crate) incoming: &'a Incoming,
    pub(crate) lane: Lane,
}

impl ConsumedDelivery<'_> {
    /// The event, which is posted unparsed.
    pub(crate) fn body(&self) -> &Bytes {
        &self.incoming.message.body
    }
}

pub(crate) struct Lanes {
    broker: Arc<dyn Broker>,
    slots: SlotCounts,
    max_bytes: u32,
    message_size: AverageSize,
    fast: Arc<ConsumerStatus>,
    slow: Arc<ConsumerStatus>,
    stop: CancellationToken,
}

impl Lanes {
    pub(crate) fn new(broker: Arc<dyn Broker>, slots: SlotCounts, max_bytes: u32, stop: CancellationToken) -> Self {
        let [fast, slow] =
            [Lane::Fast, Lane::Slow].map(|_| ConsumerStatus::new(broker.connection_state(), Instant::now()));
        Self { broker, slots, max_bytes, message_size: AverageSize::default(), fast, slow, stop }
    }

    pub(crate) fn status(&self, lane: Lane) -> &Arc<ConsumerStatus> {
        match lane {
            Lane::Fast => &self.fast,
            Lane::Slow => &self.slow,
        }
    }

    pub(crate) fn note_size(&self, bytes: usize) {
        self.message_size.note(bytes);
    }

    /// Hands every message of a lane to `handler` until asked to stop, and then finishes the messages in hand.
    pub(crate) async fn consume<H: Handler>(&self, lane: Lane, handler: Arc<H>) {
        let most = self.slots.prefetch(lane);
        let mut prefetch = most;
        let mut consumers = JoinSet::new();
        let mut reviews = interval(REVIEW);
        reviews.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let end = CancellationToken::new();
            let consumer = self.broker.consume(Queue::Lane(lane), prefetch);
            consumers.spawn(run_handler(consumer, handler.clone(), end.clone(), self.status(lane).clone()));
            let better = tokio::select! {
                biased;
                () = self.stop.cancelled() => None,
                better = self.await_better_prefetch(&mut reviews, prefetch, most) => Some(better),
            };
            // The old consumer finishes the messages in hand; a new one with the better prefetch takes the next ones.
            end.cancel();
            let Some(better) = better else { break };
            tracing::info!(lane = lane.name(), from = prefetch, to = better, "prefetch.changed");
            prefetch = better;
        }
        while consumers.join_next().await.is_some() {}
    }

    /// Returns once another prefetch than `current` fits the size of the messages better.
    async fn await_better_prefetch(&self, reviews: &mut Interval, current: u16, most: u16) -> u16 {
        loop {
            reviews.tick().await;
            // Each lane has half of the budget.
            if let Some(better) = better_prefetch(current, most, self.max_bytes / 2, &self.message_size) {
                return better;
            }
        }
    }
}

/// Each new size moves the average by one part in this many.
const WEIGHT: u32 = 32;

#[derive(Debug, Default)]
struct AverageSize(AtomicU32);

impl AverageSize {
    /// Two sizes that are noted at the same time may count as one.
    fn note(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let old = self.0.load(Relaxed);
        // Rounded up, so that the average also moves when the difference is small.
        let step = bytes.abs_diff(old).div_ceil(WEIGHT);
        self.0.store(if bytes > old { old + step } else { old - step }, Relaxed);
    }

    fn get(&self) -> u32 {
        self.0.load(Relaxed).max(1)
    }
}

/// A prefetch to use instead of `current`, where `current` is wrong by more than half: another prefetch needs another
/// consumer. `most` is what the slots allow, `budget` is in bytes.
fn better_prefetch(current: u16, most: u16, budget: u32, size: &AverageSize) -> Option<u16> {
    let fitting = u16::try_from(budget / size.get()).unwrap_or(u16::MAX).clamp(1, most.max(1));
    let is_wrong = fitting < current.div_ceil(2) || fitting / 2 >= current || (fitting == most && current < most);
    is_wrong.then_some(fitting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefetch_is_lowered_by_large_bodies_and_restored_by_small_ones() {
        let size = AverageSize::default();
        const BUDGET: u32 = 128 * 1024 * 1024;
        (0..100).for_each(|_| size.note(1_000));
        assert_eq!(better_prefetch(1_536, 1_536, BUDGET, &size), None, "there is room for all of them");
        (0..200).for_each(|_| size.note(3 * 1024 * 1024));
        let Some(small) = better_prefetch(1_536, 1_536, BUDGET, &size) else { panic!("too many") };
        assert!((42..=44).contains(&small), "{small}");
        assert_eq!(better_prefetch(small, 1_536, BUDGET, &size), None);
        assert_eq!(better_prefetch(small * 3 / 2, 1_536, BUDGET, &size), None, "not for a little");
        (0..400).for_each(|_| size.note(1_000));
        assert_eq!(better_prefetch(small, 1_536, BUDGET, &size), Some(1_536));
        (0..400).for_each(|_| size.note(usize::MAX));
        assert_eq!(better_prefetch(1_536, 1_536, BUDGET, &size), Some(1), "one always");
    }
}
