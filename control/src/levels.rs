//! What is kept of each tenant's dead letters, announced: everything, up to its quota; records, up to ten times that;
//! then they are only counted (design §9.11).

use std::{collections::BTreeMap, time::Duration};

use schemas::{DeadLetterRetention, Notice, OperationalEvent, QuotaName};

use crate::{Control, census::Census};

/// How often they are counted and announced. Deliverers forget in six times that. In between a flood may go beyond.
const EVERY: Duration = Duration::from_secs(10);

impl Control {
    /// Counts dead letters and says what is kept of them, until it is dropped; at once when somebody new asks.
    pub async fn watch_dead_letters(&self) {
        let (mut census, mut levels, mut is_known) = (Census::default(), BTreeMap::new(), true);
        loop {
            let quotas = self.quotas();
            match census.count(&*self.deps.broker, &quotas.keys().cloned().collect()).await {
                Ok(()) => (levels, is_known) = (beyond(&census, &quotas), true),
                // What was said last is still the best that is known.
                Err(error) if std::mem::take(&mut is_known) => tracing::warn!(%error, "dead_letters.not_counted"),
                Err(_) => {}
            }
            self.announce_levels(&levels, &quotas).await;
            let pause = tokio::time::sleep(EVERY);
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    () = self.newcomers.notified() => self.announce_levels(&levels, &quotas).await,
                }
            }
        }
    }

    /// The tenants that have one.
    fn quotas(&self) -> BTreeMap<String, u64> {
        let Some(snapshot) = self.deps.store.snapshot() else { return BTreeMap::new() };
        let quotas = snapshot.tenants().filter_map(|tenant| Some((tenant.id.clone(), tenant.quota.dead_letters?)));
        quotas.collect()
    }

    async fn announce_levels(&self, levels: &BTreeMap<String, DeadLetterRetention>, quotas: &BTreeMap<String, u64>) {
        self.metrics.dead_letter_quotas_reached.set(i64::try_from(levels.len()).unwrap_or(i64::MAX));
        self.deps.broker.announce(Notice::DeadLetterLevels { levels: levels.clone() }.write().into());
        let now = (self.deps.clock)();
        for tenant in levels.keys() {
            let quota = quotas.get(tenant).copied().unwrap_or_default();
            let event = OperationalEvent::quota_reached(tenant, QuotaName::DeadLetters, quota as f64, now);
            if let Err(error) = self.tell(tenant, &event).await {
                tracing::debug!(%error, event_id = %event.id, tenant, "event.told_later");
            }
        }
    }
}

/// The levels of those of whose dead letters not everything is kept.
fn beyond(census: &Census, quotas: &BTreeMap<String, u64>) -> BTreeMap<String, DeadLetterRetention> {
    let levels = quotas.iter().map(|(tenant, quota)| (tenant.clone(), census.level(tenant, *quota)));
    levels.filter(|(_, level)| *level != DeadLetterRetention::Bodies).collect()
}
