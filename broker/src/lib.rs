//! The broker seam: where events and deliveries wait between producers, routers and deliverers. A broker carries bytes
//! with headers and knows nothing of what they mean. `memory` (for tests), `sqlite` and `rabbitmq` implement [`Broker`]
//! and pass one contract suite (`tests/contract`).

mod config;
mod consumer;
mod direct;
mod large_bodies;
mod latest_tenant;
mod layer;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
mod notices;
mod pace;
mod publish_until_confirmed;
mod publish_window;
mod queue_counts;
mod queues;
pub mod rabbitmq;
pub mod records;
mod run_handler;
pub mod sqlite;

use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};
use schemas::Message;
use tokio::sync::watch;

pub use config::{BrokerConfig, LogBytes};
pub use consumer::{Consumer, ConsumerStatus, Incoming, Prefetch, SessionEnd, Settlement};
pub use direct::DirectDelivery;
pub use large_bodies::LargeBodies;
pub use layer::BrokerLayer;
pub use notices::Notices;
pub use publish_until_confirmed::{Deadline, publish_until_confirmed};
pub use publish_window::{PublishRoom, PublishWindow};
pub use queue_counts::{QueueCount, QueueCounts};
pub use queues::{Due, Lane, Log, Queue, Target};
pub use records::Record;
pub use run_handler::{Handler, run_handler};

/// Largest body of a message, in bytes: half of what RabbitMQ 3 takes by default, far above any event.
pub const BODY_LIMIT: usize = 64 * 1024 * 1024;

/// A durable broker between producers, routers and deliverers.
///
/// The trait is object-safe, so that tests can wrap a broker. The price is one boxed future per publish, which is little
/// beside a round trip.
pub trait Broker: Logs {
    /// Publishes one message. Resolves `Ok` only once the message is durable (SQLite: after the commit; RabbitMQ:
    /// persistent, mandatory, confirmed by a majority). After an error the message may or may not be there: publish it
    /// again, under the same id. Many publishes may be under way at once; they are confirmed in any order.
    fn publish<'a>(&'a self, to: &'a Target, message: &'a Message) -> BoxFuture<'a, Result<(), PublishError>>;

    /// Starts to hand out what waits in `from` until the [`Consumer`] is dropped: at most `prefetch.messages` unsettled
    /// messages at a time, and none while the bodies of the unsettled ones have `prefetch.bytes`. RabbitMQ notices that
    /// only once it has sent some more. Never ends by itself: while the broker is away it waits. What was handed out and
    /// not settled when a session or process ends is handed out again, with `redelivered` set and a higher `count`. No
    /// order is promised.
    fn consume(&self, from: Queue, prefetch: Prefetch) -> Consumer;

    /// Sends a short notice to every process on this broker, this one included. Best effort, and never waits: while the
    /// broker is away or blocked the notice is dropped.
    fn announce(&self, notice: Bytes);

    /// All notices that any process announces from now on.
    fn notices(&self) -> Notices;

    /// Counts the messages in the lanes, delayed and handed out ones included, that carry all these texts as headers;
    /// `None` where nobody can look into a queue (RabbitMQ). For people: it reads everything that waits, and holds up
    /// nobody.
    fn waiting<'a>(&'a self, with: &'a [(&'a str, &'a str)]) -> BoxFuture<'a, Result<Option<u64>, ReadError>>;

    /// Counts what waits in the queues. For people: the numbers are as old as the broker's own. Fails while the broker is
    /// away.
    fn queue_counts(&self) -> BoxFuture<'_, Result<QueueCounts, ReadError>>;

    /// Removes records of a log, with all that they hold. False where none can be removed before its time (RabbitMQ).
    fn remove_records<'a>(&'a self, log: Log, offsets: &'a [u64]) -> BoxFuture<'a, Result<bool, ReadError>>;

    /// Makes deliveries of events that wait for their due time due now. False where nobody can reach them (RabbitMQ).
    fn end_waits<'a>(&'a self, event_ids: &'a [String]) -> BoxFuture<'a, Result<bool, ReadError>>;

    /// Returns once no file holds what was deleted before. False where the files are another program's (RabbitMQ).
    fn overwrite_deleted(&self) -> BoxFuture<'_, Result<bool, ReadError>>;

    /// Bytes that a log keeps at most: beyond them the oldest records are deleted.
    fn max_log_bytes(&self, log: Log) -> u64;

    /// Whether messages can flow now. The receiver sees every change to the latest value.
    fn connection_state(&self) -> watch::Receiver<ConnectionState>;

    /// Writes out what is settled and closes. Consumers must have been dropped before; publishes fail afterwards.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Reading the append-only logs.
pub trait Logs: Send + Sync {
    /// Reads a log from `offset` (inclusive) up to what was its last record when this was called. Removes nothing.
    fn read(&self, log: Log, offset: u64) -> BoxStream<'static, Result<Record, ReadError>>;

    /// An offset above that of every record in the log by now, and not above that of any to come: a reader that starts
    /// there gets every later record, and none of the earlier ones.
    fn end(&self, log: Log) -> BoxFuture<'_, Result<u64, ReadError>>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// Not connected (yet, or any more), and why. It is tried again.
    Away(String),
    /// Connected, but the broker takes no publishes (RabbitMQ: a memory or disk alarm). Consuming goes on.
    Blocked(String),
    Ready,
}

impl ConnectionState {
    /// The reason before the first try to connect has ended.
    pub const CONNECTING: &'static str = "connecting";
}

/// Why a publish was not confirmed. Except for `TooLarge`, trying again later is right.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum PublishError {
    /// There is no connection. Nothing was sent.
    #[error("the broker is away: {0}")]
    Away(String),
    /// The broker accepts no publishes for now (an alarm). Nothing was sent.
    #[error("the broker is blocked: {0}")]
    Blocked(String),
    /// The broker has no room for the message until others are delivered (SQLite). Nothing was stored.
    #[error("the broker is full: {0}")]
    Full(String),
    /// The broker refused the message (a full queue, a lost majority, a write error).
    #[error("the broker refused the message")]
    Nacked,
    /// The connection was lost before the confirm came: the message may have been taken.
    #[error("no confirm came: {0}")]
    Lost(String),
    /// No queue is bound for the message: the topology is incomplete.
    #[error("unroutable: no queue is bound for it")]
    Unroutable,
    /// The message is larger than the broker takes.
    #[error("too large for the broker")]
    TooLarge,
}

/// Why a log could not be read (to its end), or a lane looked into.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot read the log: {0}")]
pub struct ReadError(pub String);
