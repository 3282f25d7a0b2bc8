//! Keeps history within its bounds: days are dropped when they are old, or when there is no room, and tenants that keep
//! theirs for a shorter time have it removed.

use std::{sync::Arc, time::Duration};

use history::{Dropped, History, HistoryConfig, HistoryError, tenant_scope};
use schemas::time::millis;
use service::{Clock, RetentionClock};
use store::Store;
use tokio::time::{Instant, sleep};

use super::HistoryMetrics;

/// Interval between two looks.
const INTERVAL: Duration = Duration::from_secs(60);
/// Number of looks from one removal of what single tenants do not keep to the next: it is hidden meanwhile.
const LOOKS: u32 = 60;

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
        let mut clock = RetentionClock::default();
        for look in 0_u32.. {
            let now = clock.now((self.clock)(), Instant::now());
            match self.keep(now, look.is_multiple_of(LOOKS)).await {
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

    /// The tenants that keep theirs for a shorter time.
    fn shorter(&self) -> Vec<(String, schemas::HistoryRetention)> {
        let snapshot = self.store.snapshot();
        let tenants = snapshot.iter().flat_map(|snapshot| snapshot.tenants());
        tenants.filter_map(|tenant| Some((tenant_scope(&tenant.id, tenant.created()), tenant.retention?))).collect()
    }
}
