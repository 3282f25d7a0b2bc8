//! The broker for many machines: RabbitMQ 3.10 and later, quorum queues and streams, over AMQP 0-9-1. Only this folder
//! names lapin. What RabbitMQ really does, and which code depends on it: `docs/rabbitmq.md`.
//!
//! A supervisor keeps one *session* up: three connections to one node. Any failure ends the session, and the next one
//! begins.

mod client;
mod connect;
mod consume;
mod delays;
mod error;
mod health;
mod history;
mod in_hand;
mod liveness;
mod logs;
mod message;
mod notices;
mod publish;
mod refusals;
mod session;
mod settle;
mod supervise;
mod topology;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

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
    client::{Exchanges, RabbitMqClient},
    connect::BrokerHosts,
    consume::QueueConsumer,
    in_hand::InHand,
    logs::LogReading,
    session::SessionSetup,
    topology::Names,
};

pub(crate) use self::message::{LAST_DEATH, PARKED_AT};
pub use self::{
    connect::InvalidUrl,
    error::TopologyError,
    history::HistoryBatch,
    liveness::ConnectionHeartbeat,
    topology::{
        Argument, DeclaredBinding, DeclaredExchange, DeclaredQueue, Definitions, PasswordHash, QueueContents, Rights,
        Role, Routing, Topology, announce, apply, contents, discard, remove, stop_intake, verify,
    },
};
use crate::{
    BODY_LIMIT, Broker, BrokerConfig, ConnectionState, Consumer, Log, Logs, Notices, Prefetch, PublishError, Queue,
    QueueCounts, ReadError, Record, Target, consumer::Grant, notices::NoticeSender,
};

/// Heartbeats that are kept for a late listener; each connection has one in ten seconds.
const KEPT_HEARTBEATS: usize = 16;
/// Records of a log that are read ahead of the caller, in addition to those that the broker sends ahead.
const READ_AHEAD: usize = 4;

/// The client of a RabbitMQ node or cluster. Dropping it closes it in the background.
pub struct RabbitMq {
    client: Arc<RabbitMqClient>,
}

impl RabbitMq {
    /// Begins to connect, in the background and for ever. `chance` spreads reconnects and numbers markers.
    pub fn connect(config: &BrokerConfig, clock: Clock, chance: fastrand::Rng) -> Result<Self, InvalidUrl> {
        let names = Names::new(config);
        let client = Arc::new(RabbitMqClient {
            hosts: BrokerHosts::load(&config.url)?,
            exchanges: Exchanges::new(&names),
            logs: config.log_bytes(),
            setup: SessionSetup {
                declare: config.declare,
                topology: Topology::plan(config),
                names,
                heartbeats: broadcast::Sender::new(KEPT_HEARTBEATS),
                notices: NoticeSender::default(),
            },
            clock,
            chance: Mutex::new(chance),
            max_body: AtomicUsize::new(BODY_LIMIT),
            session: watch::Sender::default(),
            connection_state: watch::Sender::new(ConnectionState::Away(ConnectionState::CONNECTING.to_owned())),
            packs_deliveries: AtomicBool::default(),
            defect: watch::Sender::default(),
            stop: CancellationToken::new(),
            ended: CancellationToken::new(),
        });
        tokio::spawn(supervise::supervise(Arc::clone(&client)));
        Ok(Self { client })
    }

    /// Waits for the first session, for ever: an absent broker may come, and a wrong password be corrected. After an
    /// error, which only a person can repair, the process should end (exit code 78).
    pub async fn first_session(&self) -> Result<(), TopologyError> {
        let (mut session, mut defect) = (self.client.session.subscribe(), self.client.defect.subscribe());
        tokio::select! {
            biased;
            Ok(defect) = defect.wait_for(Option::is_some) => defect.clone().map_or(Ok(()), Err),
            _ = session.wait_for(Option::is_some) => Ok(()),
        }
    }

    /// The answered liveness probes of all connections. A probe without an answer ends the session.
    pub fn heartbeats(&self) -> broadcast::Receiver<ConnectionHeartbeat> {
        self.client.setup.heartbeats.subscribe()
    }

    /// True when events come from the public exchange into the intake, which a probe shows. `None` when it does not show:
    /// the broker is away or confirms nothing, events wait before the probe, or a right is missing. It takes the rights to
    /// publish to the public exchange and to read what is parked.
    pub async fn intake_is_bound(&self) -> Option<bool> {
        let session = self.client.session.borrow().clone().filter(|session| session.health.blocked().is_none())?;
        let connection = connect::connect(&session.host, "probing").await.ok()?;
        let SessionSetup { names, topology, .. } = &self.client.setup;
        // Each run has numbers of its own.
        let first = self.client.random_marker() << 8;
        let bound = topology::intake_is_bound(&connection, names, topology, first).await;
        connection.close().await;
        bound
    }

    /// Says whether every deliverer reads deliveries with packed headers. Until then they are written with named ones.
    pub fn pack_deliveries(&self, all_read_them: bool) {
        self.client.packs_deliveries.store(all_read_them, Relaxed);
    }

    /// What is wrong with the topology; `None` while nothing is known to be wrong.
    pub fn defect(&self) -> watch::Receiver<Option<TopologyError>> {
        self.client.defect.subscribe()
    }
}

impl Logs for RabbitMq {
    fn read(&self, log: Log, offset: u64) -> BoxStream<'static, Result<Record, ReadError>> {
        let (out, records) = mpsc::channel(READ_AHEAD);
        tokio::spawn(LogReading { stream: self.client.log_stream(log), log, offset, out }.run());
        stream::unfold(records, async |mut records| records.recv().await.map(|record| (record, records))).boxed()
    }

    fn end(&self, log: Log) -> BoxFuture<'_, Result<u64, ReadError>> {
        let stream = self.client.log_stream(log);
        async move { stream.end().await.map_err(ReadError) }.boxed()
    }
}

impl Broker for RabbitMq {
    fn publish<'a>(&'a self, to: &'a Target, message: &'a Message) -> BoxFuture<'a, Result<(), PublishError>> {
        Box::pin(self.client.publish(to, message))
    }

    fn consume(&self, from: Queue, prefetch: Prefetch) -> Consumer {
        let prefetch = prefetch.at_least_one();
        let (out, incoming) = mpsc::channel(prefetch.messages.into());
        let grant = Grant::default();
        grant.request();
        let (client, in_hand) = (Arc::clone(&self.client), InHand::new(prefetch));
        tokio::spawn(QueueConsumer { client, queue: from, in_hand, out, grant: grant.clone() }.run());
        Consumer::new(incoming, ()).granted_by(grant)
    }

    fn announce(&self, notice: Bytes) {
        if let Some(session) = &*self.client.session.borrow() {
            session.announce(notice);
        }
    }

    fn notices(&self) -> Notices {
        self.client.setup.notices.subscribe()
    }

    fn waiting<'a>(&'a self, _: &'a [(&'a str, &'a str)]) -> BoxFuture<'a, Result<Option<u64>, ReadError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn queue_counts(&self) -> BoxFuture<'_, Result<QueueCounts, ReadError>> {
        Box::pin(self.client.queue_counts())
    }

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
        self.client.logs.of(log)
    }

    fn connection_state(&self) -> watch::Receiver<ConnectionState> {
        self.client.connection_state.subscribe()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.client.stop.cancel();
        Box::pin(self.client.ended.cancelled())
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        self.client.stop.cancel();
    }
}
