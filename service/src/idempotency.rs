//! Idempotency keys: tells the repeat of a content from another content under the same key.
//!
//! A key is claimed before its content is processed, and noted once the consequences are durable. A claim that is
//! dropped before frees the key, so that a failed try does not stand in the way of the next. As in [`Seen`](crate::Seen),
//! the memory is bounded, belongs to one process, and is empty after a restart.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

use crate::{SeenConfig, seen::Generations};

#[derive(Debug)]
pub struct IdempotencyKeys {
    /// Hashes contents. Its key is secret and differs between processes: the digests are compared in this one only.
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Digests of the contents whose consequences are durable.
    noted: Generations<u64>,
    claimed: HashMap<u128, Claims>,
}

/// Claims of one key, all for the same content.
#[derive(Debug)]
struct Claims {
    digest: u64,
    count: usize,
}

#[derive(Debug)]
pub enum Claim<'a> {
    /// The content may be processed. It may be in progress elsewhere, too, in which case nothing is durable yet.
    New(ClaimedKey<'a>),
    /// The same content was noted before.
    Repeat,
    /// Another content was noted under this key, or is in progress.
    Conflict,
}

/// A claimed key, which is free again once this is dropped, unless it was noted.
#[derive(Debug)]
pub struct ClaimedKey<'a> {
    keys: &'a IdempotencyKeys,
    key: u128,
    digest: u64,
    noted_at: Option<Instant>,
}

impl IdempotencyKeys {
    pub fn new(config: SeenConfig) -> Self {
        let state = State { noted: Generations::new(config), claimed: HashMap::new() };
        Self { hasher: RandomState::new(), state: Mutex::new(state) }
    }

    /// Claims a key for a content. White space around the content is no part of it: a JSON text in a list has none.
    pub fn claim(&self, key: u128, content: &[u8], now: Instant) -> Claim<'_> {
        let digest = self.digest(content);
        let mut state = self.lock();
        match state.noted.get(key, now) {
            Some(noted) if noted == digest => return Claim::Repeat,
            Some(_) => return Claim::Conflict,
            None => {}
        }
        let claims = state.claimed.entry(key).or_insert(Claims { digest, count: 0 });
        if claims.digest != digest {
            return Claim::Conflict;
        }
        claims.count += 1;
        Claim::New(ClaimedKey { keys: self, key, digest, noted_at: None })
    }

    /// True when this content was noted under the key.
    pub fn is_repeat(&self, key: u128, content: &[u8], now: Instant) -> bool {
        let noted = self.lock().noted.get(key, now);
        noted.is_some_and(|noted| noted == self.digest(content))
    }

    /// Notes, without a claim, that the consequences of a content are durable.
    pub fn note(&self, key: u128, content: &[u8], now: Instant) {
        let digest = self.digest(content);
        self.lock().noted.note(key, digest, now);
    }

    fn digest(&self, content: &[u8]) -> u64 {
        self.hasher.hash_one(content.trim_ascii())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClaimedKey<'_> {
    /// Notes that the consequences of the content are durable.
    pub fn note(mut self, now: Instant) {
        self.noted_at = Some(now);
    }
}

impl Drop for ClaimedKey<'_> {
    fn drop(&mut self) {
        let mut state = self.keys.lock();
        if let Some(now) = self.noted_at {
            state.noted.note(self.key, self.digest, now);
        }
        if let Some(claims) = state.claimed.get_mut(&self.key) {
            claims.count -= 1;
            if claims.count == 0 {
                state.claimed.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests;
