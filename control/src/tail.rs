//! The log of what is parked, watched as it grows: what the broker itself parks, nobody else can count.

use std::time::Duration;

use broker::{ConnectionState, Log, ReadError};
use futures_util::TryStreamExt as _;

use crate::Control;

/// How often it is looked at: an alert on it may be so much late.
const EVERY: Duration = Duration::from_secs(15);

impl Control {
    /// Counts what comes into the log of what is parked from now on, until it is dropped. While the log cannot be read it
    /// is tried again, from where it was.
    pub async fn watch_parked(&self) {
        let (mut next, mut link) = (None, self.deps.broker.connection_state());
        loop {
            // The first look says from where on is counted: it must not fail for a connection that is still being made.
            if link.wait_for(|link| !matches!(link, ConnectionState::Away(_))).await.is_err() {
                return;
            }
            if let Err(error) = self.count_parked(&mut next).await {
                tracing::debug!(%error, "parked.not_counted");
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Counts from `next` on to the log's present end; the first time there is nothing to count.
    async fn count_parked(&self, next: &mut Option<u64>) -> Result<(), ReadError> {
        let logs = &self.deps.broker;
        let Some(next) = next else {
            *next = Some(logs.end(Log::Parked).await?);
            return Ok(());
        };
        let mut records = logs.read(Log::Parked, *next);
        while let Some(record) = records.try_next().await? {
            *next = record.offset + 1;
            let reason = broker::records::read_parked(&record).reason;
            self.metrics.park_log.with_label_values(&[reason.as_str()]).inc();
        }
        Ok(())
    }
}
