//! What the broker hands over, and how it is given back.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Message;

/// One message handed out. Settling consumes it, so that twice does not compile; dropped unsettled it comes back, so
/// that a panic starves no credit.
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

/// A running subscription to an [`Inlet`](crate::Inlet). Dropping it stops the hand-out: what it holds unread goes
/// back, what was handed out can still be settled.
pub struct Consumer {
    receiver: mpsc::Receiver<Incoming>,
    /// Tells the broker, by being dropped, that nobody listens any more.
    _alive: Box<dyn Send + Sync>,
}

impl Consumer {
    /// A consumer fed by `receiver`; `alive` is dropped together with it.
    pub fn new(receiver: mpsc::Receiver<Incoming>, alive: impl Send + Sync + 'static) -> Self {
        Self { receiver, _alive: Box::new(alive) }
    }

    /// The next message; waits for ever while there is none. `None` once the broker was closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Incoming> {
        self.receiver.recv().await
    }
}
