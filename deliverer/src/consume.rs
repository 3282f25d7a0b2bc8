//! Consuming both lanes, each with the same prefetch: bodies that wait in one lane never take the room of the other.

use std::sync::Arc;

use broker::{Broker, ConsumerStatus, Handler, Lane, Prefetch, Queue, SessionEnd, run_handler};
use bytes::Bytes;
use schemas::Delivery;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A delivery in hand.
pub(crate) struct ConsumedDelivery {
    pub(crate) delivery: Delivery,
    /// The event, which is posted unparsed.
    pub(crate) body: Bytes,
    pub(crate) path: Path,
    pub(crate) redelivered: bool,
    /// The end of the session of its message, or of its event's where the router handed it over.
    pub(crate) session: SessionEnd,
    /// Revision that created the tenant.
    pub(crate) tenant_created: u64,
}

/// How a delivery came here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// The router of this process handed it over.
    Direct,
    Lane(Lane),
}

impl Path {
    pub(crate) const ALL: [Self; 3] = [Self::Direct, Self::Lane(Lane::Fast), Self::Lane(Lane::Slow)];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Lane(lane) => lane.name(),
        }
    }

    /// The lane whose slots and shares it takes. What is handed over is a first attempt.
    pub(crate) const fn lane(self) -> Lane {
        match self {
            Self::Direct => Lane::Fast,
            Self::Lane(lane) => lane,
        }
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
