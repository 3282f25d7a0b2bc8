//! The slots of requests under way, in two stages: a request holds a fast slot for a second at most and then moves to
//! one of the more numerous slow ones. So the fast ones turn over once a second, whatever dies; and where too many slow
//! ones are taken, the oldest requests are cut short.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use broker::Lane;
use service::Clock;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

use super::door::Door;

/// So long a request holds a fast slot.
const FAST: Duration = Duration::from_secs(1);
/// Above so many of a hundred slow slots, requests are cut short,
const PRESSED: u64 = 65;
/// but none that is younger than this, in ms,
const SHORTEST: u64 = 5_000;
/// nor one that is younger than so many times what its endpoint usually takes.
const USUAL: f64 = 2.0;

/// How many slots there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) fast: u16,
    pub(crate) slow: u16,
}

impl Limits {
    /// How many messages of a lane may be in the process.
    pub(crate) fn prefetch(self, lane: Lane) -> u16 {
        match lane {
            // What was moved to a slow slot is still unsettled; half of them would stall the lane just when one endpoint in
            // five is dead.
            Lane::Fast => self.fast.saturating_add(self.slow / 4 * 3),
            // The rest is for what the fast lane moves.
            Lane::Slow => (u32::from(self.slow) * 4 / 5).max(1) as u16,
        }
    }

    fn most_slow(self) -> usize {
        (u64::from(self.slow) * PRESSED / 100) as usize
    }
}

/// The slots of a process.
pub(crate) struct Slots {
    limits: Limits,
    fast: Semaphore,
    slow: Semaphore,
    /// The slow lane has half of the slow slots: the others are for what the fast lane moves, which must not wait behind
    /// retries of what is dead.
    retries: Semaphore,
    clock: Clock,
    holders: Mutex<Holders>,
}

/// Who has a slow slot, the oldest first: by the unix ms at which the request began, and a number.
#[derive(Default)]
struct Holders {
    by_age: BTreeMap<(u64, u64), Holder>,
    next: u64,
}

struct Holder {
    door: Arc<Door>,
    cut: Option<oneshot::Sender<()>>,
}

impl Slots {
    pub(crate) fn new(limits: Limits, clock: Clock) -> Self {
        let (fast, slow) = (Semaphore::new(limits.fast.into()), Semaphore::new(limits.slow.into()));
        let retries = Semaphore::new(usize::from(limits.slow.div_ceil(2)));
        Self { limits, fast, slow, retries, clock, holders: Mutex::default() }
    }

    /// Carries a request out as soon as there is a slot for its lane; none if it was cut short.
    pub(crate) async fn carry<T>(&self, lane: Lane, door: &Arc<Door>, request: impl Future<Output = T>) -> Option<T> {
        let mut request = pin!(request);
        let _retry;
        let (began, slow) = match lane {
            Lane::Slow => {
                _retry = self.retries.acquire().await;
                let slow = self.slow.acquire().await;
                ((self.clock)(), slow)
            }
            Lane::Fast => {
                let fast = self.fast.acquire().await;
                let began = (self.clock)();
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
        self.slowly(began, door, request, slow.ok()).await
    }

    async fn slowly<T>(
        &self,
        began: u64,
        door: &Arc<Door>,
        request: impl Future<Output = T>,
        _slot: Option<SemaphorePermit<'_>>,
    ) -> Option<T> {
        let (cut, is_cut) = oneshot::channel();
        let _held = self.enter(began, Holder { door: door.clone(), cut: Some(cut) });
        tokio::select! {
            biased;
            outcome = request => Some(outcome),
            _ = is_cut => None,
        }
    }

    /// Cuts requests short, if too many slow slots are taken; to be called a few times a second. How many it were.
    pub(crate) fn tend(&self, now: u64) -> usize {
        let holders = &mut *self.holders();
        let too_many = holders.by_age.len().saturating_sub(self.limits.most_slow());
        if too_many == 0 {
            return 0;
        }
        let victims = holders.oldest(too_many, now);
        for victim in &victims {
            // It leaves by itself. That it was cut already shows by its missing sender.
            if let Some(cut) = holders.by_age.get_mut(victim).and_then(|holder| holder.cut.take()) {
                let _ = cut.send(());
            }
        }
        victims.len()
    }

    /// Whether most fast slots are taken.
    pub(crate) fn is_scarce(&self) -> bool {
        self.fast.available_permits() * 4 < usize::from(self.limits.fast)
    }

    /// Slots in use, of so many: fast, slow.
    pub(crate) fn in_use(&self) -> [(i64, i64); 2] {
        let used = |slots: &Semaphore, all: u16| {
            (i64::from(all) - i64::try_from(slots.available_permits()).unwrap_or_default(), i64::from(all))
        };
        [used(&self.fast, self.limits.fast), used(&self.slow, self.limits.slow)]
    }

    fn enter(&self, began: u64, holder: Holder) -> Held<'_> {
        let holders = &mut *self.holders();
        let place = (began, holders.next);
        holders.next += 1;
        holders.by_age.insert(place, holder);
        Held { slots: self, place }
    }

    fn holders(&self) -> MutexGuard<'_, Holders> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holders {
    /// Who is to be cut short, at most so many: the oldest suspects, then the oldest others.
    fn oldest(&self, most: usize, now: u64) -> Vec<(u64, u64)> {
        let (mut suspects, mut others) = (Vec::new(), Vec::new());
        for (place, holder) in &self.by_age {
            let age = now.saturating_sub(place.0);
            if age < SHORTEST || suspects.len() >= most {
                break;
            }
            let (usual, is_suspect) = holder.door.with(|standing| (standing.usual(), standing.is_suspect(now)));
            if holder.cut.is_some() && age as f64 >= USUAL * usual {
                if is_suspect { suspects.push(*place) } else { others.push(*place) }
            }
        }
        others.truncate(most - suspects.len());
        suspects.append(&mut others);
        suspects
    }
}

/// Held by a request that has a slow slot.
struct Held<'a> {
    slots: &'a Slots,
    place: (u64, u64),
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.slots.holders().by_age.remove(&self.place);
    }
}

#[cfg(test)]
mod tests;
