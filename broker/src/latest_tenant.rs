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

/// The tenant that published last, and when another one did before it.
pub(crate) struct LatestTenant {
    started: Instant,
    /// 0 before the first one.
    hash: AtomicU64,
    /// Milliseconds after `started`; none while there was no other.
    other_at: AtomicU64,
}

const NO_OTHER: u64 = u64::MAX;

impl LatestTenant {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), hash: AtomicU64::new(0), other_at: AtomicU64::new(NO_OTHER) }
    }

    /// Notes a publish of a tenant. True when no other one has published for a while.
    pub(crate) fn note(&self, tenant: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        tenant.hash(&mut hasher);
        let (hash, now) = (hasher.finish(), millis(self.started.elapsed()));
        let before = self.hash.load(Relaxed);
        if before != hash {
            self.hash.store(hash, Relaxed);
            if before != 0 {
                self.other_at.store(now, Relaxed);
            }
        }
        let other_at = self.other_at.load(Relaxed);
        other_at == NO_OTHER || now.saturating_sub(other_at) >= millis(ALONE_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_tenant_is_alone_until_another_one_publishes_and_a_while_afterwards() {
        let latest = LatestTenant::new();
        assert!(latest.note("acme") && latest.note("acme"), "there was no other");
        assert!(!latest.note("beta") && !latest.note("acme"));
        advance(ALONE_AFTER - Duration::from_millis(1)).await;
        assert!(!latest.note("acme"));
        advance(Duration::from_millis(1)).await;
        assert!(latest.note("acme"));
    }
}
