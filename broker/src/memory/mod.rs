//! The broker for tests: nothing survives, everything that may go wrong can be made to, and the same seed makes the
//! same run. Hostile unless asked to be calm, so that code relying on luck fails early. It cannot prove what only a
//! real broker shows (quorums, alarms, framing).

mod faults;
mod place;
mod state;
mod timer;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use faults::Fault;
use futures_util::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use place::Tap;
use schemas::Message;
use service::Clock;
use state::{HandOut, State};
use tokio::sync::{Notify, watch};

use crate::{
    BODY_LIMIT, Broker, ConnectionState, Consumer, Log, Logs, Notices, PublishError, Queue, ReadError, Record, Target,
    notices::Board,
};

const CLOSED: &str = "the memory broker is closed";

/// The broker in memory. Clones are the same broker.
#[derive(Clone)]
pub struct Memory {
    shared: Arc<Shared>,
}

struct Shared {
    /// Never held across an await, nor while an [`Incoming`](crate::Incoming) is dropped: that locks too.
    state: Mutex<State>,
    link: watch::Sender<ConnectionState>,
    board: Board,
    clock: Clock,
    /// Tells the timer that something may be due earlier than it thinks.
    sooner: Arc<Notify>,
}

impl Memory {
    /// One that hands out one message in a hundred twice and redelivers in any order, all decided by `seed`. For paused
    /// time the clock must run with tokio's: it is waited for with tokio's timer.
    pub fn hostile(clock: Clock, seed: u64) -> Self {
        Self::new(clock, Some(fastrand::Rng::with_seed(seed)))
    }

    /// One that hands out everything once and in order, unless told otherwise.
    pub fn calm(clock: Clock) -> Self {
        Self::new(clock, None)
    }

    /// How many messages are at `inlet` and not settled: waiting, delayed or handed out, extra copies included.
    pub fn depth(&self, inlet: Queue) -> usize {
        self.shared.lock().depth(inlet)
    }

    /// All that a log holds.
    pub fn records(&self, log: Log) -> Vec<Record> {
        self.shared.lock().records(log).clone()
    }

    fn new(clock: Clock, chance: Option<fastrand::Rng>) -> Self {
        let shared = Shared {
            state: Mutex::new(State::new(chance)),
            link: watch::Sender::new(ConnectionState::Ready),
            board: Board::default(),
            clock,
            sooner: Arc::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    async fn publish(&self, to: &Target, message: &Message) -> Result<(), PublishError> {
        if message.body.len() > BODY_LIMIT {
            return Err(PublishError::TooLarge);
        }
        let (fault, latency) = self.shared.admit()?;
        if fault == Some(Fault::Nack) {
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

    fn consume(&self, from: Queue, prefetch: u16) -> Consumer {
        let (tap, receiver) = Tap::new(prefetch);
        let leave = Leave { shared: self.shared.clone(), from, tap: tap.id() };
        self.shared.change(|state| state.join(from, tap));
        Consumer::new(receiver, leave)
    }

    /// As on a real broker, nothing is heard while it is away.
    fn announce(&self, notice: Bytes) {
        if *self.shared.link.borrow() == ConnectionState::Ready {
            self.shared.board.post(notice);
        }
    }

    fn notices(&self) -> Notices {
        self.shared.board.listen()
    }

    fn waiting<'a>(&'a self, with: &'a [(&'a str, &'a str)]) -> BoxFuture<'a, Result<Option<u64>, ReadError>> {
        let state = self.shared.lock();
        let counted = (!state.faults.hidden).then(|| state.waiting(with));
        std::future::ready(Ok(counted)).boxed()
    }

    fn connection_state(&self) -> watch::Receiver<ConnectionState> {
        self.shared.link.subscribe()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            self.shared.link.send_replace(ConnectionState::Away(CLOSED.into()));
            self.shared.lock().close();
        }
        .boxed()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a publish is taken now, and what goes wrong with it.
    fn admit(&self) -> Result<(Option<Fault>, Duration), PublishError> {
        match &*self.link.borrow() {
            ConnectionState::Away(reason) => Err(PublishError::Away(reason.clone())),
            ConnectionState::Blocked(reason) => Err(PublishError::Blocked(reason.clone())),
            ConnectionState::Ready => Ok(self.lock().faults.next()),
        }
    }

    fn store(self: &Arc<Self>, to: &Target, message: &Message) {
        let now = (self.clock)();
        if self.change(|state| state.store(to, message.clone(), now)) {
            timer::start(self);
        }
    }

    /// Changes the state, then hands out what can be handed out.
    fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut State) -> T) -> T {
        let away = matches!(*self.link.borrow(), ConnectionState::Away(_));
        let (result, picks) = {
            let mut state = self.lock();
            let result = change(&mut state);
            (result, if away { Vec::new() } else { state.pick() })
        };
        for pick in picks {
            self.hand_out(pick);
        }
        result
    }

    fn hand_out(self: &Arc<Self>, HandOut { from, tap, to, entry }: HandOut) {
        let (shared, seq) = (self.clone(), entry.seq);
        let settle = move |settlement| shared.change(|state| state.settle(from, tap, seq, settlement));
        let mut incoming = entry.into_incoming(settle);
        incoming.session = Some(self.lock().session.clone());
        // Refused only when the consumer has just gone; the message is dropped here, and so comes back.
        let _ = to.try_send(incoming);
    }
}

/// Ends a consumer's hand-out when it is dropped.
struct Leave {
    shared: Arc<Shared>,
    from: Queue,
    tap: u64,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.shared.change(|state| state.leave(self.from, self.tap));
    }
}
