//! What the broker hands over, and how it is given back.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use schemas::Message;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// One message handed out. Settling consumes it, so that twice does not compile; dropped unsettled it comes back, so
/// that a panic starves no prefetch.
pub struct Incoming {
    /// The message.
    pub message: Message,
    /// The routing key it was published with (deliveries: the lane).
    pub key: String,
    /// Handed out before, to somebody who did not settle it.
    pub redelivered: bool,
    /// How often it was handed out before (RabbitMQ: `x-delivery-count`).
    pub count: u32,
    /// Cancelled once the session that handed it out is over; none where there are no sessions.
    pub session: Option<CancellationToken>,
    settle: Option<Box<dyn FnOnce(Settlement) + Send + Sync>>,
}

/// What becomes of a message that was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Its consequences are confirmed: it is removed.
    Done,
    /// It is handed out again, soon, with a higher count. At shutdown and while publishing is blocked only: anything
    /// that should wait is published with a due time instead.
    Again,
}

impl Incoming {
    /// A message with the way back to its broker.
    pub fn new(
        message: Message,
        key: String,
        redelivered: bool,
        count: u32,
        settle: impl FnOnce(Settlement) + Send + Sync + 'static,
    ) -> Self {
        Self { message, key, redelivered, count, settle: Some(Box::new(settle)), session: None }
    }

    /// Returns once settling it has no effect any more, since the session that handed it out is over: it is, or will
    /// be, handed out again. Never, where there are no sessions.
    pub async fn lost(&self) {
        match &self.session {
            Some(session) => session.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Ends it. Returns at once: a settlement that gets lost makes a redelivery, never a loss.
    pub fn settle(mut self, settlement: Settlement) {
        if let Some(settle) = self.settle.take() {
            settle(settlement);
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(settle) = self.settle.take() {
            settle(Settlement::Again);
        }
    }
}

/// A running subscription to an [`Queue`](crate::Queue). Dropping it stops the hand-out: what it holds unread goes
/// back, what was handed out can still be settled.
pub struct Consumer {
    receiver: mpsc::Receiver<Incoming>,
    /// Tells the broker, by being dropped, that nobody listens any more.
    _alive: Box<dyn Send + Sync>,
    grant: Grant,
}

/// Whether a consumer is handed messages: how many of its subscriptions the broker has not granted, or not yet again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grant(Arc<AtomicUsize>);

impl Grant {
    /// One more subscription has to be granted.
    pub(crate) fn ask(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// One is.
    pub(crate) fn give(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    /// Whether all are.
    pub(crate) fn is_given(&self) -> bool {
        self.0.load(Relaxed) == 0
    }
}

impl Consumer {
    /// A consumer fed by `receiver`; `alive` is dropped together with it.
    pub fn new(receiver: mpsc::Receiver<Incoming>, alive: impl Send + Sync + 'static) -> Self {
        Self { receiver, _alive: Box::new(alive), grant: Grant::default() }
    }

    /// The same, of which not all subscriptions are granted yet.
    pub(crate) fn granted_by(self, grant: Grant) -> Self {
        Self { grant, ..self }
    }

    /// Whether it is handed messages.
    pub(crate) fn grant(&self) -> Grant {
        self.grant.clone()
    }

    /// The next message; waits for ever while there is none. `None` once the broker was closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Incoming> {
        self.receiver.recv().await
    }
}
