//! Consuming both lanes with a prefetch that follows the size of the messages, since all messages in the process share a
//! budget of bytes.

use std::{sync::Arc, time::Duration};

use broker::{Broker, ConsumerStatus, Handler, Lane, Queue, run_handler};
use tokio::{
    task::JoinSet,
    time::{Instant, Interval, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{limits::SlotCounts, prefetch};

/// How often the prefetch is reviewed. Changing it gives all unread messages back to the broker, so it must be rare.
const REVIEW: Duration = Duration::from_secs(5);

/// The two lanes that a deliverer consumes.
pub(crate) struct Lanes {
    broker: Arc<dyn Broker>,
    slots: SlotCounts,
    max_bytes: u32,
    message_size: prefetch::AverageSize,
    fast: Arc<ConsumerStatus>,
    slow: Arc<ConsumerStatus>,
    stop: CancellationToken,
}

impl Lanes {
    pub(crate) fn new(broker: Arc<dyn Broker>, slots: SlotCounts, max_bytes: u32, stop: CancellationToken) -> Self {
        let [fast, slow] =
            [Lane::Fast, Lane::Slow].map(|_| ConsumerStatus::new(broker.connection_state(), Instant::now()));
        Self { broker, slots, max_bytes, message_size: prefetch::AverageSize::default(), fast, slow, stop }
    }

    pub(crate) fn status(&self, lane: Lane) -> &Arc<ConsumerStatus> {
        match lane {
            Lane::Fast => &self.fast,
            Lane::Slow => &self.slow,
        }
    }

    /// Notes the size of a message that was handed out, in bytes.
    pub(crate) fn note_size(&self, bytes: usize) {
        self.message_size.note(bytes);
    }

    /// Hands every message of a lane to `handler`, until asked to stop; then finishes what is under way.
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
                better = self.better_prefetch(&mut reviews, prefetch, most) => Some(better),
            };
            // What is under way goes on. The next consumer gets the next messages, with the other prefetch.
            end.cancel();
            let Some(better) = better else { break };
            tracing::info!(lane = lane.name(), from = prefetch, to = better, "prefetch.changed");
            prefetch = better;
        }
        while consumers.join_next().await.is_some() {}
    }

    /// Returns once another prefetch than `current` fits the size of the messages better.
    async fn better_prefetch(&self, reviews: &mut Interval, current: u16, most: u16) -> u16 {
        loop {
            reviews.tick().await;
            // Each lane has half of the budget; the bodies that are posted are weighed one by one as well.
            if let Some(better) = prefetch::better(current, most, self.max_bytes / 2, &self.message_size) {
                return better;
            }
        }
    }
}
