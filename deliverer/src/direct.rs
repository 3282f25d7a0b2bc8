//! The direct hand-off: first attempts of what the router of the same process has just routed, without a hop over the broker.
//!
//! It is safe because the event stays unsettled until each delivery has ended, or what follows from it is confirmed: a crash
//! repeats the event and its deliveries under the same ids, as it does while they are published. It is fair because only
//! what begins at once is taken over: the endpoint answers within a second, its breaker is closed, nothing waits for it, and
//! most slots are free. All else takes its lane, and so does everything while many requests outlive their fast slots. From
//! then on a delivery goes the way of any other: its limits may still defer it, and a request under way is never abandoned.

use std::sync::Arc;

use broker::{DirectDelivery, Lane, SessionEnd, Settlement};
use bytes::Bytes;
use schemas::{Delivery, Endpoint};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::task::TaskTracker;

use crate::{
    Deliverer,
    consume::{ConsumedDelivery, Path},
    limits::{Limiter, Slots},
    post::PreparedEndpoint,
};

/// Largest body that is taken over. Larger ones would fill the memory of a process that its lanes' prefetch bounds.
const LARGEST_BODY: usize = 64 << 10;
/// Longest time, in ms, until an attempt begins that is taken over.
const SOON_MS: f64 = 100.0;

/// The deliveries that were taken over and have not ended.
#[derive(Default)]
pub(crate) struct DirectTasks(TaskTracker);

impl DirectTasks {
    /// Waits for their end. No further ones are taken over by then.
    pub(crate) async fn finish(&self) {
        self.0.close();
        self.0.wait().await;
    }
}

pub(crate) struct DirectDeliverer(pub(crate) Arc<Deliverer>);

impl DirectDelivery for DirectDeliverer {
    fn is_prompt(&self, delivery: &Delivery, body: &Bytes) -> bool {
        self.0.prompt_endpoint(delivery, body).is_some()
    }

    fn offer(&self, delivery: &Delivery, body: &Bytes, session: &SessionEnd) -> Option<JoinHandle<Settlement>> {
        let endpoint = self.0.prompt_endpoint(delivery, body)?;
        let tenant_created = self.0.resolver.tenant_created(delivery);
        // What was delivered here before takes its lane, where that is reported.
        if self.0.recent.was_delivered(delivery, tenant_created, body, Instant::now()) {
            return None;
        }
        let consumed = ConsumedDelivery {
            delivery: delivery.clone(),
            body: body.clone(),
            path: Path::Direct,
            redelivered: false,
            session: session.clone(),
            tenant_created,
        };
        let deliverer = self.0.clone();
        Some(self.0.direct.0.spawn(async move {
            match deliverer.handle_direct(&consumed, &endpoint).await {
                Ok(settlement) | Err(settlement) => settlement,
            }
        }))
    }
}

/// True when a first attempt at the endpoint would begin within [`SOON_MS`], and nothing speaks against it. Takes nothing.
pub(crate) fn begins_soon(slots: &Slots, limiter: &Limiter, tenant: &str, endpoint: &Arc<Endpoint>) -> bool {
    !slots.are_scarce() && !slots.are_outlived() && limiter.is_prompt(tenant, endpoint, SOON_MS)
}

impl Deliverer {
    /// The endpoint of a delivery that could begin soon.
    fn prompt_endpoint(&self, delivery: &Delivery, body: &Bytes) -> Option<Arc<PreparedEndpoint>> {
        if self.deps.stop.is_cancelled() || body.len() > LARGEST_BODY {
            return None;
        }
        let prepared = self.resolver.known(delivery)?;
        begins_soon(&self.poster.slots, &self.limiter, &delivery.tenant, &prepared.endpoint).then_some(prepared)
    }

    async fn handle_direct(
        &self,
        consumed: &ConsumedDelivery,
        endpoint: &PreparedEndpoint,
    ) -> Result<Settlement, Settlement> {
        let held = self.limiter.hold(Lane::Fast, &consumed.delivery.tenant, consumed.body.len());
        let permit = self.admit(consumed, endpoint, &held).await?;
        Ok(self.attempt(consumed, endpoint, permit).await)
    }
}
