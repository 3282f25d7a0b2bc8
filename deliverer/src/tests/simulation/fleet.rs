//! The deliverers of a simulation: the real limiter and slots, between lanes and a ladder in memory, and simulated
//! receivers.

use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use broker::{Lane, Prefetch};
use service::{Clock, FairSemaphore};
use tokio::{
    sync::Notify,
    task::yield_now,
    time::{Instant, sleep, timeout},
};

use super::receivers::Receivers;
use crate::{
    config::BreakerConfig,
    direct,
    limits::{AttemptEnd, AttemptRequest, DelivererCount, Limiter, SlotCounts, Slots, TurnedAway, UptimeClock},
    outcome::Outcome,
};

/// Seconds until a failed delivery is tried again, by attempt.
const SCHEDULE: [u64; 6] = [5, 30, 120, 600, 1_800, 7_200];
/// Half of a router's prefetch.
const HANDED_OVER: u32 = 128;
/// Longest wait of an event for others of its process that are handed over.
const HAND_OVER_WAIT: Duration = Duration::from_millis(250);
/// Shortest wait on RabbitMQ's ladder, whose clock counts in seconds.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
struct SimulatedDelivery {
    endpoint: usize,
    accepted: Instant,
    attempt: usize,
    has_waited: bool,
    /// When a retry is due.
    due: Option<Instant>,
}

/// What has happened in a simulation.
#[derive(Default)]
pub(super) struct Totals {
    /// Ms from acceptance to the first attempt, for each delivery to a healthy endpoint.
    pub(super) delays: Vec<u64>,
    pub(super) published: u64,
    /// Deliveries that a router handed over.
    pub(super) handed_over: u64,
    pub(super) deferrals: u64,
    pub(super) overflows: u64,
    pub(super) cut_short: u64,
    /// When each attempt at an endpoint in trouble began, and whether it succeeded.
    pub(super) attempts: Vec<(Instant, bool)>,
    /// Most attempts at endpoints in trouble that were in flight at once.
    pub(super) most_in_flight: usize,
    in_flight: usize,
    pub(super) delivered: u64,
    pub(super) by_tenant: HashMap<&'static str, TenantTotals>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct TenantTotals {
    /// Ms from acceptance to the first attempt.
    pub(super) delays: Vec<u64>,
    /// Ms from the time at which a retry was due to its attempt.
    pub(super) retry_delays: Vec<u64>,
    pub(super) deferrals: u64,
    pub(super) delivered: u64,
}

/// A wait on the ladder.
fn whole_seconds(wait: Duration) -> Duration {
    Duration::from_secs(wait.as_millis().div_ceil(1_000) as u64).max(SHORTEST_WAIT)
}

/// The delay that 99 of a hundred do not exceed.
pub(super) fn p99(delays: &[u64]) -> u64 {
    let mut sorted = delays.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() * 99 / 100]
}

impl Totals {
    /// Average number of deferrals of a delivery.
    pub(super) fn deferrals_each(&self) -> f64 {
        self.deferrals as f64 / self.published as f64
    }

    pub(super) fn of(&mut self, tenant: &'static str) -> &mut TenantTotals {
        self.by_tenant.entry(tenant).or_default()
    }
}

/// A lane that all deliverers consume.
#[derive(Default)]
struct LaneQueue {
    deliveries: Mutex<VecDeque<SimulatedDelivery>>,
    more: Notify,
    /// Time between two deliveries that the lane hands out, and when it hands out the next one.
    gap: Duration,
    next: Mutex<Option<Instant>>,
}

impl LaneQueue {
    fn new(gap: Duration) -> Self {
        Self { gap, ..Self::default() }
    }

    fn push(&self, delivery: SimulatedDelivery) {
        self.deliveries.lock().unwrap().push_back(delivery);
        self.more.notify_one();
    }

    async fn pop(&self) -> SimulatedDelivery {
        loop {
            let more = self.more.notified();
            let next = self.deliveries.lock().unwrap().pop_front();
            if let Some(delivery) = next {
                // One notification may stand for many pushes, so it is passed on.
                self.more.notify_one();
                self.turn().await;
                return delivery;
            }
            more.await;
        }
    }

    /// Waits until the lane may hand out one more.
    async fn turn(&self) {
        if self.gap.is_zero() {
            return;
        }
        let at = {
            let next = &mut *self.next.lock().unwrap();
            let at = next.unwrap_or_else(Instant::now).max(Instant::now());
            *next = Some(at + self.gap);
            at
        };
        // A timer counts in ms.
        if at > Instant::now() + Duration::from_millis(1) {
            tokio::time::sleep_until(at).await;
        }
    }
}

struct SimulatedDeliverer {
    /// Another one after a restart.
    limiter: Mutex<Arc<Limiter>>,
    slots: Slots,
    hands: [Hand; 2],
    /// Events whose deliveries the router of its process may hand over at once.
    direct: Arc<FairSemaphore>,
}

impl SimulatedDeliverer {
    fn limiter(&self) -> Arc<Limiter> {
        self.limiter.lock().unwrap().clone()
    }
}

/// What a deliverer has in hand of one lane.
#[derive(Default)]
struct Hand {
    held: Mutex<(u16, usize)>,
    less: Notify,
}

impl Hand {
    /// Waits until the prefetch allows a message more. As on RabbitMQ, half of the bytes are settled first once they are
    /// too many.
    async fn room(&self, prefetch: Prefetch) {
        let mut most_bytes = prefetch.bytes;
        loop {
            let less = self.less.notified();
            let (messages, bytes) = *self.held.lock().unwrap();
            if messages < prefetch.messages && bytes <= most_bytes {
                return;
            }
            if bytes > prefetch.bytes {
                most_bytes = prefetch.bytes / 2;
            }
            less.await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut (u16, usize))) {
        change(&mut self.held.lock().unwrap());
        self.less.notify_one();
    }
}

/// Several deliverers, and what they share.
pub(super) struct Fleet {
    receivers: Receivers,
    lanes: [LaneQueue; 2],
    deliverers: Vec<Arc<SimulatedDeliverer>>,
    prefetch: Prefetch,
    totals: Mutex<Totals>,
    chance: Mutex<fastrand::Rng>,
    clock: Clock,
    began: Instant,
    /// True when each deliverer is in one process with a router.
    is_direct: AtomicBool,
}

/// The limiter of one of so many deliverers.
fn new_limiter(clock: Clock, prefetch: Prefetch, deliverers: u32) -> Arc<Limiter> {
    let limiter = Limiter::new(clock, UptimeClock::start(), prefetch, BreakerConfig::default());
    limiter.set_deliverers(DelivererCount { known: deliverers, assumed: deliverers });
    Arc::new(limiter)
}

impl Fleet {
    /// Starts so many deliverers, each with these slots.
    pub(super) fn start(receivers: Receivers, deliverers: u32, slots: SlotCounts) -> Arc<Self> {
        Self::start_with(receivers, deliverers, slots, usize::MAX)
    }

    /// Starts one of so many deliverers that share everything. Each lane hands it so many deliveries a second.
    pub(super) fn start_one_of(receivers: Receivers, all: u32, slots: SlotCounts, per_second: u32) -> Arc<Self> {
        let gap = Duration::from_secs(1) / per_second;
        let fleet = Self::start_at_pace(receivers, 1, slots, usize::MAX, gap);
        fleet.deliverers[0].limiter().set_deliverers(DelivererCount { known: all, assumed: all });
        fleet
    }

    /// Has the first deliverer assume so many of them, of which it knows itself only.
    pub(super) fn assume(&self, deliverers: u32) {
        self.deliverers[0].limiter().set_deliverers(DelivererCount { known: 1, assumed: deliverers });
    }

    /// Starts so many deliverers, each with these slots and so many bytes in hand of each lane.
    pub(super) fn start_with(receivers: Receivers, deliverers: u32, slots: SlotCounts, bytes: usize) -> Arc<Self> {
        Self::start_at_pace(receivers, deliverers, slots, bytes, Duration::ZERO)
    }

    fn start_at_pace(
        receivers: Receivers,
        deliverers: u32,
        slots: SlotCounts,
        bytes: usize,
        gap: Duration,
    ) -> Arc<Self> {
        let began = Instant::now();
        let clock: Clock = Arc::new(move || 1_790_000_000_000 + u64::try_from(began.elapsed().as_millis()).unwrap());
        let prefetch = Prefetch { messages: slots.prefetch(), bytes };
        let deliverers: Vec<_> = (0..deliverers)
            .map(|_| {
                let limiter = Mutex::new(new_limiter(clock.clone(), prefetch, deliverers));
                let slots = Slots::new(slots, UptimeClock::start());
                let direct = FairSemaphore::new(HANDED_OVER);
                Arc::new(SimulatedDeliverer { limiter, slots, hands: Default::default(), direct })
            })
            .collect();
        let fleet = Arc::new(Self {
            receivers,
            lanes: [LaneQueue::new(gap), LaneQueue::new(gap)],
            deliverers: deliverers.clone(),
            prefetch,
            totals: Mutex::default(),
            chance: Mutex::new(fastrand::Rng::with_seed(7)),
            clock,
            began,
            is_direct: AtomicBool::new(false),
        });
        for deliverer in deliverers {
            for lane in [Lane::Fast, Lane::Slow] {
                tokio::spawn(fleet.clone().consume(deliverer.clone(), lane, prefetch));
            }
        }
        tokio::spawn(fleet.clone().heartbeat());
        fleet
    }

    /// Starts all deliverers anew, so that they know of no endpoint. What they have in hand is finished as before.
    pub(super) fn restart(&self) {
        for deliverer in &self.deliverers {
            let new = new_limiter(self.clock.clone(), self.prefetch, self.deliverers.len() as u32);
            *deliverer.limiter.lock().unwrap() = new;
        }
    }

    /// Has the routers hand first attempts over to the deliverers of their processes.
    pub(super) fn deliver_directly(self: Arc<Self>, is_direct: bool) -> Arc<Self> {
        self.is_direct.store(is_direct, Relaxed);
        self
    }

    /// Publishes an event to `endpoint`, else to a random one.
    pub(super) fn publish(self: &Arc<Self>, endpoint: Option<usize>) {
        let endpoint = endpoint.unwrap_or_else(|| self.receivers.pick(self.chances().0));
        let accepted = Instant::now();
        self.totals().published += 1;
        let delivery = SimulatedDelivery { endpoint, accepted, attempt: 0, has_waited: false, due: None };
        if !self.is_direct.load(Relaxed) {
            return self.lanes[0].push(delivery);
        }
        let nth = (self.chances().0 * self.deliverers.len() as f64) as usize;
        tokio::spawn(self.clone().hand_over(self.deliverers[nth].clone(), delivery));
    }

    /// What a router does with an event of one delivery.
    async fn hand_over(self: Arc<Self>, deliverer: Arc<SimulatedDeliverer>, delivery: SimulatedDelivery) {
        let tenant = self.receivers.tenant(delivery.endpoint).id;
        let endpoint = &self.receivers.endpoints[delivery.endpoint];
        let begins_soon = || direct::begins_soon(&deliverer.slots, &deliverer.limiter(), tenant, endpoint);
        if begins_soon()
            && let Ok(_event) = timeout(HAND_OVER_WAIT, deliverer.direct.acquire(tenant, 1)).await
            && begins_soon()
        {
            self.totals().handed_over += 1;
            return self.handle(&deliverer, delivery, Lane::Fast).await;
        }
        self.lanes[0].push(delivery);
    }

    /// Publishes at this rate, at random times, for so long.
    pub(super) async fn load(self: &Arc<Self>, per_second: f64, time: Duration, endpoint: Option<usize>) {
        self.load_to(per_second, time, || endpoint).await;
    }

    /// Publishes at this rate to one of these endpoints each time.
    pub(super) async fn load_any(self: &Arc<Self>, per_second: f64, time: Duration, endpoints: Range<usize>) {
        let pick = || endpoints.start + (self.chances().0 * endpoints.len() as f64) as usize;
        self.load_to(per_second, time, || Some(pick())).await;
    }

    async fn load_to(self: &Arc<Self>, per_second: f64, time: Duration, endpoint: impl Fn() -> Option<usize>) {
        let until = Instant::now() + time;
        let mut next = Instant::now();
        while next < until {
            next += Duration::from_secs_f64(-(1.0 - self.chances().0).ln() / per_second);
            tokio::time::sleep_until(next).await;
            self.publish(endpoint());
        }
    }

    /// Number of deliveries that have neither succeeded nor overflowed.
    pub(super) fn owed(&self) -> u64 {
        let totals = self.totals();
        totals.published - totals.delivered - totals.overflows
    }

    async fn heartbeat(self: Arc<Self>) {
        let all = &self.deliverers;
        loop {
            sleep(Duration::from_millis(250)).await;
            for (at, deliverer) in all.iter().enumerate() {
                deliverer.limiter().divide_returns();
                self.totals().cut_short += deliverer.slots.shorten(deliverer.limiter().now()) as u64;
                for change in deliverer.limiter().take_breaker_changes() {
                    let others = all.iter().enumerate().filter(|(other, _)| *other != at);
                    others.for_each(|(_, other)| other.limiter().apply_announced(&change));
                }
            }
        }
    }

    async fn consume(self: Arc<Self>, deliverer: Arc<SimulatedDeliverer>, lane: Lane, prefetch: Prefetch) {
        loop {
            deliverer.hands[lane as usize].room(prefetch).await;
            let delivery = self.lanes[lane as usize].pop().await;
            let (fleet, deliverer) = (self.clone(), deliverer.clone());
            let bytes = self.receivers.tenant(delivery.endpoint).body_bytes;
            let hand = &deliverer.hands[lane as usize];
            hand.change(|(messages, held)| (*messages, *held) = (*messages + 1, *held + bytes));
            // A broker hands out to its consumers in turn.
            yield_now().await;
            tokio::spawn(async move {
                fleet.handle(&deliverer, delivery, lane).await;
                let hand = &deliverer.hands[lane as usize];
                hand.change(|(messages, held)| (*messages, *held) = (*messages - 1, *held - bytes));
            });
        }
    }

    async fn handle(self: &Arc<Self>, deliverer: &SimulatedDeliverer, delivery: SimulatedDelivery, lane: Lane) {
        let tenant = self.receivers.tenant(delivery.endpoint);
        let limiter = deliverer.limiter();
        let held = limiter.hold(lane, tenant.id, tenant.body_bytes);
        let request = AttemptRequest {
            held: &held,
            endpoint: &self.receivers.endpoints[delivery.endpoint],
            has_waited: delivery.has_waited,
            slots_are_scarce: deliverer.slots.are_scarce(),
        };
        let permit = match limiter.admit(request).await {
            Ok(permit) => permit,
            Err(TurnedAway::Deferred { wait_ms, .. }) => {
                let totals = &mut *self.totals();
                totals.deferrals += 1;
                totals.of(tenant.id).deferrals += 1;
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
        self.totals().of(tenant.id).delivered += u64::from(is_success);
        if !is_success && let Some(seconds) = SCHEDULE.get(delivery.attempt) {
            let wait = Duration::from_secs_f64(*seconds as f64 * (0.8 + 0.4 * self.chances().0));
            let due = Some(Instant::now() + whole_seconds(wait));
            self.wait(SimulatedDelivery { attempt: delivery.attempt + 1, due, ..delivery }, wait);
        }
    }

    /// Puts a delivery on the ladder, from where it goes to the slow lane.
    fn wait(self: &Arc<Self>, delivery: SimulatedDelivery, wait: Duration) {
        let fleet = self.clone();
        tokio::spawn(async move {
            sleep(whole_seconds(wait)).await;
            fleet.lanes[1].push(SimulatedDelivery { has_waited: true, ..delivery });
        });
    }

    fn attempt_begins(&self, delivery: &SimulatedDelivery, is_healthy: bool) {
        let mut totals = self.totals();
        let tenant = self.receivers.tenant(delivery.endpoint).id;
        let since = |then: Instant| u64::try_from(then.elapsed().as_millis()).unwrap();
        if delivery.attempt == 0 {
            totals.of(tenant).delays.push(since(delivery.accepted));
        }
        if let Some(due) = delivery.due {
            totals.of(tenant).retry_delays.push(since(due));
        }
        if is_healthy && delivery.attempt == 0 {
            totals.delays.push(since(delivery.accepted));
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
