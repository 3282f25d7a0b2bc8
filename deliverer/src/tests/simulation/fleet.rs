//! Deliverers in a simulation: the real gate and slots, between lanes and a ladder in memory and a town of receivers.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use broker::Lane;
use service::Clock;
use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, sleep},
};

use super::town::Town;
use crate::limits::{AttemptEnd, DelivererCount, Limiter, QueueLimits, Request, SlotCounts, Slots, TurnedAway};

/// When what fails is tried again.
const SCHEDULE: [u64; 6] = [5, 30, 120, 600, 1_800, 7_200];

/// A delivery on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parcel {
    pub(super) endpoint: usize,
    pub(super) accepted: Instant,
    attempt: usize,
    has_waited: bool,
}

/// What has happened.
#[derive(Default)]
pub(super) struct Totals {
    /// Healthy endpoints: ms from acceptance to the first attempt.
    pub(super) delays: Vec<u64>,
    pub(super) parcels: u64,
    pub(super) deferrals: u64,
    pub(super) overflows: u64,
    pub(super) cut_short: u64,
    /// Of endpoints in trouble: when each attempt began, and whether it came to a success.
    pub(super) attempts: Vec<(Instant, bool)>,
    pub(super) most_under_way: usize,
    under_way: usize,
    pub(super) delivered: u64,
}

/// A lane: whoever has prefetch takes the next.
#[derive(Default)]
struct Queue {
    parcels: Mutex<VecDeque<Parcel>>,
    more: Notify,
}

impl Queue {
    fn push(&self, parcel: Parcel) {
        self.parcels.lock().unwrap().push_back(parcel);
        self.more.notify_one();
    }

    async fn pop(&self) -> Parcel {
        loop {
            let more = self.more.notified();
            if let Some(parcel) = self.parcels.lock().unwrap().pop_front() {
                // A permit is one word for many pushes.
                self.more.notify_one();
                return parcel;
            }
            more.await;
        }
    }
}

/// What the deliverers share.
pub(super) struct Fleet {
    town: Town,
    lanes: [Queue; 2],
    pub(super) totals: Mutex<Totals>,
    chance: Mutex<fastrand::Rng>,
    clock: Clock,
    began: Instant,
    /// The clock of the ladder: RabbitMQ's shortest wait is a second.
    shortest_wait: Duration,
}

struct Deliverer {
    limiter: Limiter,
    slots: Slots,
}

impl Fleet {
    /// So many deliverers, with so many slots each.
    pub(super) fn start(town: Town, deliverers: u32, limits: SlotCounts) -> Arc<Self> {
        let began = Instant::now();
        let clock: Clock = Arc::new(move || 1_790_000_000_000 + u64::try_from(began.elapsed().as_millis()).unwrap());
        let fleet = Arc::new(Self {
            town,
            lanes: Default::default(),
            totals: Mutex::default(),
            chance: Mutex::new(fastrand::Rng::with_seed(7)),
            clock: clock.clone(),
            began,
            shortest_wait: Duration::from_secs(1),
        });
        let prefetch = u32::from(limits.prefetch(Lane::Fast));
        let room = QueueLimits { per_endpoint: prefetch / 4, total: prefetch / 2 };
        let all: Vec<_> = (0..deliverers)
            .map(|_| {
                let limiter = Limiter::new(clock.clone(), room, crate::BreakerConfig::default());
                limiter.set_deliverers(DelivererCount { known: deliverers, assumed: deliverers });
                Arc::new(Deliverer { limiter, slots: Slots::new(limits, clock.clone()) })
            })
            .collect();
        for deliverer in &all {
            for lane in [Lane::Fast, Lane::Slow] {
                tokio::spawn(fleet.clone().consume(deliverer.clone(), lane, limits.prefetch(lane)));
            }
        }
        tokio::spawn(fleet.clone().pulse(all));
        fleet
    }

    /// An event for some endpoint, now; for one of them if it is named.
    pub(super) fn publish(&self, endpoint: Option<usize>) {
        let endpoint = endpoint.unwrap_or_else(|| self.town.pick(self.chance().0));
        let now = Instant::now();
        self.totals().parcels += 1;
        let parcel = Parcel { endpoint, accepted: now, attempt: 0, has_waited: false };
        self.lanes[0].push(parcel);
    }

    /// Publishes so many a second, at random times, for so long.
    pub(super) async fn load(&self, per_second: f64, time: Duration, endpoint: Option<usize>) {
        let until = Instant::now() + time;
        let mut next = Instant::now();
        while next < until {
            next += Duration::from_secs_f64(-(1.0 - self.chance().0).ln() / per_second);
            tokio::time::sleep_until(next).await;
            self.publish(endpoint);
        }
    }

    /// How many have neither been delivered nor overflowed.
    pub(super) fn owed(&self) -> u64 {
        let totals = self.totals();
        totals.parcels - totals.delivered - totals.overflows
    }

    /// How often a delivery was put aside, on average.
    pub(super) fn parks_each(&self) -> f64 {
        let totals = self.totals();
        totals.deferrals as f64 / totals.parcels as f64
    }

    async fn pulse(self: Arc<Self>, all: Vec<Arc<Deliverer>>) {
        loop {
            sleep(Duration::from_millis(250)).await;
            for (at, deliverer) in all.iter().enumerate() {
                self.totals().cut_short += deliverer.slots.shorten((self.clock)()) as u64;
                for news in deliverer.limiter.take_breaker_changes() {
                    let others = all.iter().enumerate().filter(|(other, _)| *other != at);
                    others.for_each(|(_, other)| other.limiter.hear(&news));
                }
            }
        }
    }

    async fn consume(self: Arc<Self>, deliverer: Arc<Deliverer>, lane: Lane, prefetch: u16) {
        let prefetch = Arc::new(Semaphore::new(prefetch.into()));
        loop {
            let prefetch = prefetch.clone().acquire_owned().await.unwrap();
            let parcel = self.lanes[lane as usize].pop().await;
            let (fleet, deliverer) = (self.clone(), deliverer.clone());
            tokio::spawn(async move {
                fleet.handle(&deliverer, parcel, lane).await;
                drop(prefetch);
            });
        }
    }

    async fn handle(self: &Arc<Self>, deliverer: &Deliverer, parcel: Parcel, lane: Lane) {
        let request = Request {
            tenant: "acme",
            endpoint: &self.town.endpoints[parcel.endpoint],
            has_waited: parcel.has_waited,
            is_on_fast: lane == Lane::Fast,
            slots_are_scarce: deliverer.slots.are_scarce(),
        };
        let permit = match deliverer.limiter.admit(request).await {
            Ok(permit) => permit,
            Err(TurnedAway::Deferred { until, .. }) => {
                self.totals().deferrals += 1;
                let wait = Duration::from_millis(until.saturating_sub((self.clock)()));
                return self.wait(parcel, wait);
            }
            Err(TurnedAway::SlowLane) => return self.lanes[1].push(parcel),
            Err(TurnedAway::Overflow) => return self.totals().overflows += 1,
        };
        let is_healthy = self.town.is_healthy(parcel.endpoint);
        let began = Mutex::new(Instant::now());
        let request = async {
            *began.lock().unwrap() = Instant::now();
            self.begin(&parcel, is_healthy);
            let chance = self.chance();
            self.town.post(parcel.endpoint, chance).await
        };
        let outcome = deliverer.slots.run(lane, permit.endpoint(), request).await;
        let began = *began.lock().unwrap();
        let cut_short = || crate::Outcome::cut_short(u64::try_from(began.elapsed().as_millis()).unwrap());
        let outcome = outcome.unwrap_or_else(cut_short);
        let is_success = outcome.status.is_some();
        let now = (self.clock)();
        permit.ended(AttemptEnd::of(&outcome, now), now, self.chance().0);
        self.end(began, is_healthy, is_success);
        if !is_success && let Some(seconds) = SCHEDULE.get(parcel.attempt) {
            let wait = Duration::from_secs_f64(*seconds as f64 * (0.8 + 0.4 * self.chance().0));
            self.wait(Parcel { attempt: parcel.attempt + 1, ..parcel }, wait);
        }
    }

    /// Lies on the ladder for a while, then comes on the slow lane.
    fn wait(self: &Arc<Self>, parcel: Parcel, wait: Duration) {
        let fleet = self.clone();
        let whole = Duration::from_secs(wait.as_millis().div_ceil(1_000) as u64).max(self.shortest_wait);
        tokio::spawn(async move {
            sleep(whole).await;
            fleet.lanes[1].push(Parcel { has_waited: true, ..parcel });
        });
    }

    fn begin(&self, parcel: &Parcel, is_healthy: bool) {
        let mut totals = self.totals();
        if is_healthy && parcel.attempt == 0 {
            totals.delays.push(u64::try_from(parcel.accepted.elapsed().as_millis()).unwrap());
        }
        if !is_healthy {
            totals.under_way += 1;
            totals.most_under_way = totals.most_under_way.max(totals.under_way);
        }
    }

    fn end(&self, began: Instant, is_healthy: bool, is_success: bool) {
        let mut totals = self.totals();
        totals.delivered += u64::from(is_success);
        if !is_healthy {
            totals.under_way -= 1;
            totals.attempts.push((began, is_success));
        }
    }

    pub(super) fn totals(&self) -> std::sync::MutexGuard<'_, Totals> {
        self.totals.lock().unwrap()
    }

    pub(super) fn began(&self) -> Instant {
        self.began
    }

    fn chance(&self) -> (f64, f64) {
        let mut chance = self.chance.lock().unwrap();
        (chance.f64(), chance.f64())
    }
}
