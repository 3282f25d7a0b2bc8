//! Keeps history within its bounds: days are dropped when they are old, or when there is no room, and tenants that keep
//! theirs for a shorter time have it removed.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use history::{Dropped, History, HistoryConfig, HistoryError};
use schemas::time::millis;
use service::{Clock, RetentionClock};
use store::Store;
use tokio::time::{Instant, sleep};

use super::{HistoryMetrics, scope_of};

/// Interval between two looks.
const INTERVAL: Duration = Duration::from_secs(60);
/// Number of looks from one removal of what single tenants do not keep to the next: it is hidden meanwhile.
const LOOKS: u32 = 60;

/// Time for which a tenant has to be missing before its history goes: a file of a `file:` store may lack it by mistake.
const MISSING: Duration = Duration::from_secs(24 * 60 * 60);

pub struct HistoryUpkeep {
    pub history: Arc<dyn History>,
    pub store: Arc<dyn Store>,
    pub config: HistoryConfig,
    pub clock: Clock,
    pub metrics: HistoryMetrics,
}

impl HistoryUpkeep {
    /// Runs until the future is dropped.
    pub async fn run(self) {
        let (mut clock, mut missing) = (RetentionClock::default(), Missing::default());
        for look in 0_u32.. {
            let now = clock.now((self.clock)(), Instant::now());
            let is_time = look.is_multiple_of(LOOKS);
            if is_time && let Err(error) = self.forget(&mut missing).await {
                tracing::debug!(%error, "history.not_kept");
            }
            match self.keep(now, is_time).await {
                Ok(Dropped { days: 0, days_of_bodies: 0 }) => {}
                Ok(Dropped { days, days_of_bodies }) => {
                    self.metrics.dropped_days.inc_by(days);
                    tracing::info!(days, days_of_bodies, "history.dropped");
                }
                // The writer warns when history is away.
                Err(error) => tracing::debug!(%error, "history.not_kept"),
            }
            sleep(INTERVAL).await;
        }
    }

    async fn keep(&self, now: u64, shortens: bool) -> Result<Dropped, HistoryError> {
        let HistoryConfig { keep, keep_bodies, .. } = &self.config;
        let before = |age: Duration| now.saturating_sub(millis(age));
        let dropped = self.history.maintain(now, before(keep.0), before(keep_bodies.0)).await?;
        for (tenant, retention) in if shortens { self.shorter() } else { Vec::new() } {
            let age = |own: Option<schemas::Span>, all: schemas::Span| own.map_or(all.0, |own| own.0.min(all.0));
            let records = before(age(retention.history, *keep));
            let bodies = before(age(retention.bodies, *keep_bodies));
            self.history.shorten(&tenant, records, bodies).await?;
        }
        self.metrics.bytes.set(i64::try_from(self.history.kept().await?.bytes).unwrap_or(i64::MAX));
        Ok(dropped)
    }

    /// Removes what is of tenants that were deleted a day ago. Nobody is shown it meanwhile.
    async fn forget(&self, missing: &mut Missing) -> Result<(), HistoryError> {
        let Some(snapshot) = self.store.snapshot() else { return Ok(()) };
        let there = snapshot.tenants().map(|tenant| scope_of(tenant)).collect();
        let kept = self.history.tenants().await?;
        for tenant in missing.note(kept, &there, Instant::now()) {
            self.history.forget_tenant(&tenant).await?;
            tracing::info!(tenant = history::tenant_of_scope(&tenant), "history.forgotten");
        }
        Ok(())
    }

    /// The tenants that keep theirs for a shorter time.
    fn shorter(&self) -> Vec<(String, schemas::HistoryRetention)> {
        let snapshot = self.store.snapshot();
        let tenants = snapshot.iter().flat_map(|snapshot| snapshot.tenants());
        tenants.filter_map(|tenant| Some((scope_of(tenant), tenant.retention?))).collect()
    }
}

/// Tenants with records that are not configured, and since when.
#[derive(Debug, Default)]
struct Missing(HashMap<String, Instant>);

impl Missing {
    /// Notes which of those with records are there. Returns those that have been missing for long.
    fn note(&mut self, kept: Vec<String>, there: &HashSet<String>, now: Instant) -> Vec<String> {
        let since = std::mem::take(&mut self.0);
        let missing = kept.into_iter().filter(|tenant| !there.contains(tenant));
        self.0 = missing.map(|tenant| (tenant.clone(), since.get(&tenant).copied().unwrap_or(now))).collect();
        let is_due = |since: &Instant| now.saturating_duration_since(*since) >= MISSING;
        self.0.iter().filter(|(_, since)| is_due(since)).map(|(tenant, _)| tenant.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_forgotten_once_it_was_missing_for_a_day_without_a_break() {
        let (mut missing, begun) = (Missing::default(), Instant::now());
        let kept = || vec!["acme@1".to_owned(), "zeta@2".to_owned()];
        let only = |tenant: &str| HashSet::from([tenant.to_owned()]);
        assert_eq!(missing.note(kept(), &only("zeta@2"), begun), [""; 0]);
        assert_eq!(missing.note(kept(), &only("zeta@2"), begun + MISSING / 2), [""; 0]);
        assert_eq!(missing.note(kept(), &only("zeta@2"), begun + MISSING), ["acme@1"]);
        let all = HashSet::from(["acme@1".to_owned(), "zeta@2".to_owned()]);
        assert_eq!(missing.note(kept(), &all, begun + MISSING), [""; 0]);
        assert_eq!(missing.note(kept(), &only("zeta@2"), begun + MISSING * 2), [""; 0], "it was there meanwhile");
    }
}
