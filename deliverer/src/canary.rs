//! Canaries: synthetic deliveries through each lane and each short delay, so that a stuck one shows even when no events
//! are published. They are recognised before anything is decoded, reach no endpoint, and are dropped.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use broker::{Due, Lane, Target};
use schemas::{HeaderValue, Headers, Message, process_report::LaneCanary, wire};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};

use crate::{DelivererConfig, DelivererDependencies};

/// Longest wait for a confirm, so that canaries do not pile up here.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);

const LEVELS: &[&str] = service::label_values!(CanaryLevel::ALL, CanaryLevel::name);

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

/// Sends canaries, and counts those that this process consumes.
pub(crate) struct Canaries {
    /// Time between two canaries of one level. Zero sends none.
    every: Duration,
    is_paused: watch::Sender<bool>,
    metrics: CanaryMetrics,
    /// The latest canary that came straight through each lane.
    latest: Mutex<Vec<LaneCanary>>,
}

impl Canaries {
    pub(crate) fn new(config: &DelivererConfig, metrics: CanaryMetrics) -> Self {
        Self { every: config.canary.0, is_paused: watch::Sender::new(false), metrics, latest: Mutex::default() }
    }

    /// Pauses while an operator waits for empty queues, or goes on.
    pub(crate) fn pause(&self, is_paused: bool) {
        self.is_paused.send_if_modified(|before| std::mem::replace(before, is_paused) != is_paused);
    }

    /// The latest canary that came here by each lane.
    pub(crate) fn latest(&self) -> Vec<LaneCanary> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note_latest(&self, level: CanaryLevel, took_ms: u64, at: u64) {
        if level.wait_ms.is_none() {
            let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
            latest.retain(|canary| canary.lane != level.name);
            latest.push(LaneCanary { lane: level.name.to_owned(), took_ms, at });
        }
    }

    /// Counts a canary that came at `now`, unix ms. False if the message is none.
    pub(crate) fn take(&self, message: &Message, now: u64) -> bool {
        match CanaryMessage::read(message) {
            None => return false,
            Some(Err(UnreadableCanary)) => self.metrics.unreadable.inc(),
            Some(Ok(CanaryMessage { level, due })) => {
                let name = [level.name];
                self.metrics.seconds.with_label_values(&name).observe(seconds(now.saturating_sub(due)));
                self.metrics.arrived.with_label_values(&name).set(seconds(now));
                self.note_latest(level, now.saturating_sub(due), now);
            }
        }
        true
    }

    /// Sends a canary to each level in turn, evenly over the configured time, until it is dropped.
    pub(crate) async fn send(&self, deps: &DelivererDependencies) {
        let DelivererDependencies { broker, clock, chance, .. } = deps;
        if self.every.is_zero() {
            return;
        }
        self.begin(clock());
        let step = self.every / CanaryLevel::ALL.len() as u32;
        // Deliverers that start together do not send together.
        let first = Instant::now() + step.mul_f64(1.0 + chance());
        let mut ticks = interval_at(first, step);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_paused = self.is_paused.subscribe();
        for turn in 0.. {
            ticks.tick().await;
            let _ = is_paused.wait_for(|is_paused| !is_paused).await;
            let canary = CanaryMessage::of_turn(turn, clock());
            match timeout(CONFIRM_TIMEOUT, broker.publish(&canary.target(), &canary.to_message())).await {
                Ok(Ok(())) => self.metrics.sent.with_label_values(&[canary.level.name]).inc(),
                // The missing arrival raises the alert.
                Ok(Err(error)) => tracing::debug!(canary = canary.level.name, %error, "canary.not_sent"),
                Err(_) => tracing::debug!(canary = canary.level.name, "canary.not_confirmed"),
            }
        }
    }

    /// Gives an alert on a missing level a time to count from.
    fn begin(&self, now: u64) {
        for level in CanaryLevel::ALL {
            self.metrics.arrived.with_label_values(&[level.name]).set(seconds(now));
        }
    }
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

/// A path that canaries take: a lane, or a delay into the slow lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CanaryLevel {
    name: &'static str,
    lane: Lane,
    /// `None` for a canary that goes straight into the lane.
    wait_ms: Option<u64>,
}

impl CanaryLevel {
    /// The lanes, and the delays of RabbitMQ's ladder up to five minutes. The canary of a longer delay would be missed
    /// only after hours.
    const ALL: [Self; 10] = [
        Self { name: "fast", lane: Lane::Fast, wait_ms: None },
        Self { name: "slow", lane: Lane::Slow, wait_ms: None },
        Self::delay("1s", 1),
        Self::delay("2s", 2),
        Self::delay("5s", 5),
        Self::delay("10s", 10),
        Self::delay("30s", 30),
        Self::delay("1m", 60),
        Self::delay("2m", 120),
        Self::delay("5m", 300),
    ];

    const fn name(self) -> &'static str {
        self.name
    }

    const fn delay(name: &'static str, seconds: u64) -> Self {
        Self { name, lane: Lane::Slow, wait_ms: Some(seconds * 1_000) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CanaryMessage {
    level: CanaryLevel,
    /// Unix ms.
    due: u64,
}

/// A canary without a known level or a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct UnreadableCanary;

impl CanaryMessage {
    fn of_turn(turn: usize, now: u64) -> Self {
        let level = CanaryLevel::ALL[turn % CanaryLevel::ALL.len()];
        Self { level, due: now + level.wait_ms.unwrap_or(0) }
    }

    fn target(&self) -> Target {
        let due = self.level.wait_ms.map(|_| Due { at: self.due, exact: true });
        Target::Lane(self.level.lane, due)
    }

    fn to_message(self) -> Message {
        let began = self.due - self.level.wait_ms.unwrap_or(0);
        let mut headers = Headers::default();
        headers.set(wire::SCHEMA, HeaderValue::Int(wire::SCHEMA_VERSION));
        headers.set(wire::CANARY, HeaderValue::Text(self.level.name.into()));
        headers.set(wire::ACCEPTED_AT, HeaderValue::Int(i64::try_from(began).unwrap_or(i64::MAX)));
        Message { id: "canary".to_owned(), kind: "canary".to_owned(), headers, ..Message::default() }
    }

    /// `None` if the message is no canary.
    fn read(message: &Message) -> Option<Result<Self, UnreadableCanary>> {
        let headers = &message.headers;
        let Some(name) = headers.text(wire::CANARY) else {
            return headers.int(wire::CANARY).map(|_| Err(UnreadableCanary));
        };
        let level = CanaryLevel::ALL.into_iter().find(|level| level.name == name);
        let began = headers.int(wire::ACCEPTED_AT).and_then(|at| u64::try_from(at).ok());
        Some(level.zip(began).ok_or(UnreadableCanary).map(|(level, began)| {
            let due = began.saturating_add(level.wait_ms.unwrap_or(0));
            Self { level, due }
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use broker::{
        BrokerConfig,
        rabbitmq::{Argument, Topology},
    };

    use super::*;

    const NOW: u64 = 1_790_000_000_000;

    #[test]
    fn a_turn_has_each_level_once_and_then_begins_anew() {
        let turn = |from: usize| (from..from + 10).map(|turn| CanaryMessage::of_turn(turn, NOW).level.name);
        assert_eq!(turn(0).collect::<BTreeSet<_>>().len(), 10);
        assert!(turn(0).eq(turn(10)));
    }

    #[test]
    fn a_canary_is_read_as_it_was_written() {
        for turn in 0..10 {
            let canary = CanaryMessage::of_turn(turn, NOW);
            assert_eq!(CanaryMessage::read(&canary.to_message()), Some(Ok(canary)));
        }
    }

    #[test]
    fn a_message_without_the_header_is_no_canary_and_one_that_cannot_be_read_still_is() {
        assert_eq!(CanaryMessage::read(&Message::default()), None);
        let odd = |change: fn(&mut Headers)| {
            let mut message = CanaryMessage::of_turn(3, NOW).to_message();
            change(&mut message.headers);
            CanaryMessage::read(&message)
        };
        let unreadable = Some(Err(UnreadableCanary));
        assert_eq!(odd(|headers| headers.set(wire::CANARY, HeaderValue::Text("7y".into()))), unreadable);
        assert_eq!(odd(|headers| headers.set(wire::CANARY, HeaderValue::Int(7))), unreadable);
        assert_eq!(odd(|headers| headers.set(wire::ACCEPTED_AT, HeaderValue::Int(-1))), unreadable);
        assert_eq!(odd(|headers| headers.remove(wire::ACCEPTED_AT)), unreadable);
    }

    #[test]
    fn each_delay_of_rabbitmq_up_to_five_minutes_has_its_canaries() {
        let plan = Topology::plan(&BrokerConfig {
            url: String::new(),
            prefix: "p".to_owned(),
            exchange: "e".to_owned(),
            declare: false,
            max_bytes: 0,
            dead_letters_bytes: 10_000_000_000,
            parked_bytes: 5_000_000_000,
        });
        let ttl = |arguments: &[(&str, Argument)]| match arguments.iter().find(|(name, _)| *name == "x-message-ttl")? {
            (_, Argument::Int(ttl)) => u64::try_from(*ttl).ok(),
            _ => None,
        };
        let planned = plan.queues.iter().filter_map(|queue| {
            let name = queue.name.strip_prefix("p.v1.delay.")?;
            Some((name, ttl(&queue.arguments)?)).filter(|(_, ttl)| *ttl <= 300_000)
        });
        let sent = CanaryLevel::ALL.iter().filter_map(|level| Some((level.name, level.wait_ms?)));
        assert_eq!(planned.collect::<Vec<_>>(), sent.collect::<Vec<_>>());
    }
}
