//! How many events a second a tenant may bring in: its own `quota.events_per_second`, measured in this process. A
//! request is let in or refused as a whole, before anything of it is published.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use schemas::{Finding, QuotaName};
use service::{
    gcra::{Keyed, Limit, Wait},
    problem::{Code, Problem},
};
use store::{Outbox, TenantSnapshot};
use tokio::time::Instant;

/// Tenants with a quota that are remembered; beyond, whoever has not come for longest has its whole second again.
const REMEMBERED: usize = 100_000;
/// How often it is told that a tenant's quota bit, in ms.
const HOUR: u64 = 3_600_000;

/// What each tenant has used of its quota.
pub(super) struct Quotas {
    used: Keyed<String>,
    outbox: Arc<Outbox>,
    /// In which hour since 1970 it was last told of a tenant. Never held across an await.
    told: Mutex<HashMap<String, u64>>,
}

impl Quotas {
    pub(super) fn new(outbox: Arc<Outbox>) -> Self {
        Self { used: Keyed::new(REMEMBERED), outbox, told: Mutex::default() }
    }

    /// Lets a request with so many events in, at unix ms `now`, or says when to come back. A second's worth may come at
    /// once. More than that is let in when nothing came for a second, and paid for by a longer pause: a batch that is
    /// larger than the quota is never too large.
    pub(super) fn admit(&self, tenant: &TenantSnapshot, events: usize, now: u64) -> Result<(), Problem> {
        let Some(per_second) = tenant.quota.events_per_second else { return Ok(()) };
        // A quota that is no rate was refused where it was configured.
        let Ok(limit) = Limit::new(per_second, per_second.ceil() as u32) else { return Ok(()) };
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        let taken = self.used.take(tenant.id.clone(), &limit, events, Instant::now());
        taken.map_err(|Wait(wait)| {
            self.tell(&tenant.id, per_second, now);
            let detail =
                format!("the tenant's quota of {per_second} events a second is used up; nothing was published");
            Problem::new(Code::TooManyRequests).detail(detail).retry_after(wait)
        })
    }

    fn tell(&self, tenant: &str, limit: f64, now: u64) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(tenant.to_owned(), now / HOUR) != Some(now / HOUR) {
            let (tenant, quota) = (tenant.to_owned(), QuotaName::EventsPerSecond);
            self.outbox.record_finding(Finding::QuotaReached { tenant, quota, limit, at: now });
        }
    }
}
