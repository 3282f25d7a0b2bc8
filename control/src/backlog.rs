//! How many deliveries wait for one endpoint.

use schemas::{Counts, wire};
use serde::Serialize;
use store::UsageScope;

use crate::Control;

/// Most counts at once, for each tenant and for all: the embedded broker looks at every delivery that waits.
pub(crate) const COUNTS: (usize, usize) = (1, 4);

/// The deliveries that wait for an endpoint, including delayed ones and those that are being posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BacklogCount {
    pub waiting: u64,
    pub counted: CountMethod,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CountMethod {
    /// The broker has looked at each delivery.
    Exactly,
    /// The usage in the store was added up: deliveries that were made, less those that have ended. The number is some
    /// seconds old, and a process that died may have counted some deliveries twice or not at all.
    Estimated,
}

#[derive(Debug, thiserror::Error)]
pub enum CountError {
    #[error(transparent)]
    Lanes(#[from] broker::ReadError),
    #[error("what waits is being counted for another request")]
    Busy,
    #[error(transparent)]
    Usage(#[from] store::StoreError),
}

impl Control {
    /// Counts the deliveries that wait for an endpoint. Returns none when the broker cannot show its lanes and the
    /// store keeps no usage.
    pub async fn backlog(&self, tenant: &str, endpoint_id: &str) -> Result<Option<BacklogCount>, CountError> {
        let _permit = self.backlog_counts.try_acquire(tenant).ok_or(CountError::Busy)?;
        let of_endpoint = [(wire::TENANT, tenant), (wire::ENDPOINT, endpoint_id)];
        if let Some(waiting) = self.deps.broker.waiting(&of_endpoint).await? {
            return Ok(Some(BacklogCount { waiting, counted: CountMethod::Exactly }));
        }
        let Some(store) = self.deps.store.usage_and_audit() else { return Ok(None) };
        let mut sum = Counts::default();
        // All days are added up, because a delivery may end on a later day than it was made.
        for usage in store.usage(tenant, UsageScope::Endpoint(endpoint_id), "0000-01-01", "9999-12-31").await? {
            sum += usage.counts;
        }
        let waiting = sum.deliveries.saturating_sub(sum.delivered + sum.dead);
        Ok(Some(BacklogCount { waiting, counted: CountMethod::Estimated }))
    }
}
