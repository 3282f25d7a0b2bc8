//! Where a delivery goes, by a snapshot, or why it has nowhere to go. Pure.

use std::sync::Arc;

use schemas::{Delivery, Endpoint, EndpointState};
use store::Snapshot;

use crate::gone::Gone;

/// Why a delivery has nowhere to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// No such endpoint, or not yet; revisions do not tell.
    Unknown,
    /// The delivery was made by a later snapshot than this process has.
    Ahead,
    /// No such endpoint any more.
    Gone,
    /// What was accepted when this was is cancelled.
    Cancelled,
    /// It is switched off, or said that it is gone.
    Disabled,
}

/// Where it goes.
///
/// # Errors
/// Why it cannot go there now.
pub(crate) fn destination(snapshot: &Snapshot, gone: &Gone, delivery: &Delivery) -> Result<Arc<Endpoint>, Absent> {
    let Some(endpoint) = snapshot.endpoint(&delivery.tenant, &delivery.endpoint_id) else {
        return Err(match snapshot.has_shared_revisions() {
            true if snapshot.revision() >= delivery.revision => Absent::Gone,
            true => Absent::Ahead,
            false => Absent::Unknown,
        });
    };
    if endpoint.has_cancelled(delivery.accepted_at) {
        return Err(Absent::Cancelled);
    }
    if endpoint.state == EndpointState::Disabled || gone.contains(endpoint) {
        return Err(Absent::Disabled);
    }
    Ok(endpoint.clone())
}
