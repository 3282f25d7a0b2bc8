//! Consuming both lanes, each with the same prefetch: bodies that wait in one lane never take the room of the other.

use std::sync::Arc;

use broker::{Broker, ConsumerStatus, Handler, Incoming, Lane, Prefetch, Queue, run_handler};
use bytes::Bytes;
use schemas::Delivery;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) struct ConsumedDelivery<'a> {
    pub(crate) delivery: Delivery,
    pub(crate) incoming: &'a Incoming,
    pub(crate) lane: Lane,
    /// Revision that created the tenant.
    pub(crate) tenant_created: u64,
}

impl ConsumedDelivery<'_> {
    /// The event, which is posted unparsed.
    pub(crate) fn body(&self) -> &Bytes {
        &self.incoming.message.body
    }
}

pub(crate) struct Lanes {
    broker: Arc<dyn Broker>,
    prefetch: Prefetch,
    fast: Arc<ConsumerStatus>,
    slow: Arc<ConsumerStatus>,
    stop: CancellationToken,
}

impl Lanes {
    pub(crate) fn new(broker: Arc<dyn Broker>, prefetch: Prefetch, stop: CancellationToken) -> Self {
        let [fast, slow] =
            [Lane::Fast, Lane::Slow].map(|_| ConsumerStatus::new(broker.connection_state(), Instant::now()));
        Self { broker, prefetch, fast, slow, stop }
    }

    pub(crate) fn status(&self, lane: Lane) -> &Arc<ConsumerStatus> {
        match lane {
            Lane::Fast => &self.fast,
            Lane::Slow => &self.slow,
        }
    }

    /// Hands every message of a lane to `handler` until asked to stop, and then finishes the messages in hand.
    pub(crate) async fn consume<H: Handler>(&self, lane: Lane, handler: Arc<H>) {
        let queue = Queue::Lane(lane);
        let consumer = self.broker.consume(queue, self.prefetch);
        run_handler(queue, consumer, handler, self.stop.clone(), self.status(lane).clone()).await;
    }
}
