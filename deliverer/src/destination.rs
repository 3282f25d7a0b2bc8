//! Where a delivery goes, by a snapshot, or why it has nowhere to go. Pure, but for one look for a newer snapshot.

use std::{sync::Arc, time::Duration};

use schemas::{Delivery, Endpoint, EndpointState};
use store::Snapshot;
use tokio::time::timeout;

use crate::{Deliverer, gone::Gone};

/// How long a store may take to bring a snapshot up to a delivery's revision, before the delivery is put aside.
const PULL: Duration = Duration::from_secs(2);

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
fn destination(snapshot: &Snapshot, gone: &Gone, delivery: &Delivery) -> Result<Arc<Endpoint>, Absent> {
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

impl Deliverer {
    /// Where it goes; if the snapshot is older than the delivery, after a look for what is new.
    pub(crate) async fn find(&self, delivery: &Delivery) -> Result<Arc<Endpoint>, Absent> {
        match self.look_up(delivery) {
            // Once is enough: a store that is away must not hold up the slots of all the others.
            Err(Absent::Ahead) if delivery.deferrals == 0 => {
                // An error leaves the last good snapshot, and that does not have it.
                let _ = timeout(PULL, self.deps.store.pull()).await;
                self.look_up(delivery)
            }
            found => found,
        }
    }

    fn look_up(&self, delivery: &Delivery) -> Result<Arc<Endpoint>, Absent> {
        let snapshot = self.deps.store.snapshot().ok_or(Absent::Unknown)?;
        destination(&snapshot, &self.gone, delivery)
    }
}
