//! A bounded memory of recent ids, to suppress repeats of events and deliveries that are already safe.
//!
//! It has no false positives, unlike a filter, because one would lose an event. A forgotten id is repeated, and
//! receivers recognise the repeat. The memory belongs to one process and is empty after a restart. Note
//! an id only once its consequences are durable: otherwise a failed first try would suppress its own repetition.

use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

/// How many ids are remembered, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SeenConfig {
    /// Largest number of ids that are remembered; at least the latest half of them are, within `window`. 0: none.
    pub ids: usize,
    /// How long an id is remembered at least; at most twice as long.
    #[serde(with = "crate::duration")]
    #[schemars(with = "String")]
    pub window: Duration,
}

#[derive(Debug)]
pub struct Seen(Mutex<Generations<()>>);

impl Seen {
    pub fn new(config: SeenConfig) -> Self {
        Self(Mutex::new(Generations::new(config)))
    }

    /// True when the id was noted recently.
    pub fn contains(&self, id: u128, now: Instant) -> bool {
        self.lock().get(id, now).is_some()
    }

    /// Notes an id whose consequences are durable.
    pub fn note(&self, id: u128, now: Instant) {
        self.lock().note(id, (), now);
    }

    pub fn len(&self) -> usize {
        self.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Generations<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Recent ids with a value each. Two maps instead of one with a time for each id: they take less memory, and dropping
/// one is cheap.
#[derive(Debug)]
pub(crate) struct Generations<V> {
    half: usize,
    window: Duration,
    /// Ids as bytes: integers of 128 bits are aligned, and a value of 64 bits would take as much as one of 128.
    young: HashMap<[u8; 16], V>,
    old: HashMap<[u8; 16], V>,
    /// Time at which the old generation became old, or of the first look. None before that.
    since: Option<Instant>,
}

impl<V: Copy> Generations<V> {
    pub(crate) fn new(config: SeenConfig) -> Self {
        let (young, old) = Default::default();
        Self { half: config.ids.div_ceil(2), window: config.window, young, old, since: None }
    }

    pub(crate) fn get(&mut self, id: u128, now: Instant) -> Option<V> {
        self.age(now);
        let id = id.to_ne_bytes();
        self.young.get(&id).or_else(|| self.old.get(&id)).copied()
    }

    pub(crate) fn note(&mut self, id: u128, value: V, now: Instant) {
        if self.half == 0 {
            return;
        }
        self.age(now);
        self.young.insert(id.to_ne_bytes(), value);
        if self.young.len() >= self.half {
            // The next ones come as fast, so the oldest ids leave them their memory, which need not grow anew.
            mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
            self.since = Some(now);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Drops ids older than twice the window.
    fn age(&mut self, now: Instant) {
        let age = now.saturating_duration_since(*self.since.get_or_insert(now));
        if age >= self.window {
            // The youngest ids may be new, so they stay in the old generation for another window.
            self.old = mem::take(&mut self.young);
            self.since = Some(now);
        }
        if age >= self.window.saturating_mul(2) {
            self.old.clear();
        }
    }
}

/// Hashes a text of a tenant to 128 bits of SHA-256, so that texts of different tenants cannot be chosen to collide.
/// `created` is the revision that created the tenant: another one of its id is another tenant.
pub fn id_of(tenant: &str, created: u64, text: &str) -> u128 {
    let mut digest = Sha256::new();
    // A tenant's id has no zero byte, so the separator is unambiguous.
    for part in [tenant.as_bytes(), &[0], &created.to_be_bytes(), text.as_bytes()] {
        digest.update(part);
    }
    let mut first = [0; 16];
    first.copy_from_slice(&digest.finalize()[..16]);
    u128::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const MS: Duration = Duration::from_millis(1);

    fn seen(ids: usize) -> Seen {
        Seen::new(SeenConfig { ids, window: MINUTE })
    }

    #[test]
    fn a_noted_id_is_seen_for_its_window_and_forgotten_after_two() {
        let (seen, start) = (seen(100), Instant::now());
        seen.note(1, start);
        assert!(!seen.contains(2, start));
        for after in [Duration::ZERO, MINUTE - MS, MINUTE, 2 * MINUTE - MS] {
            assert!(seen.contains(1, start + after), "{after:?}");
        }
        assert!(!seen.contains(1, start + 3 * MINUTE));
        assert!(seen.is_empty());
    }

    #[test]
    fn after_a_long_silence_nothing_is_seen() {
        let (seen, start) = (seen(100), Instant::now());
        seen.note(1, start);
        assert!(!seen.contains(1, start + 100 * MINUTE));
    }

    #[test]
    fn none_are_remembered_if_none_shall_be() {
        let (seen, start) = (seen(0), Instant::now());
        seen.note(1, start);
        assert!(!seen.contains(1, start));
    }

    #[test]
    fn tenants_do_not_share_ids() {
        assert_ne!(id_of("acme", 0, "e1"), id_of("beta", 0, "e1"));
        assert_ne!(id_of("ab", 0, "c"), id_of("a", 0, "bc"));
        assert_ne!(id_of("acme", 2, "e1"), id_of("acme", 7, "e1"), "the second one was made anew");
        assert_eq!(id_of("acme", 2, "e1"), id_of("acme", 2, "e1"));
    }

    proptest! {
        #[test]
        fn it_is_bounded_exact_and_keeps_the_latest_half(
            ids in 1_usize..20, steps in prop::collection::vec((0_u128..50, 0_u32..15_000), 1..200),
        ) {
            let (seen, mut now, mut noted) = (seen(ids), Instant::now(), Vec::<(u128, Instant)>::new());
            for (id, wait) in steps {
                now += wait * MS;
                if seen.contains(id, now) {
                    prop_assert!(noted.iter().any(|(known, at)| *known == id && now - *at < 2 * MINUTE + MINUTE / 4));
                }
                seen.note(id, now);
                noted.push((id, now));
                prop_assert!(seen.len() <= ids + 1);
                for (id, at) in noted.iter().rev().take(ids / 2) {
                    prop_assert!(now - *at >= MINUTE || seen.contains(*id, now), "{id} of {at:?} at {now:?}");
                }
            }
        }
    }
}
