//! Consuming a lane with a credit that follows the size of what comes: every message is handed to `handle`.

use std::{sync::Arc, time::Duration};

use broker::{Handler, Incoming, Inlet, Lane, Progress, Settlement, work};
use schemas::ParkReason;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use crate::{Deliverer, credit, metrics::LaneMetrics};

/// How often the credit is looked at. What is unread goes back when it changes, which must be rare.
const LOOK: Duration = Duration::from_secs(5);

impl Deliverer {
    /// Whether it gets anywhere with a lane.
    pub fn progress(&self, lane: Lane) -> &Arc<Progress> {
        let [fast, slow] = &self.progress;
        match lane {
            Lane::Fast => fast,
            Lane::Slow => slow,
        }
    }

    /// Hands every message of a lane to `handle`, until asked to stop; then what is under way is finished.
    pub(crate) async fn consume(self: Arc<Self>, lane: Lane) {
        let most = self.limits.credit(lane);
        let mut credit = most;
        let mut stop = self.world.stop.clone();
        let mut tasks = JoinSet::new();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (end, ended) = watch::channel(false);
            let consumer = self.world.broker.consume(Inlet::Lane(lane), credit);
            let metrics = LaneMetrics::of(&self.metrics, lane);
            let (progress, on_lane) = (self.progress(lane).clone(), OnLane { deliverer: self.clone(), lane, metrics });
            tasks.spawn(work(consumer, Arc::new(on_lane), ended, progress));
            let other = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => None,
                other = self.better_credit(&mut looks, credit, most) => Some(other),
            };
            // What is under way goes on; what comes next comes with the other credit.
            end.send_replace(true);
            match other {
                Some(other) => {
                    tracing::info!(lane = lane.name(), from = credit, to = other, "credit.changed");
                    credit = other;
                }
                None => break,
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn better_credit(&self, looks: &mut tokio::time::Interval, credit: u16, most: u16) -> u16 {
        loop {
            looks.tick().await;
            // Both lanes have half of it; the requests themselves are weighed one by one.
            if let Some(other) = credit::better(credit, most, self.max_bytes / 2, &self.size) {
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
        if self.deliverer.canaries.has_come(&incoming.message, self.deliverer.now()) {
            return Settlement::Done;
        }
        self.deliverer.handle(incoming, self.lane, &self.metrics).await
    }

    async fn panicked(&self, incoming: &Incoming) -> Settlement {
        self.deliverer.park(incoming, ParkReason::Panic, "delivering it panicked twice".to_owned()).await
    }
}
