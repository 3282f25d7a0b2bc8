//! The broker for tests: nothing survives, faults can be injected, and the same seed makes the same run. It is hostile
//! unless asked to be calm, so that code relying on luck fails early. It cannot prove what only a real broker shows
//! (quorums, alarms, framing).

mod delays;
mod faults;
mod queue;
mod state;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use faults::PublishFault;
use futures_util::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use queue::HandOut;
use schemas::Message;
use service::Clock;
use state::MemoryBrokerState;
use tokio::sync::{Notify, watch};

use crate::{
    BODY_LIMIT, Broker, ConnectionState, Consumer, Log, LogBytes, Logs, Notices, Prefetch, PublishError, Queue,
    QueueCounts, ReadError, Record, SessionEnd, Target, consumer::ConsumerFeed, notices::NoticeSender,
};

const CLOSED: &str = "the memory broker is closed";

/// Clones are the same broker.
#[derive(Clone)]
pub struct Memory {
    shared: Arc<SharedState>,
}

struct SharedState {
    /// Never held across an await, nor while an [`Incoming`](crate::Incoming) is dropped: that locks too.
    state: Mutex<MemoryBrokerState>,
    connection: watch::Sender<ConnectionState>,
    notices: NoticeSender,
    clock: Clock,
    /// Wakes the timer, because something may be due earlier.
    earlier_due: Arc<Notify>,
}

impl Memory {
    /// A broker that hands out one message in a hundred twice and redelivers in any order, all decided by `seed`. In
    /// paused time the clock must run with tokio's.
    pub fn hostile(clock: Clock, seed: u64) -> Self {
        Self::new(clock, Some(fastrand::Rng::with_seed(seed)))
    }

    /// A broker that hands out everything once and in order, unless a fault is injected.
    pub fn calm(clock: Clock) -> Self {
        Self::new(clock, None)
    }

    /// How many messages are in `queue` and not settled: waiting, delayed or handed out, extra copies included.
    pub fn depth(&self, queue: Queue) -> usize {
        self.shared.lock().depth(queue)
    }

    pub fn records(&self, log: Log) -> Vec<Record> {
        self.shared.lock().records(log).clone()
    }

    /// Sets the bytes that the logs are said to keep.
    pub fn set_max_log_bytes(&self, bytes: LogBytes) {
        self.shared.lock().max_log_bytes = bytes;
    }

    fn new(clock: Clock, chance: Option<fastrand::Rng>) -> Self {
        let shared = SharedState {
            state: Mutex::new(MemoryBrokerState::new(chance)),
            connection: watch::Sender::new(ConnectionState::Ready),
            notices: NoticeSender::default(),
            clock,
            earlier_due: Arc::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    async fn publish(&self, to: &Target, message: &Message) -> Result<(), PublishError> {
        if message.body.len() > self.shared.lock().faults.largest.unwrap_or(BODY_LIMIT) {
            return Err(PublishError::TooLarge);
        }
        let (fault, latency) = self.shared.admit()?;
        if fault == Some(PublishFault::Nack) {
            return Err(PublishError::Nacked);
        }
        self.shared.store(to, message);
        if latency > Duration::ZERO {
            tokio::time::sleep(latency).await;
        }
        match fault {
            Some(_) => Err(PublishError::Lost("the confirm was lost on purpose".into())),
            None => Ok(()),
        }
    }
}

impl Logs for Memory {
    fn read(&self, log: Log, offset: u64) -> BoxStream<'static, Result<Record, ReadError>> {
        let mut records = self.records(log);
        records.retain(|record| record.offset >= offset);
        stream::iter(records).map(Ok).boxed()
    }

    fn end(&self, log: Log) -> BoxFuture<'_, Result<u64, ReadError>> {
        let last = self.shared.lock().records(log).last().map(|record| record.offset);
        std::future::ready(Ok(last.map_or(0, |last| last + 1))).boxed()
    }
}

impl Broker for Memory {
    fn publish<'a>(&'a self, to: &'a Target, message: &'a Message) -> BoxFuture<'a, Result<(), PublishError>> {
        self.publish(to, message).boxed()
    }

    fn consume(&self, from: Queue, prefetch: Prefetch) -> Consumer {
        let (feed, receiver) = ConsumerFeed::new(prefetch);
        let subscription = MemorySubscription { shared: self.shared.clone(), from, consumer: feed.id };
        self.shared.change(|state| state.add_consumer(from, feed));
        Consumer::new(receiver, subscription)
    }

    /// As on a real broker, notices reach nobody while it is away.
    fn announce(&self, notice: Bytes) {
        if *self.shared.connection.borrow() == ConnectionState::Ready {
            self.shared.notices.send(notice);
        }
    }

    fn notices(&self) -> Notices {
        self.shared.notices.subscribe()
    }

    fn waiting<'a>(&'a self, with: &'a [(&'a str, &'a str)]) -> BoxFuture<'a, Result<Option<u64>, ReadError>> {
        let state = self.shared.lock();
        let counted = (!state.faults.hidden).then(|| state.waiting(with));
        std::future::ready(Ok(counted)).boxed()
    }

    fn queue_counts(&self) -> BoxFuture<'_, Result<QueueCounts, ReadError>> {
        let counts = match &*self.shared.connection.borrow() {
            ConnectionState::Away(reason) => Err(ReadError(reason.clone())),
            _ => Ok(self.shared.lock().counts()),
        };
        std::future::ready(counts).boxed()
    }

    /// The memory broker deletes nothing, whatever this is set to.
    fn remove_records<'a>(&'a self, _: Log, _: &'a [u64]) -> BoxFuture<'a, Result<bool, ReadError>> {
        Box::pin(std::future::ready(Ok(false)))
    }

    fn end_waits<'a>(&'a self, _: &'a [String]) -> BoxFuture<'a, Result<bool, ReadError>> {
        Box::pin(std::future::ready(Ok(false)))
    }

    fn overwrite_deleted(&self) -> BoxFuture<'_, Result<bool, ReadError>> {
        Box::pin(std::future::ready(Ok(false)))
    }

    fn max_log_bytes(&self, log: Log) -> u64 {
        self.shared.lock().max_log_bytes.of(log)
    }

    fn connection_state(&self) -> watch::Receiver<ConnectionState> {
        self.shared.connection.subscribe()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            self.shared.connection.send_replace(ConnectionState::Away(CLOSED.into()));
            self.shared.lock().close();
        }
        .boxed()
    }
}

impl SharedState {
    fn lock(&self) -> MutexGuard<'_, MemoryBrokerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the fault of an admitted publish, and the delay of its confirm.
    fn admit(&self) -> Result<(Option<PublishFault>, Duration), PublishError> {
        match &*self.connection.borrow() {
            ConnectionState::Away(reason) => Err(PublishError::Away(reason.clone())),
            ConnectionState::Blocked(reason) => Err(PublishError::Blocked(reason.clone())),
            ConnectionState::Ready => Ok(self.lock().faults.next()),
        }
    }

    fn store(self: &Arc<Self>, to: &Target, message: &Message) {
        let now = (self.clock)();
        if self.change(|state| state.store(to, message.clone(), now)) {
            delays::start(self);
        }
    }

    /// Ends all consumers' sessions: what they hold is handed out again.
    fn lose_session(self: &Arc<Self>) {
        self.change(MemoryBrokerState::lose_session);
    }

    fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut MemoryBrokerState) -> T) -> T {
        let is_away = matches!(*self.connection.borrow(), ConnectionState::Away(_));
        let (result, picks) = {
            let mut state = self.lock();
            let result = change(&mut state);
            (result, if is_away { Vec::new() } else { state.pick() })
        };
        for pick in picks {
            self.hand_out(pick);
        }
        result
    }

    fn hand_out(self: &Arc<Self>, HandOut { from, consumer, to, message }: HandOut) {
        let (shared, settled) = (self.clone(), (message.seq, message.message.body.len()));
        let settle = move |settlement| shared.change(|state| state.settle(from, consumer, settled, settlement));
        let mut incoming = message.into_incoming(settle);
        incoming.session = SessionEnd::at(self.lock().session.clone());
        // Fails only when the consumer has just gone. The drop gives the message back.
        let _ = to.try_send(incoming);
    }
}

/// Ends a consumer's subscription when it is dropped.
struct MemorySubscription {
    shared: Arc<SharedState>,
    from: Queue,
    consumer: u64,
}

impl Drop for MemorySubscription {
    fn drop(&mut self) {
        self.shared.change(|state| state.remove_consumer(self.from, self.consumer));
    }
}
