//! Offers the deliveries of an event to the deliverer of the same process before they are published to their lanes.

use std::{sync::Arc, time::Duration};

use broker::{DirectDelivery, Incoming, Lane, PublishError, SessionEnd, Settlement};
use service::{FairPermit, FairSemaphore};
use tokio::{task::JoinHandle, time::timeout};

use crate::{
    fan_out::{FanOut, Outgoing},
    window::renewing,
};

/// Largest number of deliveries of an event that is offered. The event holds its place in the prefetch until the slowest of
/// its attempts has ended.
const LARGEST_FAN_OUT: usize = 16;
/// Longest wait for earlier events of a process that is busy. One hop over the broker takes longer then, and more of it.
const WAIT: Duration = Duration::from_millis(250);

pub(crate) struct DirectOffers {
    deliverer: Option<Arc<dyn DirectDelivery>>,
    /// Half of the prefetch, shared by tenants: events whose deliveries take their lanes always find room.
    events: Arc<FairSemaphore>,
}

/// The offer of one event, whose drop makes room for another one.
pub(crate) struct DirectOffer<'a> {
    deliverer: &'a dyn DirectDelivery,
    session: &'a SessionEnd,
    _event: FairPermit,
}

impl DirectOffers {
    pub(crate) fn new(deliverer: Option<Arc<dyn DirectDelivery>>, prefetch: u16) -> Self {
        Self { deliverer, events: FairSemaphore::new(u32::from(prefetch / 2)) }
    }

    /// The offer for an event, if there is one. What came again takes the lanes: the attempt may be what went wrong. So does
    /// what has waited or shall, and the deliveries to many endpoints.
    pub(crate) async fn of<'a>(
        &'a self,
        incoming: &'a Incoming,
        fan_out: &FanOut,
        is_deferred: bool,
    ) -> Option<DirectOffer<'a>> {
        let (deliverer, deliveries) = (self.deliverer.as_deref()?, &fan_out.deliveries);
        let first = deliveries.first().filter(|_| deliveries.len() <= LARGEST_FAN_OUT)?;
        let is_prompt = |outgoing: &Outgoing| deliverer.is_prompt(&outgoing.delivery, &outgoing.body);
        if incoming.redelivered || is_deferred || !deliveries.iter().any(is_prompt) {
            return None;
        }
        let _event = timeout(WAIT, self.events.acquire(&first.delivery.tenant, 1)).await.ok()?;
        Some(DirectOffer { deliverer, session: &incoming.session, _event })
    }
}

impl DirectOffer<'_> {
    pub(crate) fn take_over(&self, outgoing: &Outgoing) -> Option<JoinHandle<Settlement>> {
        let Outgoing { delivery, body, lane, .. } = outgoing;
        (*lane == Lane::Fast).then(|| self.deliverer.offer(delivery, body, self.session)).flatten()
    }
}

/// Waits until an attempt has ended and what follows from it is confirmed.
pub(crate) async fn ended(attempt: JoinHandle<Settlement>) -> Result<(), PublishError> {
    match renewing(attempt).await {
        Ok(Settlement::Done) => Ok(()),
        Ok(Settlement::Again) => Err(PublishError::Lost("the delivery was given back".to_owned())),
        Err(panic) => Err(PublishError::Lost(panic.to_string())),
    }
}
