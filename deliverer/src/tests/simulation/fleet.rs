//! The deliverers of a simulation: the real limiter and slots, between lanes and a ladder in memory, and simulated
//! receivers.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use broker::Lane;
use service::Clock;
use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, sleep},
};

use super::receivers::Receivers;
use crate::{
    config::BreakerConfig,
    limits::{
        AttemptEnd, AttemptRequest, DelivererCount, Limiter, QueueLimits, SlotCounts, Slots, TurnedAway, UptimeClock,
    },
    outcome::Outcome,
};

/// Seconds until a failed delivery is tried again, by attempt.
const SCHEDULE: [u64; 6] = [5, 30, 120, 600, 1_800, 7_200];
/// Shortest wait on RabbitMQ's ladder, whose clock counts in seconds.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
struct SimulatedDelivery {
    endpoint: usize,
    accepted: Instant,
    attempt: usize,
    has_waited: bool,
}

/// What has happened in a simulation.
#[derive(Default)]
pub(super) struct Totals {
    /// Ms from acceptance to the first attempt, for each delivery to a healthy endpoint.
    pub(super) delays: Vec<u64>,
    pub(super) published: u64,
    pub(super) deferrals: u64,
    pub(super) overflows: u64,
    pub(super) cut_short: u64,
    /// When each attempt at an endpoint in trouble began, and whether it succeeded.
    pub(super) attempts: Vec<(Instant, bool)>,
    /// Most attempts at endpoints in trouble that were in flight at once.
    pub(super) most_in_flight: usize,
    in_flight: usize,
    pub(super) delivered: u64,
}

impl Totals {
    /// Average number of deferrals of a delivery.
    pub(super) fn deferrals_each(&self) -> f64 {
        self.deferrals as f64 / self.published as f64
    }
}

/// A lane that all deliverers consume.
#[derive(Default)]
struct LaneQueue {
    deliveries: Mutex<VecDeque<SimulatedDelivery>>,
    more: Notify,
}

impl LaneQueue {
    fn push(&self, delivery: SimulatedDelivery) {
        self.deliveries.lock().unwrap().push_back(delivery);
        self.more.notify_one();
    }

    async fn pop(&self) -> SimulatedDelivery {
        loop {
            let more = self.more.notified();
            if let Some(delivery) = self.deliveries.lock().unwrap().pop_front() {
                // One notification may stand for many pushes, so it is passed on.
                self.more.notify_one();
                return delivery;
            }
            more.await;
        }
    }
}

struct SimulatedDeliverer {
    limiter: Limiter,
    slots: Slots,
}

/// Several deliverers, and what they share.
pub(super) struct Fleet {
    receivers: Receivers,
    lanes: [LaneQueue; 2],
    totals: Mutex<Totals>,
    chance: Mutex<fastrand::Rng>,
    clock: Clock,
    began: Instant,
}

impl Fleet {
    /// Starts so many deliverers, each with these slots.
    pub(super) fn start(receivers: Receivers, deliverers: u32, slots: SlotCounts) -> Arc<Self> {
        let began = Instant::now();
        let clock: Clock = Arc::new(move || 1_790_000_000_000 + u64::try_from(began.elapsed().as_millis()).unwrap());
        let fleet = Arc::new(Self {
            receivers,
            lanes: Default::default(),
            totals: Mutex::default(),
            chance: Mutex::new(fastrand::Rng::with_seed(7)),
            clock: clock.clone(),
            began,
        });
        let prefetch = u32::from(slots.prefetch(Lane::Fast));
        let queues = QueueLimits { per_endpoint: prefetch / 4, total: prefetch / 2 };
        let all: Vec<_> = (0..deliverers)
            .map(|_| {
                let uptime = UptimeClock::start();
                let limiter = Limiter::new(clock.clone(), uptime, queues, BreakerConfig::default());
                limiter.set_deliverers(DelivererCount { known: deliverers, assumed: deliverers });
                Arc::new(SimulatedDeliverer { limiter, slots: Slots::new(slots, uptime) })
            })
            .collect();
        for deliverer in &all {
            for lane in [Lane::Fast, Lane::Slow] {
                tokio::spawn(fleet.clone().consume(deliverer.clone(), lane, slots.prefetch(lane)));
            }
        }
        tokio::spawn(fleet.clone().heartbeat(all));
        fleet
    }

    /// Publishes an event to `endpoint`, else to a random one.
    pub(super) fn publish(&self, endpoint: Option<usize>) {
        let endpoint = endpoint.unwrap_or_else(|| self.receivers.pick(self.chances().0));
        let accepted = Instant::now();
        self.totals().published += 1;
        self.lanes[0].push(SimulatedDelivery { endpoint, accepted, attempt: 0, has_waited: false });
    }

    /// Publishes at this rate, at random times, for so long.
    pub(super) async fn load(&self, per_second: f64, time: Duration, endpoint: Option<usize>) {
        let until = Instant::now() + time;
        let mut next = Instant::now();
        while next < until {
            next += Duration::from_secs_f64(-(1.0 - self.chances().0).ln() / per_second);
            tokio::time::sleep_until(next).await;
            self.publish(endpoint);
        }
    }

    /// Number of deliveries that have neither succeeded nor overflowed.
    pub(super) fn owed(&self) -> u64 {
        let totals = self.totals();
        totals.published - totals.delivered - totals.overflows
    }

    async fn heartbeat(self: Arc<Self>, all: Vec<Arc<SimulatedDeliverer>>) {
        loop {
            sleep(Duration::from_millis(250)).await;
            for (at, deliverer) in all.iter().enumerate() {
                self.totals().cut_short += deliverer.slots.shorten(deliverer.limiter.now()) as u64;
                for change in deliverer.limiter.take_breaker_changes() {
                    let others = all.iter().enumerate().filter(|(other, _)| *other != at);
                    others.for_each(|(_, other)| other.limiter.apply_announced(&change));
                }
            }
        }
    }

    async fn consume(self: Arc<Self>, deliverer: Arc<SimulatedDeliverer>, lane: Lane, prefetch: u16) {
        let prefetch = Arc::new(Semaphore::new(prefetch.into()));
        loop {
            let prefetch = prefetch.clone().acquire_owned().await.unwrap();
            let delivery = self.lanes[lane as usize].pop().await;
            let (fleet, deliverer) = (self.clone(), deliverer.clone());
            tokio::spawn(async move {
                fleet.handle(&deliverer, delivery, lane).await;
                drop(prefetch);
            });
        }
    }

    async fn handle(self: &Arc<Self>, deliverer: &SimulatedDeliverer, delivery: SimulatedDelivery, lane: Lane) {
        let request = AttemptRequest {
            tenant: "acme",
            endpoint: &self.receivers.endpoints[delivery.endpoint],
            has_waited: delivery.has_waited,
            is_on_fast: lane == Lane::Fast,
            slots_are_scarce: deliverer.slots.are_scarce(),
        };
        let permit = match deliverer.limiter.admit(request).await {
            Ok(permit) => permit,
            Err(TurnedAway::Deferred { wait_ms, .. }) => {
                self.totals().deferrals += 1;
                return self.wait(delivery, Duration::from_millis(wait_ms));
            }
            Err(TurnedAway::SlowLane) => return self.lanes[1].push(delivery),
            Err(TurnedAway::Overflow) => return self.totals().overflows += 1,
        };
        let is_healthy = self.receivers.is_healthy(delivery.endpoint);
        let began = Mutex::new(Instant::now());
        let post = async {
            *began.lock().unwrap() = Instant::now();
            self.attempt_begins(&delivery, is_healthy);
            let chances = self.chances();
            self.receivers.post(delivery.endpoint, chances).await
        };
        let outcome = deliverer.slots.run(lane, permit.endpoint(), post).await;
        let began = *began.lock().unwrap();
        let cut_short = || Outcome::cut_short(u64::try_from(began.elapsed().as_millis()).unwrap());
        let outcome = outcome.unwrap_or_else(cut_short);
        let is_success = outcome.status.is_some();
        permit.ended(AttemptEnd::of(&outcome, (self.clock)()), self.chances().0);
        self.attempt_ended(began, is_healthy, is_success);
        if !is_success && let Some(seconds) = SCHEDULE.get(delivery.attempt) {
            let wait = Duration::from_secs_f64(*seconds as f64 * (0.8 + 0.4 * self.chances().0));
            self.wait(SimulatedDelivery { attempt: delivery.attempt + 1, ..delivery }, wait);
        }
    }

    /// Puts a delivery on the ladder, from where it goes to the slow lane.
    fn wait(self: &Arc<Self>, delivery: SimulatedDelivery, wait: Duration) {
        let fleet = self.clone();
        let whole = Duration::from_secs(wait.as_millis().div_ceil(1_000) as u64).max(SHORTEST_WAIT);
        tokio::spawn(async move {
            sleep(whole).await;
            fleet.lanes[1].push(SimulatedDelivery { has_waited: true, ..delivery });
        });
    }

    fn attempt_begins(&self, delivery: &SimulatedDelivery, is_healthy: bool) {
        let mut totals = self.totals();
        if is_healthy && delivery.attempt == 0 {
            totals.delays.push(u64::try_from(delivery.accepted.elapsed().as_millis()).unwrap());
        }
        if !is_healthy {
            totals.in_flight += 1;
            totals.most_in_flight = totals.most_in_flight.max(totals.in_flight);
        }
    }

    fn attempt_ended(&self, began: Instant, is_healthy: bool, is_success: bool) {
        let mut totals = self.totals();
        totals.delivered += u64::from(is_success);
        if !is_healthy {
            totals.in_flight -= 1;
            totals.attempts.push((began, is_success));
        }
    }

    pub(super) fn totals(&self) -> MutexGuard<'_, Totals> {
        self.totals.lock().unwrap()
    }

    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// Two random numbers in 0..1.
    fn chances(&self) -> (f64, f64) {
        let mut chance = self.chance.lock().unwrap();
        (chance.f64(), chance.f64())
    }
}
