//! Consuming: the messages that a broker hands out, the consumer that they come through, and the consumer's status.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use schemas::Message;
use service::Watchdog;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::ConnectionState;

/// One message that was handed out. Settling consumes it, so that settling twice does not compile. The drop of an
/// unsettled message gives it back, so that a panic in its handler does not use up the prefetch.
pub struct Incoming {
    pub message: Message,
    /// The routing key that the message was published with; a delivery's is its lane.
    pub key: String,
    /// True when the message was handed out before, to a consumer that did not settle it.
    pub redelivered: bool,
    /// How often the message was handed out before (RabbitMQ: `x-delivery-count`).
    pub count: u32,
    pub session: SessionEnd,
    settle: Option<Box<dyn FnOnce(Settlement) + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// The message is removed: all that follows from it is confirmed.
    Done,
    /// The message is handed out again, soon, with a higher count: at shutdown, and once after a panic. A
    /// message that should wait is published with a due time instead.
    Again,
}

impl Incoming {
    pub fn new(
        message: Message,
        key: String,
        redelivered: bool,
        count: u32,
        settle: impl FnOnce(Settlement) + Send + Sync + 'static,
    ) -> Self {
        Self { message, key, redelivered, count, settle: Some(Box::new(settle)), session: SessionEnd::default() }
    }

    /// Settles the message. Returns at once: a settlement that gets lost leads to a redelivery, never to a loss.
    pub fn settle(mut self, settlement: Settlement) {
        if let Some(settle) = self.settle.take() {
            settle(settlement);
        }
    }
}

/// The end of the session that handed a message out: settling has no effect any more, and the message is handed out again.
/// It never comes with a broker that has no sessions.
#[derive(Clone, Debug, Default)]
pub struct SessionEnd(Option<CancellationToken>);

impl SessionEnd {
    /// Comes once the token is cancelled.
    pub(crate) fn at(session: CancellationToken) -> Self {
        Self(Some(session))
    }

    /// Returns once it has come.
    pub async fn reached(&self) {
        match &self.0 {
            Some(session) => session.cancelled().await,
            None => std::future::pending().await,
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

/// How much a consumer may hold unsettled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefetch {
    /// Largest number of messages; 0 would wait for ever, so it counts as 1.
    pub messages: u16,
    /// Bytes above which nothing more is handed out until less is unsettled. One message is handed out whatever its size.
    pub bytes: usize,
}

impl Prefetch {
    /// The same prefetch, of at least one message.
    pub(crate) fn at_least_one(self) -> Self {
        Self { messages: self.messages.max(1), ..self }
    }
}

/// At most this many messages, of any size.
impl From<u16> for Prefetch {
    fn from(messages: u16) -> Self {
        Self { messages, bytes: usize::MAX }
    }
}

/// A running subscription to a [`Queue`](crate::Queue). Dropping it stops the hand-out: messages not yet read are given
/// back, and messages already read can still be settled.
pub struct Consumer {
    receiver: mpsc::Receiver<Incoming>,
    /// Its drop ends the subscription.
    _subscription: Box<dyn Send + Sync>,
    grant: Grant,
}

impl Consumer {
    /// `subscription` is dropped together with the consumer.
    pub fn new(receiver: mpsc::Receiver<Incoming>, subscription: impl Send + Sync + 'static) -> Self {
        Self { receiver, _subscription: Box::new(subscription), grant: Grant::default() }
    }

    /// The same consumer, which gets messages only once the broker has granted it.
    pub(crate) fn granted_by(self, grant: Grant) -> Self {
        Self { grant, ..self }
    }

    /// The next message; waits for ever while there is none. `None` once the broker was closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Incoming> {
        self.receiver.recv().await
    }

    /// The next message, if it is there.
    pub(crate) fn next_ready(&mut self) -> Option<Incoming> {
        self.receiver.try_recv().ok()
    }
}

/// Whether the broker has granted a consumer: without a request for it, always. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grant {
    is_missing: Arc<AtomicBool>,
}

impl Grant {
    /// Notes that the broker has to grant the consumer, for the first time or again.
    pub(crate) fn request(&self) {
        self.is_missing.store(true, Relaxed);
    }

    pub(crate) fn receive(&self) {
        self.is_missing.store(false, Relaxed);
    }

    fn is_given(&self) -> bool {
        !self.is_missing.load(Relaxed)
    }
}

/// The status of a consuming loop, for its process' probes: the loop's watchdog, and whether the broker hands it
/// messages.
pub struct ConsumerStatus {
    watchdog: Arc<Watchdog>,
    connection: watch::Receiver<ConnectionState>,
    grant: Mutex<Grant>,
}

impl ConsumerStatus {
    /// The status of a loop that has not begun. While `connection` is not ready, nothing in hand grows older.
    pub fn new(connection: watch::Receiver<ConnectionState>, now: Instant) -> Arc<Self> {
        Arc::new(Self { watchdog: Watchdog::new(now), connection, grant: Mutex::default() })
    }

    /// Whether the loop is stuck, and in what. A broker that is away, blocked or refusing is no error.
    pub fn alive(&self, now: Instant) -> Result<(), String> {
        self.watchdog.alive(now)
    }

    /// Whether the broker hands the loop messages, unless it is away.
    pub fn ready(&self) -> Result<(), String> {
        let is_granted = self.grant.lock().unwrap_or_else(PoisonError::into_inner).is_given();
        // The process itself reports a broker that is away.
        if is_granted || matches!(*self.connection.borrow(), ConnectionState::Away(_)) {
            return Ok(());
        }
        Err("the broker has not granted its consumer yet".to_owned())
    }

    pub(crate) fn begin(&self, consumer: &Consumer, now: Instant) {
        *self.grant.lock().unwrap_or_else(PoisonError::into_inner) = consumer.grant.clone();
        self.turn(now);
    }

    pub(crate) fn turn(&self, now: Instant) {
        self.watchdog.turn(now, *self.connection.borrow() == ConnectionState::Ready);
    }

    /// Counts `handling` as one message in hand until it ends.
    pub(crate) fn hold<F: Future>(&self, handling: F) -> impl Future<Output = F::Output> + use<F> {
        self.watchdog.clone().hold(handling)
    }
}

/// An embedded broker's side of a consumer: where its messages go, and how many more it may hold.
pub(crate) struct ConsumerFeed {
    pub(crate) id: u64,
    prefetch: Prefetch,
    held: HeldMessages,
    pub(crate) sender: mpsc::Sender<Incoming>,
}

/// Messages that were handed to a consumer and are not settled, also those of a lost session. The consumer's channel has
/// room for its prefetch, so it is never full.
#[derive(Clone, Copy, Default)]
struct HeldMessages {
    messages: usize,
    bytes: usize,
}

impl ConsumerFeed {
    pub(crate) fn new(prefetch: Prefetch) -> (Self, mpsc::Receiver<Incoming>) {
        static NEXT_ID: AtomicUsize = AtomicUsize::new(0);
        let prefetch = prefetch.at_least_one();
        let (sender, receiver) = mpsc::channel(prefetch.messages.into());
        let (id, held) = (NEXT_ID.fetch_add(1, Relaxed) as u64, HeldMessages::default());
        (Self { id, prefetch, held, sender }, receiver)
    }

    pub(crate) fn has_room(&self) -> bool {
        self.held.messages == 0
            || self.held.messages < usize::from(self.prefetch.messages) && self.held.bytes < self.prefetch.bytes
    }

    /// Notes a message of this many bytes that is handed to the consumer.
    pub(crate) fn hold(&mut self, bytes: usize) {
        self.held.messages += 1;
        self.held.bytes += bytes;
    }

    /// Notes that such a message is settled.
    pub(crate) fn release(&mut self, bytes: usize) {
        self.held.messages -= 1;
        self.held.bytes -= bytes;
    }

    /// Corrects what is held to messages of these sizes.
    pub(crate) fn holds_only(&mut self, sizes: impl Iterator<Item = usize>) {
        self.held = HeldMessages::default();
        sizes.for_each(|bytes| self.hold(bytes));
    }

    /// False once the consumer is being dropped: it would give back at once what it is handed, and each round would
    /// raise the message's count.
    pub(crate) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// The next feed in turn with room for a message. Loops for ever if there is none.
    pub(crate) fn next_free<'a>(feeds: &'a mut [Self], turn: &mut usize) -> &'a mut Self {
        loop {
            *turn = (*turn + 1) % feeds.len();
            if feeds[*turn].has_room() {
                return &mut feeds[*turn];
            }
        }
    }
}
