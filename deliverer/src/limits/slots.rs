//! The slots of requests in flight, in two stages: a request holds a fast slot for a second at most, and then one of
//! the more numerous slow slots. Fast slots thus turn over every second, however many endpoints hang. While requests wait
//! that need a slow slot, the oldest ones are cut short: those of the same tenant, and for other tenants what somebody
//! holds beyond an equal part.
//!
//! No slot is kept for a stage that does not need it: requests that are expected to end within a second take any free
//! slot, and either lane takes the slow slots that the other one leaves. Whoever waits for a slot gets one before those
//! who hold more, so a tenant that is alone may hold all of them.

use std::{
    collections::{BTreeMap, HashMap},
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
/// Many requests have outlived their fast slots where they hold one slow slot in so many.
const MANY_OUTLIVE: u32 = 4;
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
    /// Number of requests to the endpoint that wait for a slow slot and can go on in no other.
    waiting: AtomicU32,
}

#[derive(Default)]
struct SlowRequests {
    /// Requests that hold a slow slot for more than a second, by the time at which they began, and a number.
    by_age: BTreeMap<(Uptime, u64), SlowRequest>,
    /// Requests that wait for a slow slot and can go on in no other, by a number.
    waiting: HashMap<u64, (Lane, Arc<EndpointLimiter>)>,
    next_number: u64,
}

struct SlowRequest {
    lane: Lane,
    endpoint: Arc<EndpointLimiter>,
    /// Cuts the request short; taken once that was done.
    cut: Option<oneshot::Sender<()>>,
}

impl EndpointSlots {
    pub(super) fn is_quick(&self) -> bool {
        self.is_quick.load(Relaxed)
    }
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
                slow = self.acquire_slow(lane, endpoint, false) => slow,
            },
        };
        let (cut, is_cut) = oneshot::channel();
        let _guard = self.enter(began, SlowRequest { lane, endpoint: endpoint.clone(), cut: Some(cut) });
        tokio::select! {
            biased;
            outcome = request => Some(outcome),
            _ = is_cut => None,
        }
    }

    /// Waits for a slot. A request that may hang begins in the stage of its lane.
    async fn acquire(&self, lane: Lane, endpoint: &Arc<EndpointLimiter>) -> Slot {
        let (tenant, is_quick) = (endpoint.tenant_id(), endpoint.slots.is_quick());
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
                    slow = self.acquire_slow(lane, endpoint, true), if is_quick => Slot::Slow(slow),
                    fast = self.reserved.acquire(tenant, 1), if holds_few => Slot::Fast(fast),
                }
            }
            Lane::Slow => tokio::select! {
                biased;
                slow = self.acquire_slow(lane, endpoint, is_quick) => Slot::Slow(slow),
                fast = fast(), if is_quick => Slot::Fast(fast),
            },
        }
    }

    /// Nothing is cut short for a request for which a fast slot would do as well.
    async fn acquire_slow(&self, lane: Lane, endpoint: &Arc<EndpointLimiter>, fast_would_do: bool) -> FairPermit {
        let owner = slow_owner(lane, endpoint.tenant_id());
        if let Some(slow) = self.slow.try_acquire(&owner, 1) {
            return slow;
        }
        let _waiting = (!fast_would_do).then(|| Waiting::new(self, lane, endpoint));
        self.slow.acquire(&owner, 1).await
    }

    /// Cuts requests short while others wait for slow slots, and returns their number.
    pub(crate) fn shorten(&self, now: Uptime) -> usize {
        let requests = &mut *self.slow_requests();
        if requests.waiting.is_empty() {
            return 0;
        }
        let part = (self.slow.capacity() as usize / self.slow.owners().max(1)).max(1);
        let held_by = |lane, tenant: &str| self.slow.held_by(&slow_owner(lane, tenant)) as usize;
        let victims = requests.to_cut_short(part, held_by, now);
        for victim in &victims {
            // The request removes itself. Until then its missing sender shows that it was cut short.
            if let Some(cut) = requests.by_age.get_mut(victim).and_then(|request| request.cut.take()) {
                let _ = cut.send(());
            }
        }
        victims.len()
    }

    /// True when many requests have outlived their fast slots.
    pub(crate) fn are_outlived(&self) -> bool {
        self.slow_requests().by_age.len() as u32 * MANY_OUTLIVE >= self.slow.capacity()
    }

    pub(crate) fn are_scarce(&self) -> bool {
        self.fast.available() * 4 < self.fast.capacity()
    }

    /// Used slots and all slots, of the fast stage and of the slow stage.
    pub(crate) fn in_use(&self) -> [(i64, i64); 2] {
        let fast = self.fast.held() + self.reserved.held();
        [(fast.into(), self.counts.fast.into()), (self.slow.held().into(), self.counts.slow.into())]
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
struct Waiting<'a> {
    slots: &'a Slots,
    endpoint: &'a EndpointLimiter,
    number: u64,
}

impl<'a> Waiting<'a> {
    fn new(slots: &'a Slots, lane: Lane, endpoint: &'a Arc<EndpointLimiter>) -> Self {
        let requests = &mut *slots.slow_requests();
        let number = requests.next_number;
        requests.next_number += 1;
        requests.waiting.insert(number, (lane, endpoint.clone()));
        endpoint.slots.waiting.fetch_add(1, Relaxed);
        Self { slots, endpoint, number }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.endpoint.slots.waiting.fetch_sub(1, Relaxed);
        self.slots.slow_requests().waiting.remove(&self.number);
    }
}

impl SlowRequests {
    /// The requests to cut short for those that wait, at most as many. `part` is an equal part of the slots for each
    /// owner, which is a tenant's first attempts, or its retries.
    ///
    /// While another tenant waits that holds less than its part, it would get whatever slot is freed, so only what an
    /// owner holds beyond its part is cut short. Otherwise requests are cut short for those of the same tenant to other
    /// endpoints.
    fn to_cut_short(&self, part: usize, held_by: impl Fn(Lane, &str) -> usize, now: Uptime) -> Vec<(Uptime, u64)> {
        let (mut by_owner, mut waiting) = (HashMap::<_, usize>::new(), HashMap::<_, u32>::new());
        for (lane, endpoint) in self.waiting.values() {
            *by_owner.entry((*lane, endpoint.tenant_id())).or_default() += 1;
            *waiting.entry(endpoint.tenant_id()).or_default() += 1;
        }
        // Tenants that wait, each with the slots that it lacks of its part.
        let mut lacking: Vec<(&str, usize)> = by_owner
            .into_iter()
            .map(|((lane, tenant), waiting)| (tenant, waiting.min(part.saturating_sub(held_by(lane, tenant)))))
            .collect();
        let (mut beyond_part, mut victims) = (HashMap::new(), Vec::new());
        for (key, SlowRequest { lane, endpoint, .. }) in self.oldest(now) {
            let tenant = endpoint.tenant_id();
            let held_beyond = || held_by(*lane, tenant).saturating_sub(part);
            let beyond_part = beyond_part.entry((*lane, tenant)).or_insert_with(held_beyond);
            let waits =
                |tenant: &str, for_endpoint: u32| waiting.get(tenant).is_some_and(|waiting| *waiting > for_endpoint);
            let mut lacking = lacking.iter_mut().filter(|(other, slots)| *slots > 0 && waits(other, 0));
            let gets_slot = match lacking.find(|(other, _)| *other != tenant) {
                Some((other, slots)) if *beyond_part > 0 => {
                    *slots -= 1;
                    *other
                }
                None if waits(tenant, endpoint.slots.waiting.load(Relaxed)) => tenant,
                _ => continue,
            };
            *beyond_part = beyond_part.saturating_sub(1);
            waiting.entry(gets_slot).and_modify(|waiting| *waiting -= 1);
            victims.push(key);
        }
        victims
    }

    /// The requests that may be cut short: the oldest to degraded endpoints, then the oldest to others.
    fn oldest(&self, now: Uptime) -> impl Iterator<Item = ((Uptime, u64), &SlowRequest)> {
        let (mut degraded, mut others) = (Vec::new(), Vec::new());
        for (key, request) in &self.by_age {
            let age = now.ms_since(key.0);
            if age < MIN_AGE_MS {
                break;
            }
            let (average_ms, is_degraded) = request.endpoint.with(|state| (state.success_ms(), state.is_degraded(now)));
            if request.cut.is_some() && age as f64 >= TIMES_AVERAGE * average_ms {
                if is_degraded { degraded.push((*key, request)) } else { others.push((*key, request)) }
            }
        }
        degraded.into_iter().chain(others)
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
