//! Consuming a lane with a prefetch that follows the size of what comes: every message is handed to `handle`.

use std::{sync::Arc, time::Duration};

use broker::{ConsumerStatus, Handler, Incoming, Lane, Queue, Settlement, run_handler};
use schemas::ParkReason;
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{Deliverer, metrics::LaneMetrics, prefetch};

/// How often the prefetch is looked at. What is unread goes back when it changes, which must be rare.
const LOOK: Duration = Duration::from_secs(5);

impl Deliverer {
    /// Whether it gets anywhere with a lane.
    pub fn consumer_status(&self, lane: Lane) -> &Arc<ConsumerStatus> {
        let [fast, slow] = &self.consumer_status;
        match lane {
            Lane::Fast => fast,
            Lane::Slow => slow,
        }
    }

    /// Hands every message of a lane to `handle`, until asked to stop; then what is under way is finished.
    pub(crate) async fn consume(self: Arc<Self>, lane: Lane) {
        let most = self.slot_counts.prefetch(lane);
        let mut prefetch = most;
        let stop = self.deps.stop.clone();
        let mut tasks = JoinSet::new();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let end = CancellationToken::new();
            let ended = end.clone();
            let consumer = self.deps.broker.consume(Queue::Lane(lane), prefetch);
            let metrics = LaneMetrics::of(&self.metrics, lane);
            let (consumer_status, on_lane) =
                (self.consumer_status(lane).clone(), OnLane { deliverer: self.clone(), lane, metrics });
            tasks.spawn(run_handler(consumer, Arc::new(on_lane), ended, consumer_status));
            let other = tokio::select! {
                biased;
                () = stop.cancelled() => None,
                other = self.better_credit(&mut looks, prefetch, most) => Some(other),
            };
            // What is under way goes on; what comes next comes with another prefetch.
            end.cancel();
            match other {
                Some(other) => {
                    tracing::info!(lane = lane.name(), from = prefetch, to = other, "prefetch.changed");
                    prefetch = other;
                }
                None => break,
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn better_credit(&self, looks: &mut tokio::time::Interval, prefetch: u16, most: u16) -> u16 {
        loop {
            looks.tick().await;
            // Both lanes have half of it; the requests themselves are weighed one by one.
            if let Some(other) = prefetch::better(prefetch, most, self.max_bytes / 2, &self.size) {
                return other;
            }
        }
    }
}

/// A deliverer on one of the lanes.
struct OnLane {
    deliverer: Arc<Deliverer>,
    lane: Lane,
    metrics: LaneMetrics,
}

impl Handler for OnLane {
    async fn handle(&self, incoming: &Incoming) -> Settlement {
        if self.deliverer.canaries.take(&incoming.message, self.deliverer.now()) {
            return Settlement::Done;
        }
        self.deliverer.handle(incoming, self.lane, &self.metrics).await
    }

    async fn panicked(&self, incoming: &Incoming) -> Settlement {
        self.deliverer.park(incoming, ParkReason::Panic, "delivering it panicked twice".to_owned()).await
    }
}
