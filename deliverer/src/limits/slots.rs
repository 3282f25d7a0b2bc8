//! The slots of requests in flight, in two stages: a request holds a fast slot for a second at most, and then one of
//! the more numerous slow slots. Fast slots thus turn over every second, however many endpoints hang. When too many
//! slow slots are in use, the oldest requests are cut short.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use broker::Lane;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

use super::{
    endpoint::EndpointLimiter,
    uptime::{Uptime, UptimeClock},
};

const FAST: Duration = Duration::from_secs(1);
/// Percentage of slow slots in use above which requests are cut short.
const PRESSURE_PERCENT: u64 = 65;
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
    /// How many unsettled messages of a lane the process may hold.
    pub(crate) fn prefetch(self, lane: Lane) -> u16 {
        match lane {
            // Messages whose request moved to a slow slot stay unsettled. Room for only half of them would stall the
            // lane as soon as one endpoint in five is dead.
            Lane::Fast => self.fast.saturating_add(self.slow / 4 * 3),
            // The other slow slots are for requests that come from the fast lane.
            Lane::Slow => (u32::from(self.slow) * 4 / 5).max(1) as u16,
        }
    }

    fn slow_under_pressure(self) -> usize {
        (u64::from(self.slow) * PRESSURE_PERCENT / 100) as usize
    }
}

pub(crate) struct Slots {
    counts: SlotCounts,
    fast: Semaphore,
    slow: Semaphore,
    /// Half of the slow slots, for requests of the slow lane. The others stay free for requests that come from the fast
    /// lane.
    slow_lane: Semaphore,
    clock: UptimeClock,
    slow_requests: Mutex<SlowRequests>,
}

/// Requests that hold a slow slot, by the time at which they began, and a number.
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
        let (fast, slow) = (Semaphore::new(counts.fast.into()), Semaphore::new(counts.slow.into()));
        let slow_lane = Semaphore::new(usize::from(counts.slow.div_ceil(2)));
        Self { counts, fast, slow, slow_lane, clock, slow_requests: Mutex::default() }
    }

    /// Runs a request as soon as its lane has a slot. None if the request was cut short.
    pub(crate) async fn run<T>(
        &self,
        lane: Lane,
        endpoint: &Arc<EndpointLimiter>,
        request: impl Future<Output = T>,
    ) -> Option<T> {
        let mut request = pin!(request);
        let _slow_lane;
        let (began, slow) = match lane {
            Lane::Slow => {
                _slow_lane = self.slow_lane.acquire().await;
                let slow = self.slow.acquire().await;
                (self.clock.now(), slow)
            }
            Lane::Fast => {
                let fast = self.fast.acquire().await;
                let began = self.clock.now();
                if let Ok(outcome) = tokio::time::timeout(FAST, &mut request).await {
                    return Some(outcome);
                }
                let slow = tokio::select! {
                    biased;
                    outcome = &mut request => return Some(outcome),
                    slow = self.slow.acquire() => slow,
                };
                drop(fast);
                (began, slow)
            }
        };
        self.run_slowly(began, endpoint, request, slow.ok()).await
    }

    async fn run_slowly<T>(
        &self,
        began: Uptime,
        endpoint: &Arc<EndpointLimiter>,
        request: impl Future<Output = T>,
        _slot: Option<SemaphorePermit<'_>>,
    ) -> Option<T> {
        let (cut, is_cut) = oneshot::channel();
        let _guard = self.enter(began, SlowRequest { endpoint: endpoint.clone(), cut: Some(cut) });
        tokio::select! {
            biased;
            outcome = request => Some(outcome),
            _ = is_cut => None,
        }
    }

    /// Cuts requests short if too many slow slots are in use, and returns their number.
    pub(crate) fn shorten(&self, now: Uptime) -> usize {
        let requests = &mut *self.slow_requests();
        let too_many = requests.by_age.len().saturating_sub(self.counts.slow_under_pressure());
        if too_many == 0 {
            return 0;
        }
        let victims = requests.oldest(too_many, now);
        for victim in &victims {
            // The request removes itself. Until then its missing sender shows that it was cut short.
            if let Some(cut) = requests.by_age.get_mut(victim).and_then(|request| request.cut.take()) {
                let _ = cut.send(());
            }
        }
        victims.len()
    }

    pub(crate) fn are_scarce(&self) -> bool {
        self.fast.available_permits() * 4 < usize::from(self.counts.fast)
    }

    /// Used slots and all slots, of the fast stage and of the slow stage.
    pub(crate) fn in_use(&self) -> [(i64, i64); 2] {
        let used = |slots: &Semaphore, all: u16| {
            (i64::from(all) - i64::try_from(slots.available_permits()).unwrap_or_default(), i64::from(all))
        };
        [used(&self.fast, self.counts.fast), used(&self.slow, self.counts.slow)]
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

impl SlowRequests {
    /// At most `most` requests to cut short: the oldest to degraded endpoints, then the oldest to others.
    fn oldest(&self, most: usize, now: Uptime) -> Vec<(Uptime, u64)> {
        let (mut degraded, mut others) = (Vec::new(), Vec::new());
        for (key, request) in &self.by_age {
            let age = now.ms_since(key.0);
            if age < MIN_AGE_MS || degraded.len() >= most {
                break;
            }
            let (average_ms, is_degraded) = request.endpoint.with(|state| (state.success_ms(), state.is_degraded(now)));
            if request.cut.is_some() && age as f64 >= TIMES_AVERAGE * average_ms {
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
