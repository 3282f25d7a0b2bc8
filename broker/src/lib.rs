//! The road: where events and deliveries wait, and nothing else.
//!
//! It carries bytes and headers and knows no events. [`Broker`] is the seam; `memory`, `sqlite` and `rabbitmq`
//! stand behind it and pass one contract suite (`tests/contract`). Due times, confirms and redelivery are its
//! business; what a message means is not.

mod config;
mod incoming;
mod layer;
mod limit;
pub mod memory;
mod notices;
mod place;
mod progress;
mod publish_until_confirmed;
pub mod rabbitmq;
pub mod records;
mod rounds;
mod run_handler;
pub mod sqlite;

use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};
use schemas::Message;
use tokio::sync::watch;

pub use config::BrokerConfig;
pub use incoming::{Consumer, Incoming, Settlement};
pub use layer::BrokerLayer;
pub use notices::Notices;
pub use place::{Due, Lane, Log, Queue, Target};
pub use progress::Watchdog;
pub use publish_until_confirmed::{Deadline, publish_until_confirmed};
pub use records::Record;
pub use run_handler::{Handler, run_handler};

/// Largest body that is taken, in bytes: half of what RabbitMQ 3 takes by default, far above any event.
pub const BODY_LIMIT: usize = 64 * 1024 * 1024;

/// A durable road between producers, routers and deliverers.
///
/// Object-safe, so that tests can wrap it: the price is one boxed future per publish, against a round trip.
pub trait Broker: Logs {
    /// Publishes one message. Resolves `Ok` only once the message is durable (SQLite: after the commit; RabbitMQ:
    /// persistent, mandatory, confirmed by a majority). After an error the message may or may not be there: publish it
    /// again, under the same id. Many may be under way at once; they are confirmed in any order.
    fn publish<'a>(&'a self, to: &'a Target, message: &'a Message) -> BoxFuture<'a, Result<(), PublishError>>;

    /// Starts to hand out what waits at `from`, at most `prefetch` unsettled at a time, until the [`Consumer`] is
    /// dropped. Never ends by itself: while the broker is away it waits. What was handed out and not settled when a
    /// session or process ends is handed out again, with `redelivered` set and a higher `count`. No order is promised.
    fn consume(&self, from: Queue, prefetch: u16) -> Consumer;

    /// Says something short to every process on this broker, this one included. Best effort, and never waits: while the
    /// broker is away or blocked it is dropped.
    fn announce(&self, notice: Bytes);

    /// What is announced from now on, by whomever.
    fn notices(&self) -> Notices;

    /// How many messages are in the lanes, delayed and handed out ones included, that carry all these texts as headers;
    /// none where nobody can look into a queue (RabbitMQ). For people: it reads everything that waits, and holds up
    /// nobody.
    fn waiting<'a>(&'a self, with: &'a [(&'a str, &'a str)]) -> BoxFuture<'a, Result<Option<u64>, ReadError>>;

    /// Whether messages can flow now. The receiver sees every change to the latest value.
    fn connection_state(&self) -> watch::Receiver<ConnectionState>;

    /// Writes out what is settled and closes. Consumers must have been dropped before; publishes fail afterwards.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// The append-only logs, to be looked at.
pub trait Logs: Send + Sync {
    /// Reads a log from `offset` (inclusive) up to what was its last record when this was called. Takes nothing away.
    fn read(&self, log: Log, offset: u64) -> BoxStream<'static, Result<Record, ReadError>>;

    /// An offset above that of every record in the log by now, and not above that of any to come: whoever reads from
    /// there on misses nothing from now on, and nothing of what was before comes to it.
    fn end(&self, log: Log) -> BoxFuture<'_, Result<u64, ReadError>>;
}

/// Whether messages can flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// Not connected (yet, or any more), and why; it is being tried again.
    Away(String),
    /// Connected, but the broker takes no publishes (RabbitMQ: a memory or disk alarm). Consuming goes on.
    Blocked(String),
    /// Connected and flowing.
    Ready,
}

impl ConnectionState {
    /// Why nothing is connected before the first try has ended.
    pub const CONNECTING: &'static str = "connecting";
}

/// Why a publish was not confirmed. Except for `TooLarge`, trying again later is right.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum PublishError {
    /// There is no connection, so nothing was sent.
    #[error("the broker is away: {0}")]
    Away(String),
    /// The broker accepts no publishes for now (alarm), so nothing was sent.
    #[error("the broker is blocked: {0}")]
    Blocked(String),
    /// The broker refused it (a full queue, a lost majority, a write error).
    #[error("the broker refused the message")]
    Nacked,
    /// The connection went before the confirm came: it may have been taken.
    #[error("no confirm came: {0}")]
    Lost(String),
    /// It has nowhere to go: the topology is incomplete.
    #[error("unroutable: no queue is bound for it")]
    Unroutable,
    /// Larger than the broker takes.
    #[error("too large for the broker")]
    TooLarge,
}

/// Why a log could not be read (to its end), or a lane looked into.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot read the log: {0}")]
pub struct ReadError(pub String);
