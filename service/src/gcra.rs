//! So many a second, with so many at once: the generic cell rate algorithm, for one caller or for each of many.
//!
//! GCRA keeps one time for each caller, the one at which its allowance will be whole again (ITU-T I.371, "theoretical
//! arrival time"), where a bucket would keep a level and the time of its last change. Nothing here asks for the time,
//! and nothing waits: whoever is told to come back later is told when.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A rate so low that its gap would be longer is one a day.
const LONGEST_GAP: Duration = Duration::from_secs(86_400);

/// How many a second, and how many of them may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    gap: Duration,
    burst: u32,
}

/// Why two numbers are no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a rate above 0, and at least 1 at once")]
pub struct InvalidLimit;

/// How long until it would be allowed, if nothing else is until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many; the next is allowed in {} ms", .0.as_millis())]
pub struct RetryAfter(pub Duration);

impl Limit {
    /// `per_second` on average, up to `burst` at once.
    ///
    /// # Errors
    /// When `per_second` is not above 0, or nothing may come at once.
    pub fn new(per_second: f64, burst: u32) -> Result<Self, InvalidLimit> {
        // NaN is not above 0.
        if per_second > 0.0 && burst > 0 {
            let gap = Duration::try_from_secs_f64(1.0 / per_second).unwrap_or(LONGEST_GAP).min(LONGEST_GAP);
            Ok(Self { gap, burst })
        } else {
            Err(InvalidLimit)
        }
    }

    /// The time that `n` are worth.
    fn worth(&self, n: u32) -> Duration {
        self.gap.saturating_mul(n)
    }
}

/// What one caller has used of a limit. The limit comes with each question, so that it may change.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gcra {
    /// When everything will be allowed again; none, or in the past, when it is.
    whole_at: Option<Instant>,
}

impl Gcra {
    /// Takes `n` at once, or none of them.
    ///
    /// More than a whole burst is let through when the allowance is whole, and paid for afterwards: otherwise a batch
    /// could be too large for ever.
    ///
    /// # Errors
    /// When it is too early, with how long to wait.
    pub fn take(&mut self, limit: &Limit, n: u32, now: Instant) -> Result<(), RetryAfter> {
        let whole_at = self.whole_at.map_or(now, |at| at.max(now));
        let owed = (whole_at - now) + limit.worth(n.min(limit.burst));
        match owed.checked_sub(limit.worth(limit.burst)) {
            Some(early) if !early.is_zero() => Err(RetryAfter(early)),
            _ => {
                self.whole_at = Some(whole_at + limit.worth(n));
                Ok(())
            }
        }
    }
}

/// What each of many callers has used, in bounded memory.
///
/// When `capacity` others have come since a caller was last here, it is forgotten, and has its whole allowance again:
/// whoever can be so many callers is not held by a limit for each.
#[derive(Debug)]
pub struct Keyed<K> {
    capacity: usize,
    ages: Mutex<Ages<K>>,
}

/// Two generations: who comes is young; when the young are too many they are the old, and the old are forgotten. So
/// the memory is bounded without a list of who came last, and without ever walking over all.
#[derive(Debug)]
struct Ages<K> {
    young: HashMap<K, Gcra>,
    old: HashMap<K, Gcra>,
}

impl<K: Eq + Hash> Keyed<K> {
    /// Remembers the last `capacity` callers at least, and at most twice as many.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, ages: Mutex::new(Ages { young: HashMap::new(), old: HashMap::new() }) }
    }

    /// Takes `n` at once from what `key` is allowed, or none of them; see [`Gcra::take`].
    ///
    /// # Errors
    /// When it is too early, with how long to wait.
    pub fn take(&self, key: K, limit: &Limit, n: u32, now: Instant) -> Result<(), RetryAfter> {
        let mut ages = self.ages.lock().unwrap_or_else(PoisonError::into_inner);
        let Ages { young, old } = &mut *ages;
        if let Some(used) = young.get_mut(&key) {
            return used.take(limit, n, now);
        }
        if young.len() >= self.capacity {
            *old = mem::take(young);
        }
        let used = old.remove(&key).unwrap_or_default();
        young.entry(key).or_insert(used).take(limit, n, now)
    }
}

#[cfg(test)]
mod tests;
