//! How many deliveries wait for one endpoint.

use schemas::{Counts, wire};
use serde::Serialize;

use crate::Control;

/// How many deliveries wait for an endpoint. Delayed deliveries, and those that are being posted, are among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BacklogCount {
    /// Deliveries that wait.
    pub waiting: u64,
    /// How they were counted.
    pub counted: CountMethod,
}

/// How a number was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CountMethod {
    /// The broker looked at each delivery.
    Exactly,
    /// Usage was added up: deliveries that were made, less those that have ended. The number is some seconds old, and a
    /// process that died may have counted some deliveries twice or not at all.
    Estimated,
}

/// The error for a backlog that cannot be counted now.
#[derive(Debug, thiserror::Error)]
pub enum CountError {
    /// The broker cannot look into its lanes.
    #[error(transparent)]
    Lanes(#[from] broker::ReadError),
    /// The store cannot read its usage.
    #[error(transparent)]
    Usage(#[from] store::StoreError),
}

impl Control {
    /// Counts the deliveries that wait for an endpoint. None when the broker cannot show its lanes and the store keeps no
    /// usage.
    ///
    /// # Errors
    /// When they cannot be counted now.
    pub async fn backlog(&self, tenant: &str, endpoint_id: &str) -> Result<Option<BacklogCount>, CountError> {
        let of_endpoint = [(wire::TENANT, tenant), (wire::ENDPOINT, endpoint_id)];
        if let Some(waiting) = self.deps.broker.waiting(&of_endpoint).await? {
            return Ok(Some(BacklogCount { waiting, counted: CountMethod::Exactly }));
        }
        let Some(store) = self.deps.store.usage_and_audit() else { return Ok(None) };
        let mut sum = Counts::default();
        // A delivery that was made on one day may have ended on another, so all days count.
        for usage in store.usage(tenant, "0000-01-01", "9999-12-31").await? {
            if usage.endpoint_id.as_deref() == Some(endpoint_id) {
                sum += usage.counts;
            }
        }
        let waiting = sum.deliveries.saturating_sub(sum.delivered + sum.dead);
        Ok(Some(BacklogCount { waiting, counted: CountMethod::Estimated }))
    }
}
