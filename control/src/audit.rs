//! The audit log, kept from growing for ever: what is old enough is forgotten, hour by hour.

use std::time::Duration;

use crate::Control;

/// How often is looked for what is old: a day more or less of a year matters to nobody.
const EVERY: Duration = Duration::from_secs(60 * 60);

impl Control {
    /// Forgets old changes, until it is dropped. Several may: each forgets what the others have left.
    pub async fn trim_audit(&self) {
        // A store without books notes no changes.
        let Some(books) = self.deps.store.usage_and_audit() else { return };
        let age = u64::try_from(self.deps.audit_age.as_millis()).unwrap_or(u64::MAX);
        loop {
            match books.trim_audit((self.deps.clock)().saturating_sub(age)).await {
                Ok(0) => {}
                Ok(entries) => tracing::info!(count = entries, "audit.trimmed"),
                // That the store is away is said where that is noticed.
                Err(error) => tracing::debug!(%error, "audit.not_trimmed"),
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}
