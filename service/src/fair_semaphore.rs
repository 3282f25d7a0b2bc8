//! A semaphore that is shared fairly: while several owners wait, the next permits go to the one that holds the fewest.
//!
//! An owner (mostly a tenant) that is alone may hold all permits. Once others come, it gets no further ones before they
//! hold as many, so what it has waiting stands in front of its own work only. Permits that are held already are not
//! taken away.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use tokio::sync::oneshot;

#[derive(Debug)]
pub struct FairSemaphore {
    capacity: AtomicU32,
    locked: Mutex<Locked>,
}

#[derive(Debug)]
struct Locked {
    /// Negative when more are held than there are any more.
    available: i64,
    /// Those that hold permits or wait for some.
    owners: HashMap<Arc<str>, Owner>,
    /// Every owner that waits, by the permits that it holds. Among equals, the one that has waited longest comes first.
    turns: BTreeSet<(u32, u64, Arc<str>)>,
    next_turn: u64,
}

#[derive(Debug, Default)]
struct Owner {
    held: u32,
    turn: u64,
    waiting: Waiting,
}

#[derive(Debug, Default)]
struct Waiting {
    first: VecDeque<Waiter>,
    /// Waits that begin once there are no others.
    last: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    permits: u32,
    granted: oneshot::Sender<FairPermit>,
}

/// Some permits of an owner, which are returned when it is dropped.
#[derive(Debug)]
#[must_use]
pub struct FairPermit {
    /// None once the permits were returned.
    semaphore: Option<Arc<FairSemaphore>>,
    owner: Arc<str>,
    permits: u32,
}

impl FairSemaphore {
    pub fn new(capacity: u32) -> Arc<Self> {
        let (owners, turns) = (HashMap::new(), BTreeSet::new());
        let locked = Locked { available: capacity.into(), owners, turns, next_turn: 0 };
        Arc::new(Self { capacity: capacity.into(), locked: Mutex::new(locked) })
    }

    /// Waits for so many permits at once; more than there are count as all of them. Waits of one owner end in their
    /// order. A wait that is dropped takes nothing.
    pub async fn acquire(self: &Arc<Self>, owner: &str, permits: u32) -> FairPermit {
        self.wait(owner, permits, |waiting| &mut waiting.first).await
    }

    /// Like [`acquire`](Self::acquire), behind all other waits of the owner, also those that come later.
    pub async fn acquire_last(self: &Arc<Self>, owner: &str, permits: u32) -> FairPermit {
        self.wait(owner, permits, |waiting| &mut waiting.last).await
    }

    async fn wait(
        self: &Arc<Self>,
        owner: &str,
        permits: u32,
        queue: fn(&mut Waiting) -> &mut VecDeque<Waiter>,
    ) -> FairPermit {
        let permits = permits.min(self.capacity());
        loop {
            let turn = {
                let locked = &mut *self.lock();
                if let Some(permit) = self.take_free(locked, owner, permits) {
                    return permit;
                }
                let (granted, turn) = oneshot::channel();
                let name = locked.name(owner);
                locked.update(&name, |owner| queue(&mut owner.waiting).push_back(Waiter { permits, granted }));
                // The waits before this one may have been given up.
                self.grant(locked);
                turn
            };
            if let Ok(permit) = turn.await {
                return permit;
            }
        }
    }

    /// Takes so many permits if they are free and nobody waits.
    pub fn try_acquire(self: &Arc<Self>, owner: &str, permits: u32) -> Option<FairPermit> {
        self.take_free(&mut self.lock(), owner, permits)
    }

    /// Like [`try_acquire`](Self::try_acquire), if `may` says so by the permits that the owner holds and those that are
    /// free.
    pub fn try_acquire_if(
        self: &Arc<Self>,
        owner: &str,
        permits: u32,
        may: impl FnOnce(u32, u32) -> bool,
    ) -> Option<FairPermit> {
        let locked = &mut *self.lock();
        if may(locked.held_by(owner), at_least_none(locked.available)) {
            self.take_free(locked, owner, permits)
        } else {
            None
        }
    }

    pub fn capacity(&self) -> u32 {
        self.capacity.load(Relaxed)
    }

    /// Changes how many permits there are. Those that are held already are not taken away, and who waits for more than
    /// there are waits until they are as many again.
    pub fn set_capacity(self: &Arc<Self>, capacity: u32) {
        let locked = &mut *self.lock();
        locked.available += i64::from(capacity) - i64::from(self.capacity.swap(capacity, Relaxed));
        self.grant(locked);
    }

    pub fn available(&self) -> u32 {
        at_least_none(self.lock().available)
    }

    /// Number of permits that are held, also beyond the capacity after it was lowered.
    pub fn held(&self) -> u32 {
        let locked = self.lock();
        at_least_none(i64::from(self.capacity()) - locked.available)
    }

    pub fn held_by(&self, owner: &str) -> u32 {
        self.lock().held_by(owner)
    }

    /// Number of owners that hold permits or wait for some.
    pub fn owners(&self) -> usize {
        self.lock().owners.len()
    }

    fn take_free(self: &Arc<Self>, locked: &mut Locked, owner: &str, permits: u32) -> Option<FairPermit> {
        if !locked.turns.is_empty() || locked.available < permits.into() {
            return None;
        }
        let owner = locked.name(owner);
        locked.available -= i64::from(permits);
        locked.update(&owner, |owner| owner.held += permits);
        Some(self.permit(owner, permits))
    }

    /// Grants what is free. While the owner whose turn it is needs more than that, nobody overtakes it.
    fn grant(self: &Arc<Self>, locked: &mut Locked) {
        while let Some((_, _, name)) = locked.turns.first().cloned() {
            let available = locked.available;
            let next = locked.update(&name, |owner| {
                let queue = owner.waiting.next();
                let first = queue.front()?;
                if first.granted.is_closed() || i64::from(first.permits) <= available {
                    queue.pop_front()
                } else {
                    None
                }
            });
            let Some(Waiter { permits, granted }) = next else { break };
            if granted.is_closed() {
                continue;
            }
            locked.available -= i64::from(permits);
            locked.update(&name, |owner| owner.held += permits);
            if let Err(permit) = granted.send(self.permit(name, permits)) {
                permit.put_back(locked);
            }
        }
    }

    fn permit(self: &Arc<Self>, owner: Arc<str>, permits: u32) -> FairPermit {
        FairPermit { semaphore: Some(self.clone()), owner, permits }
    }

    fn lock(&self) -> MutexGuard<'_, Locked> {
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn at_least_none(permits: i64) -> u32 {
    u32::try_from(permits).unwrap_or(0)
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.first.is_empty() && self.last.is_empty()
    }

    /// The queue whose turn it is.
    fn next(&mut self) -> &mut VecDeque<Waiter> {
        if self.first.is_empty() { &mut self.last } else { &mut self.first }
    }
}

impl Locked {
    fn name(&self, owner: &str) -> Arc<str> {
        self.owners.get_key_value(owner).map_or_else(|| owner.into(), |(name, _)| name.clone())
    }

    fn held_by(&self, owner: &str) -> u32 {
        self.owners.get(owner).map_or(0, |owner| owner.held)
    }

    fn give_back(&mut self, owner: &Arc<str>, permits: u32) {
        self.available += i64::from(permits);
        self.update(owner, |owner| owner.held -= permits);
    }

    /// Changes an owner and keeps its turn in step. An owner that begins to wait, or has just been granted permits, has
    /// its turn after its equals.
    fn update<T>(&mut self, name: &Arc<str>, change: impl FnOnce(&mut Owner) -> T) -> T {
        let owner = self.owners.entry(name.clone()).or_default();
        let (was_waiting, held) = (!owner.waiting.is_empty(), owner.held);
        if was_waiting {
            self.turns.remove(&(held, owner.turn, name.clone()));
        }
        let result = change(owner);
        if !was_waiting || owner.held > held {
            owner.turn = self.next_turn;
            self.next_turn += 1;
        }
        if !owner.waiting.is_empty() {
            self.turns.insert((owner.held, owner.turn, name.clone()));
        } else if owner.held == 0 {
            self.owners.remove(name);
        }
        result
    }
}

impl FairPermit {
    /// Adds permits of the same owner of the same semaphore, to be returned together.
    pub fn merge(&mut self, mut other: Self) {
        debug_assert_eq!(self.owner, other.owner);
        other.semaphore = None;
        self.permits += other.permits;
    }

    /// Returns the permits while the lock is held, which [`FairPermit::drop`] would take again.
    fn put_back(mut self, locked: &mut Locked) {
        self.semaphore = None;
        locked.give_back(&self.owner, self.permits);
    }
}

impl Drop for FairPermit {
    fn drop(&mut self) {
        let Some(semaphore) = self.semaphore.take() else { return };
        let locked = &mut *semaphore.lock();
        locked.give_back(&self.owner, self.permits);
        semaphore.grant(locked);
    }
}

#[cfg(test)]
mod tests;
