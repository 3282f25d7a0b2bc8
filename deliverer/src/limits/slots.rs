//! The slots of requests in flight, in two stages: a request holds a fast slot for a second at most, and then one of
//! the more numerous slow slots. Fast slots thus turn over every second, however many endpoints hang. While others wait
//! for slow slots, the oldest requests are cut short.
//!
//! No slot is kept for a stage that does not need it: requests that are expected to end within a second take any free
//! slot, and either lane takes the slow slots that the other one leaves. Whoever waits for a slot gets one before those
//! who hold more, so a tenant that is alone may hold all of them.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use broker::Lane;
use service::{FairPermit, FairSemaphore};
use tokio::{sync::oneshot, time::timeout};

use super::{
    endpoint::EndpointLimiter,
    uptime::{Uptime, UptimeClock},
};

const FAST: Duration = Duration::from_secs(1);
/// One fast slot in so many is for tenants that hold few slots. A tenant whose requests hang cannot take it, so that
/// others start at once.
const FAST_PER_RESERVED: u32 = 32;
/// Age, in ms, below which a request is never cut short.
const MIN_AGE_MS: u64 = 5_000;
/// A request is cut short only once it has taken this many times its endpoint's average.
const TIMES_AVERAGE: f64 = 2.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotCounts {
    pub(crate) fast: u16,
    pub(crate) slow: u16,
}

impl SlotCounts {
    /// How many unsettled messages of each lane the process may hold. Either lane may use all slots, and messages are
    /// held while they wait for their endpoint and while they are settled, too.
    pub(crate) fn prefetch(self) -> u16 {
        let all = u32::from(self.fast) + u32::from(self.slow);
        u16::try_from(all + all / 2).unwrap_or(u16::MAX)
    }
}

pub(crate) struct Slots {
    counts: SlotCounts,
    /// Shared by tenants.
    fast: Arc<FairSemaphore>,
    /// The fast slots for tenants that hold few.
    reserved: Arc<FairSemaphore>,
    /// Shared by tenants and lanes: neither first attempts nor retries of a tenant take all of them while both wait.
    slow: Arc<FairSemaphore>,
    clock: UptimeClock,
    /// Number of requests that wait for a slow slot.
    waiting: AtomicU32,
    slow_requests: Mutex<SlowRequests>,
}

enum Slot {
    Fast(FairPermit),
    Slow(FairPermit),
}

/// What the slots know of one endpoint.
#[derive(Debug, Default)]
pub(super) struct EndpointSlots {
    /// The endpoint's last request ended within a second, so the next one is expected to.
    is_quick: AtomicBool,
    /// Number of requests to the endpoint that wait for a slow slot.
    waiting: AtomicU32,
}

/// Requests that hold a slow slot for more than a second, by the time at which they began, and a number.
#[derive(Default)]
struct SlowRequests {
    by_age: BTreeMap<(Uptime, u64), SlowRequest>,
    next_number: u64,
}

struct SlowRequest {
    endpoint: Arc<EndpointLimiter>,
    /// Cuts the request short; taken once that was done.
    cut: Option<oneshot::Sender<()>>,
}

impl Slots {
    pub(crate) fn new(counts: SlotCounts, clock: UptimeClock) -> Self {
        let fast = u32::from(counts.fast);
        let reserved = fast / FAST_PER_RESERVED;
        Self {
            counts,
            fast: FairSemaphore::new(fast - reserved),
            reserved: FairSemaphore::new(reserved),
            slow: FairSemaphore::new(counts.slow.into()),
            clock,
            waiting: AtomicU32::new(0),
            slow_requests: Mutex::default(),
        }
    }

    /// Runs a request as soon as there is a slot for it. None if the request was cut short.
    pub(crate) async fn run<T>(
        &self,
        lane: Lane,
        endpoint: &Arc<EndpointLimiter>,
        request: impl Future<Output = T>,
    ) -> Option<T> {
        let mut request = pin!(request);
        let slot = self.acquire(lane, endpoint).await;
        let began = self.clock.now();
        let in_time = timeout(FAST, &mut request).await;
        endpoint.slots.is_quick.store(in_time.is_ok(), Relaxed);
        if let Ok(outcome) = in_time {
            return Some(outcome);
        }
        let _slow = match slot {
            Slot::Slow(slow) => slow,
            Slot::Fast(_fast) => tokio::select! {
                biased;
                outcome = &mut request => return Some(outcome),
                slow = self.acquire_slow(lane, endpoint) => slow,
            },
        };
        let (cut, is_cut) = oneshot::channel();
        let _guard = self.enter(began, SlowRequest { endpoint: endpoint.clone(), cut: Some(cut) });
        tokio::select! {
            biased;
            outcome = request => Some(outcome),
            _ = is_cut => None,
        }
    }

    /// Waits for a slot. A request that may hang begins in the stage of its lane.
    async fn acquire(&self, lane: Lane, endpoint: &EndpointLimiter) -> Slot {
        let (tenant, is_quick) = (endpoint.tenant_id(), endpoint.slots.is_quick.load(Relaxed));
        let fast = || self.fast.acquire(tenant, 1);
        match lane {
            Lane::Fast => {
                if let Some(fast) = self.fast.try_acquire(tenant, 1) {
                    return Slot::Fast(fast);
                }
                let holds_few = self.shared_held_by(tenant) < self.reserved.capacity();
                tokio::select! {
                    biased;
                    fast = fast() => Slot::Fast(fast),
                    slow = self.acquire_slow(lane, endpoint), if is_quick => Slot::Slow(slow),
                    fast = self.reserved.acquire(tenant, 1), if holds_few => Slot::Fast(fast),
                }
            }
            Lane::Slow => tokio::select! {
                biased;
                slow = self.acquire_slow(lane, endpoint) => Slot::Slow(slow),
                fast = fast(), if is_quick => Slot::Fast(fast),
            },
        }
    }

    async fn acquire_slow(&self, lane: Lane, endpoint: &EndpointLimiter) -> FairPermit {
        let owner = slow_owner(lane, endpoint.tenant_id());
        if let Some(slow) = self.slow.try_acquire(&owner, 1) {
            return slow;
        }
        let _waiting = Waiting::new([&self.waiting, &endpoint.slots.waiting]);
        self.slow.acquire(&owner, 1).await
    }

    /// Cuts requests short while others wait for slow slots, and returns their number.
    pub(crate) fn shorten(&self, now: Uptime) -> usize {
        let waiting = self.waiting.load(Relaxed);
        if waiting == 0 {
            return 0;
        }
        let requests = &mut *self.slow_requests();
        let victims = requests.oldest(waiting, now);
        for victim in &victims {
            // The request removes itself. Until then its missing sender shows that it was cut short.
            if let Some(cut) = requests.by_age.get_mut(victim).and_then(|request| request.cut.take()) {
                let _ = cut.send(());
            }
        }
        victims.len()
    }

    pub(crate) fn are_scarce(&self) -> bool {
        self.fast.available() * 4 < self.fast.capacity()
    }

    /// Used slots and all slots, of the fast stage and of the slow stage.
    pub(crate) fn in_use(&self) -> [(i64, i64); 2] {
        let used = |slots: &FairSemaphore| i64::from(slots.capacity() - slots.available());
        let fast = used(&self.fast) + used(&self.reserved);
        [(fast, self.counts.fast.into()), (used(&self.slow), self.counts.slow.into())]
    }

    /// How many slots a tenant holds of those that are for all.
    fn shared_held_by(&self, tenant: &str) -> u32 {
        let slow: u32 = Lane::ALL.map(|lane| self.slow.held_by(&slow_owner(lane, tenant))).iter().sum();
        self.fast.held_by(tenant) + slow
    }

    fn enter(&self, began: Uptime, request: SlowRequest) -> SlowRequestGuard<'_> {
        let requests = &mut *self.slow_requests();
        let key = (began, requests.next_number);
        requests.next_number += 1;
        requests.by_age.insert(key, request);
        SlowRequestGuard { slots: self, key }
    }

    fn slow_requests(&self) -> MutexGuard<'_, SlowRequests> {
        self.slow_requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn slow_owner(lane: Lane, tenant: &str) -> String {
    format!("{} {tenant}", lane.name())
}

/// Counts a request that waits, for as long as it does.
struct Waiting<'a>([&'a AtomicU32; 2]);

impl<'a> Waiting<'a> {
    fn new(counts: [&'a AtomicU32; 2]) -> Self {
        counts.iter().for_each(|count| _ = count.fetch_add(1, Relaxed));
        Self(counts)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|count| _ = count.fetch_sub(1, Relaxed));
    }
}

impl SlowRequests {
    /// The requests to cut short for `waiting` ones, at most as many: the oldest to degraded endpoints, then the oldest
    /// to others. A request is never cut short for one to its own endpoint.
    fn oldest(&self, waiting: u32, now: Uptime) -> Vec<(Uptime, u64)> {
        let most = waiting as usize;
        let (mut degraded, mut others) = (Vec::new(), Vec::new());
        for (key, request) in &self.by_age {
            let age = now.ms_since(key.0);
            if age < MIN_AGE_MS || degraded.len() >= most {
                break;
            }
            let (average_ms, is_degraded) = request.endpoint.with(|state| (state.success_ms(), state.is_degraded(now)));
            let is_waited_for = request.endpoint.slots.waiting.load(Relaxed) < waiting;
            if is_waited_for && request.cut.is_some() && age as f64 >= TIMES_AVERAGE * average_ms {
                if is_degraded { degraded.push(*key) } else { others.push(*key) }
            }
        }
        others.truncate(most - degraded.len());
        degraded.append(&mut others);
        degraded
    }
}

struct SlowRequestGuard<'a> {
    slots: &'a Slots,
    key: (Uptime, u64),
}

impl Drop for SlowRequestGuard<'_> {
    fn drop(&mut self) {
        self.slots.slow_requests().by_age.remove(&self.key);
    }
}

#[cfg(test)]
mod tests;
