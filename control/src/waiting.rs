//! How much waits for one endpoint.

use schemas::{Counts, wire};
use serde::Serialize;

use crate::Control;

/// How many deliveries wait, delayed ones and those under way included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// How many.
    pub waiting: u64,
    /// How that is known.
    pub counted: Counted,
}

/// How a number is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Counted {
    /// Each was looked at.
    Exactly,
    /// By what was made of them, less what has ended: some seconds old, and off by what was counted twice or not at all
    /// when a process died.
    Estimated,
}

/// Why it is not known now.
#[derive(Debug, thiserror::Error)]
pub enum NotCounted {
    /// The lanes cannot be looked into now.
    #[error(transparent)]
    Unread(#[from] broker::ReadError),
    /// The books cannot be read now.
    #[error(transparent)]
    Away(#[from] store::StoreError),
}

impl Control {
    /// How many deliveries wait for an endpoint. None where nobody can know: the broker shows no queue's content, and
    /// the store keeps no usage.
    ///
    /// # Errors
    /// When it cannot be found out now.
    pub async fn waiting(&self, tenant: &str, endpoint_id: &str) -> Result<Option<Waiting>, NotCounted> {
        let of_endpoint = [(wire::TENANT, tenant), (wire::ENDPOINT, endpoint_id)];
        if let Some(waiting) = self.deps.broker.waiting(&of_endpoint).await? {
            return Ok(Some(Waiting { waiting, counted: Counted::Exactly }));
        }
        let Some(books) = self.deps.store.usage_and_audit() else { return Ok(None) };
        let mut sum = Counts::default();
        // What was made on one day may have ended on another.
        for usage in books.usage(tenant, "0000-01-01", "9999-12-31").await? {
            if usage.endpoint_id.as_deref() == Some(endpoint_id) {
                sum += usage.counts;
            }
        }
        let waiting = sum.deliveries.saturating_sub(sum.delivered + sum.dead);
        Ok(Some(Waiting { waiting, counted: Counted::Estimated }))
    }
}
