//! Which tenant published last: whether one is the only one that publishes.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use schemas::time::millis;
use tokio::time::Instant;

/// Time for which a tenant must have been the only one that publishes, before it is not limited.
pub(crate) const ALONE_AFTER: Duration = Duration::from_secs(10);

/// The tenant that published last, and since when no other one has.
pub(crate) struct LatestTenant {
    started: Instant,
    hash: AtomicU64,
    /// Milliseconds after `started`.
    since: AtomicU64,
}

impl LatestTenant {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), hash: AtomicU64::new(0), since: AtomicU64::new(0) }
    }

    /// Notes a publish of a tenant. True when no other one has published for a while.
    pub(crate) fn is_alone(&self, tenant: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        tenant.hash(&mut hasher);
        let (hash, now) = (hasher.finish(), millis(self.started.elapsed()));
        if self.hash.load(Relaxed) != hash {
            self.hash.store(hash, Relaxed);
            self.since.store(now, Relaxed);
        }
        now.saturating_sub(self.since.load(Relaxed)) >= millis(ALONE_AFTER)
    }
}
