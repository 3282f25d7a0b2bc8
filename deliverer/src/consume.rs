//! Consuming both lanes. A lane's prefetch is as many messages as there are slots for, and half of the budget of bytes.

use std::sync::Arc;

use broker::{Broker, ConsumerStatus, Handler, Incoming, Lane, Prefetch, Queue, run_handler};
use bytes::Bytes;
use schemas::Delivery;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::limits::SlotCounts;

pub(crate) struct ConsumedDelivery<'a> {
    pub(crate) delivery: Delivery,
    pub(crate) incoming: &'a Incoming,
    pub(crate) lane: Lane,
}

impl ConsumedDelivery<'_> {
    /// The event, which is posted unparsed.
    pub(crate) fn body(&self) -> &Bytes {
        &self.incoming.message.body
    }
}

pub(crate) struct Lanes {
    broker: Arc<dyn Broker>,
    slots: SlotCounts,
    /// Bytes of bodies in hand, of both lanes.
    max_bytes: u32,
    fast: Arc<ConsumerStatus>,
    slow: Arc<ConsumerStatus>,
    stop: CancellationToken,
}

impl Lanes {
    pub(crate) fn new(broker: Arc<dyn Broker>, slots: SlotCounts, max_bytes: u32, stop: CancellationToken) -> Self {
        let [fast, slow] =
            [Lane::Fast, Lane::Slow].map(|_| ConsumerStatus::new(broker.connection_state(), Instant::now()));
        Self { broker, slots, max_bytes, fast, slow, stop }
    }

    pub(crate) fn status(&self, lane: Lane) -> &Arc<ConsumerStatus> {
        match lane {
            Lane::Fast => &self.fast,
            Lane::Slow => &self.slow,
        }
    }

    /// Hands every message of a lane to `handler` until asked to stop, and then finishes the messages in hand.
    pub(crate) async fn consume<H: Handler>(&self, lane: Lane, handler: Arc<H>) {
        // Bodies that wait in one lane never take the room of the other.
        let prefetch = Prefetch { messages: self.slots.prefetch(lane), bytes: self.max_bytes as usize / 2 };
        let consumer = self.broker.consume(Queue::Lane(lane), prefetch);
        run_handler(consumer, handler, self.stop.clone(), self.status(lane).clone()).await;
    }
}
