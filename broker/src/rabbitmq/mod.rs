//! The broker for many machines: RabbitMQ 3.10 and later, quorum queues and streams, over AMQP 0-9-1. The only place
//! that names lapin.
//!
//! A supervisor keeps one *session* up (three connections to one node); whatever fails ends it, and the next one begins.
//! Subscriptions and publishes take the session that is there.

mod acker;
mod address;
mod administration;
mod canary;
mod consume;
mod contents;
mod core;
mod declare;
mod definitions;
mod echo;
mod entities;
mod error;
mod health;
mod herald;
mod ladder;
mod liveness;
mod log;
mod names;
mod overdue;
mod publish;
mod refused;
mod rights;
mod session;
mod supervise;
mod topology;
mod way;
mod wire;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use schemas::Message;
use service::Clock;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

use self::{
    address::Address,
    consume::{CREDIT_OF_ONE, Subscription},
    core::{Core, Exchanges},
    log::{Reading, Stream},
    names::Names,
};

pub use self::{
    address::InvalidUrl,
    administration::{announce, apply, contents, discard, remove, stop_intake, verify},
    contents::Contents,
    definitions::{Definitions, PasswordHash},
    entities::{Argument, Binding, DeclaredQueue, Exchange, Routing},
    error::TopologyError,
    liveness::Beat,
    rights::{Rights, Role},
    topology::Topology,
};
use crate::{
    Broker, BrokerConfig, ConnectionState, Consumer, Log, Logs, Notices, PublishError, Queue, ReadError, Record,
    Target, consumer::Grants, notices::NoticeSender,
};

/// Signs of life that are kept for a listener that is late; each connection has one in ten seconds.
const BEATS: usize = 16;
/// Records read ahead of whoever reads a log.
const READ_AHEAD: usize = 64;

/// A RabbitMQ, or a cluster of them. Dropping it closes it in the background.
pub struct RabbitMq {
    core: Arc<Core>,
}

impl RabbitMq {
    /// Begins to connect, in the background and for ever; [`link`](Broker::link) says how far that is. `chance` spreads
    /// reconnects and tells readers' markers apart.
    ///
    /// # Errors
    /// A `broker.url` that is none.
    pub fn connect(config: &BrokerConfig, clock: Clock, chance: fastrand::Rng) -> Result<Self, InvalidUrl> {
        let names = Names::new(config);
        let core = Arc::new(Core {
            config: config.clone(),
            address: Address::to_reach(&config.url)?,
            topology: Topology::plan(config),
            exchanges: Exchanges::new(&names),
            names,
            clock,
            chance: Mutex::new(chance),
            session: watch::Sender::default(),
            link: watch::Sender::new(ConnectionState::Away(ConnectionState::CONNECTING.to_owned())),
            beats: broadcast::Sender::new(BEATS),
            board: NoticeSender::default(),
            defect: watch::Sender::default(),
            stop: CancellationToken::new(),
            ended: CancellationToken::new(),
        });
        tokio::spawn(supervise::supervise(Arc::clone(&core)));
        Ok(Self { core })
    }

    /// Waits for the first session, however long that takes: an absent broker or a wrong password is waited out.
    ///
    /// # Errors
    /// A topology that is not as required, which only a person can change: the process should end (exit code 78).
    pub async fn first_session(&self) -> Result<(), TopologyError> {
        let (mut session, mut defect) = (self.core.session.subscribe(), self.core.defect.subscribe());
        tokio::select! {
            biased;
            Ok(defect) = defect.wait_for(Option::is_some) => defect.clone().map_or(Ok(()), Err),
            _ = session.wait_for(Option::is_some) => Ok(()),
        }
    }

    /// How quickly the broker answers its connections' signs of life, from now on. One that is not answered ends the session.
    pub fn beats(&self) -> broadcast::Receiver<Beat> {
        self.core.beats.subscribe()
    }

    /// What is wrong with the topology, also when it breaks later; `None` while nothing is known to be.
    pub fn defect(&self) -> watch::Receiver<Option<TopologyError>> {
        self.core.defect.subscribe()
    }
}

impl Logs for RabbitMq {
    fn read(&self, log: Log, offset: u64) -> BoxStream<'static, Result<Record, ReadError>> {
        let (out, records) = mpsc::channel(READ_AHEAD);
        tokio::spawn(Reading { stream: Stream { core: Arc::clone(&self.core), log }, offset, out }.run());
        stream::unfold(records, async |mut records| records.recv().await.map(|record| (record, records))).boxed()
    }

    fn end(&self, log: Log) -> BoxFuture<'_, Result<u64, ReadError>> {
        let stream = Stream { core: Arc::clone(&self.core), log };
        async move { stream.end().await.map_err(ReadError) }.boxed()
    }
}

impl Broker for RabbitMq {
    fn publish<'a>(&'a self, to: &'a Target, message: &'a Message) -> BoxFuture<'a, Result<(), PublishError>> {
        Box::pin(self.core.publish(to, message))
    }

    fn consume(&self, from: Queue, prefetch: u16) -> Consumer {
        let (out, incoming) = mpsc::channel(usize::from(prefetch.max(1)));
        let grant = Grants::default();
        let mut rest = prefetch.max(1);
        while rest > 0 {
            let prefetch = rest.min(CREDIT_OF_ONE);
            grant.request();
            let (core, out, grant) = (Arc::clone(&self.core), out.clone(), grant.clone());
            tokio::spawn(Subscription { core, inlet: from, prefetch, out, grant }.run());
            rest -= prefetch;
        }
        Consumer::new(incoming, ()).granted_by(grant)
    }

    fn announce(&self, notice: Bytes) {
        if let Some(session) = &*self.core.session.borrow() {
            session.announce(notice);
        }
    }

    fn notices(&self) -> Notices {
        self.core.board.subscribe()
    }

    /// Nobody can look into a queue.
    fn waiting<'a>(&'a self, _: &'a [(&'a str, &'a str)]) -> BoxFuture<'a, Result<Option<u64>, ReadError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn connection_state(&self) -> watch::Receiver<ConnectionState> {
        self.core.link.subscribe()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.core.stop.cancel();
        Box::pin(self.core.ended.cancelled())
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        self.core.stop.cancel();
    }
}
