//! A rate limit with bursts: the generic cell rate algorithm (GCRA), for one caller or for each of many.
//!
//! GCRA stores one time per caller: when its allowance will be whole again (ITU-T I.371, "theoretical arrival time"). A
//! token bucket would store a level and the time of its last change. The current time is an argument, and nothing here
//! waits.

use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::RecentlyUsed;

/// Longest gap. A rate with a longer one counts as one a day.
const LONGEST_GAP: Duration = Duration::from_secs(86_400);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    gap: Duration,
    burst: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a rate above 0, and at least 1 at once")]
pub struct InvalidLimit;

/// The wait until the same request is allowed, if nothing else is allowed in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many; the next is allowed in {} ms", .0.as_millis())]
pub struct TooSoon(pub Duration);

impl Limit {
    /// `per_second` limits the average, `burst` the number at once. Both must be above 0.
    pub fn new(per_second: f64, burst: u32) -> Result<Self, InvalidLimit> {
        if per_second > 0.0 && burst > 0 {
            let gap = Duration::try_from_secs_f64(1.0 / per_second).unwrap_or(LONGEST_GAP).min(LONGEST_GAP);
            Ok(Self { gap, burst })
        } else {
            Err(InvalidLimit)
        }
    }

    fn worth(&self, n: u32) -> Duration {
        self.gap.saturating_mul(n)
    }
}

/// What one caller has used of a limit. The limit is an argument of each call, so that it may change.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gcra {
    /// Time at which the whole allowance is available again. None before the first request.
    whole_at: Option<Instant>,
    /// Gap of the limit that `whole_at` was reckoned with.
    gap: Duration,
}

impl Gcra {
    /// Takes `n` at once, or none of them. With a whole allowance, more than a burst is allowed and followed by a
    /// longer wait: otherwise a batch could be refused for ever. The error has the time to wait.
    pub fn take(&mut self, limit: &Limit, n: u32, now: Instant) -> Result<(), TooSoon> {
        let whole_at = self.whole_at(limit, now);
        let owed = (whole_at - now) + limit.worth(n.min(limit.burst));
        match owed.checked_sub(limit.worth(limit.burst)) {
            Some(early) if !early.is_zero() => Err(TooSoon(early)),
            _ => {
                self.set(whole_at + limit.worth(n), limit);
                Ok(())
            }
        }
    }

    /// Gives back `n` that were just taken.
    pub fn give_back(&mut self, limit: &Limit, n: u32) {
        self.whole_at = self.whole_at.and_then(|at| at.checked_sub(limit.worth(n)));
    }

    /// Time from `now` on at which the allowance is whole again. Under a higher limit than before, what is owed is worth
    /// less time.
    fn whole_at(&self, limit: &Limit, now: Instant) -> Instant {
        let owed = self.whole_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        if owed.is_zero() || limit.gap >= self.gap {
            return now + owed;
        }
        now + owed.mul_f64(limit.gap.as_secs_f64() / self.gap.as_secs_f64())
    }

    fn set(&mut self, whole_at: Instant, limit: &Limit) {
        (self.whole_at, self.gap) = (Some(whole_at), limit.gap);
    }

    /// Books the next place for one that comes at `now`, and returns the time to wait for it. If that is more than
    /// `longest`, nothing is booked, and the error has the time by which it is too long.
    pub fn book(&mut self, limit: &Limit, now: Instant, longest: Duration) -> Result<Duration, TooSoon> {
        let whole_at = self.whole_at(limit, now) + limit.worth(1);
        let wait = (whole_at - now).saturating_sub(limit.worth(limit.burst));
        match wait.checked_sub(longest) {
            Some(excess) if !excess.is_zero() => Err(TooSoon(excess)),
            _ => {
                self.set(whole_at, limit);
                Ok(wait)
            }
        }
    }
}

/// Usage of a limit by each of many callers, in bounded memory.
///
/// A caller is forgotten once `capacity` others have called since, and then has its whole allowance again. A client
/// with that many identities could evade a limit per identity anyway.
#[derive(Debug)]
pub struct Keyed<K> {
    used: Mutex<RecentlyUsed<K, Gcra>>,
}

impl<K: Eq + Hash> Keyed<K> {
    pub fn new(capacity: usize) -> Self {
        Self { used: Mutex::new(RecentlyUsed::new(capacity)) }
    }

    /// Takes `n` at once for `key`, or none of them; see [`Gcra::take`].
    pub fn take(&self, key: K, limit: &Limit, n: u32, now: Instant) -> Result<(), TooSoon> {
        self.with(key, |used| used.take(limit, n, now))
    }

    /// Books the next place for one of `key`; see [`Gcra::book`].
    pub fn book(&self, key: K, limit: &Limit, now: Instant, longest: Duration) -> Result<Duration, TooSoon> {
        self.with(key, |used| used.book(limit, now, longest))
    }

    /// Gives back `n` that were just taken for `key`; see [`Gcra::give_back`].
    pub fn give_back(&self, key: K, limit: &Limit, n: u32) {
        self.with(key, |used| used.give_back(limit, n));
    }

    fn with<T>(&self, key: K, change: impl FnOnce(&mut Gcra) -> T) -> T {
        change(self.used.lock().unwrap_or_else(PoisonError::into_inner).of(key))
    }
}

#[cfg(test)]
mod tests;
