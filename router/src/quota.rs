//! Each tenant's `quota.events_per_second`. The intake answers 429 beyond it; what comes over AMQP cannot be refused, so
//! its deliveries are made at once, with due times. Beyond an hour the quota bounds nothing: all come an hour late.

use std::{sync::Arc, time::Duration};

use broker::Due;
use schemas::QuotaName;
use service::gcra::{Keyed, Limit};
use store::{Outbox, TenantSnapshot};
use tokio::time::Instant;

/// Smallest number of events at once. The intake takes a batch of as many, whatever the quota.
const SMALLEST_BURST: u32 = 1_000;
/// How far ahead a tenant's deliveries are due at most.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);
/// Longest time that events may have waited for a router and count as those of their time.
const LONGEST_AGE: Duration = Duration::from_secs(86_400);
/// Number of remembered tenants with a quota.
const REMEMBERED_TENANTS: usize = 100_000;

/// Measured in this process alone. Its memory is lost at a restart, when each tenant has its whole allowance.
pub(crate) struct EventQuotas {
    booked: Keyed<String>,
    outbox: Arc<Outbox>,
}

impl EventQuotas {
    pub(crate) fn new(outbox: Arc<Outbox>) -> Self {
        Self { booked: Keyed::new(REMEMBERED_TENANTS), outbox }
    }

    /// Counts an event that was accepted at `accepted_at`, and returns the time before which its deliveries may not go
    /// out, if it is beyond the quota; times are unix milliseconds. Events are counted at the time of their acceptance:
    /// those that the intake has let through, and that waited for a router, come at once and must not be slowed down
    /// again.
    pub(crate) fn count(&self, tenant: &TenantSnapshot, accepted_at: u64, now: u64) -> Option<Due> {
        let per_second = tenant.quota.events_per_second?;
        let burst = (per_second.ceil() as u32).max(SMALLEST_BURST);
        // The configuration is refused when a quota is not a valid rate.
        let limit = Limit::new(per_second, burst).ok()?;
        let age = Duration::from_millis(now.saturating_sub(accepted_at)).min(LONGEST_AGE);
        let came_at = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
        let wait = match self.booked.book(tenant.id.clone(), &limit, came_at, age + LONGEST_WAIT) {
            Ok(wait) if wait <= age => return None,
            Ok(wait) => wait - age,
            // Several processes of the intake, each within the quota, may have let through more than this one counts:
            // what was answered 202 waits, and never ends here.
            Err(_) => LONGEST_WAIT,
        };
        self.outbox.record_quota_reached(&tenant.id, QuotaName::EventsPerSecond, per_second, now);
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Some(Due { at: now.saturating_add(wait_ms), exact: false })
    }
}
