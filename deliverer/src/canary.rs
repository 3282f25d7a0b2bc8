//! Canary deliveries: synthetic ones, sent through each lane and each short delay now and then and recognised before
//! anything is decoded, so that a way that is stuck shows also when nobody sends anything. They reach no endpoint, and
//! nothing follows from them: whatever is wrong with one, it is dropped.

mod letter;

use std::{sync::Arc, time::Duration};

use letter::{Canary, Level};
use schemas::Message;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};

use crate::{Deliverer, DelivererConfig};

/// A confirm that takes longer is not waited for: the next is another chance, and nothing piles up here.
const CONFIRM: Duration = Duration::from_secs(10);

const LEVELS: &[&str] = service::label_values!(Level::ALL, Level::name);

service::metrics! {
    /// What a deliverer counts of canary deliveries.
    pub struct CanaryMetrics {
        /// Canary deliveries sent and confirmed, by level: `fast` or `slow` straight into that lane, else the delay they take into the slow lane.
        pub sent: IntCounterVec("canary_sent_total", [level in LEVELS]),
        /// How long after their due time canary deliveries came, by level, whoever sent them.
        pub seconds: HistogramVec("canary_seconds", [level in LEVELS],
            buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0]),
        /// When the latest canary delivery came here, by level, in unix seconds; before the first, when this process began to send some.
        pub arrived: GaugeVec("canary_arrived_timestamp_seconds", [level in LEVELS]),
        /// Canary deliveries that could not be read, and were dropped.
        pub unreadable: IntCounter("canary_unreadable_total"),
    }
}

/// The canaries of a process: those it sends, and those that come to it, whoever sent them.
pub(crate) struct Canaries {
    /// Between two of one level; none are sent if it is zero.
    every: Duration,
    /// None are sent while this reads true.
    held: watch::Sender<bool>,
    metrics: CanaryMetrics,
}

impl Canaries {
    pub(crate) fn new(config: &DelivererConfig, metrics: CanaryMetrics) -> Self {
        Self { every: config.canary.0, held: watch::Sender::new(false), metrics }
    }

    /// From now on none are sent (somebody waits until the topology is empty), or some again.
    pub(crate) fn hold(&self, held: bool) {
        self.held.send_if_modified(|now| std::mem::replace(now, held) != held);
    }

    /// Notes that a message has come, if it is one. It is `now`, unix ms.
    pub(crate) fn has_come(&self, message: &Message, now: u64) -> bool {
        match Canary::read(message) {
            None => return false,
            Some(Err(letter::Unreadable)) => self.metrics.unreadable.inc(),
            Some(Ok(Canary { level, due })) => {
                let name = [level.name];
                self.metrics.seconds.with_label_values(&name).observe(seconds(now.saturating_sub(due)));
                self.metrics.arrived.with_label_values(&name).set(seconds(now));
            }
        }
        true
    }

    /// Whoever waits for the first of a level knows since when.
    fn begin(&self, now: u64) {
        for level in Level::ALL {
            self.metrics.arrived.with_label_values(&[level.name]).set(seconds(now));
        }
    }
}

impl Deliverer {
    /// Sends a canary to each level in turn, evenly over the time that a turn takes, until it is dropped.
    pub(crate) async fn send_canaries(self: Arc<Self>) {
        let Canaries { every, held, metrics } = &self.canaries;
        if every.is_zero() {
            return;
        }
        self.canaries.begin(self.now());
        let step = *every / Level::ALL.len() as u32;
        // Deliverers that start together do not send together.
        let first = Instant::now() + step.mul_f64(1.0 + (self.deps.chance)());
        let mut ticks = interval_at(first, step);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut held = held.subscribe();
        for turn in 0.. {
            ticks.tick().await;
            // The sender of this lives as long as `self`.
            let _ = held.wait_for(|held| !held).await;
            let canary = Canary::of_turn(turn, self.now());
            match timeout(CONFIRM, self.deps.broker.publish(&canary.target(), &canary.message())).await {
                Ok(Ok(())) => metrics.sent.with_label_values(&[canary.level.name]).inc(),
                // That it is not there says enough.
                Ok(Err(error)) => tracing::debug!(canary = canary.level.name, %error, "canary.not_sent"),
                Err(_) => tracing::debug!(canary = canary.level.name, "canary.not_confirmed"),
            }
        }
    }
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}
