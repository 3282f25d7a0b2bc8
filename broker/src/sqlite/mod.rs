//! The embedded durable broker: one SQLite file, one machine, one process that writes.
//!
//! One thread owns the file and turns all waiting commands into one transaction (group commit). Only after its commit
//! publishes are answered and messages handed out. Another thread writes the write-ahead log back into the file. Nothing is
//! cached: a million waiting messages cost no memory.

mod checkpoints;
mod command;
mod copy;
mod delays;
mod error;
mod free_pages;
mod gathering;
mod logs;
mod message;
mod open;
mod queue;
mod queue_table;
mod read;
mod removal;
mod space;
mod tables;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use bytes::Bytes;
use checkpoints::Checkpoints;
use command::{RowTarget, SqliteSubscription, WriterCommand};
use futures_util::{FutureExt, future::BoxFuture, stream::BoxStream};
use logs::LogEnds;
use message::MessageRow;
use removal::Removal;
use schemas::Message;
use service::Clock;
use space::Space;
use tokio::sync::{oneshot, watch};
use writer::Writer;

use crate::{
    BODY_LIMIT, Broker, ConnectionState, Consumer, Log, LogBytes, Logs, Notices, Prefetch, PublishError, Queue,
    QueueCounts, ReadError, Record, Target, consumer::ConsumerFeed, notices::NoticeSender,
};

pub use copy::back_up;
pub use error::BrokerFileError;
pub use open::lock;
pub use read::LogFile;
pub use space::StorageState;

/// Dropping the broker loses nothing that was confirmed; without [`close`](Broker::close) the drop waits for the open
/// transaction.
pub struct Sqlite {
    path: PathBuf,
    commands: mpsc::Sender<WriterCommand>,
    connection_state: watch::Receiver<ConnectionState>,
    storage: watch::Receiver<StorageState>,
    logs: LogBytes,
    ends: Arc<LogEnds>,
    notices: NoticeSender,
    writer: Option<JoinHandle<()>>,
}

impl Sqlite {
    /// Opens or makes the file at `path`, and locks the file `lock` beside it until the end. Fails when another process
    /// has the file, or a later version of this program wrote it.
    pub fn open(path: &Path, clock: Clock) -> Result<Self, BrokerFileError> {
        Self::open_within(path, 0, LogBytes::default(), clock)
    }

    /// Like [`open`](Self::open); events are refused while more than `max_bytes` of the file are in use. 0 is no limit. The
    /// logs keep at most `logs`, and half of the room.
    pub fn open_within(path: &Path, max_bytes: u64, logs: LogBytes, clock: Clock) -> Result<Self, BrokerFileError> {
        Self::start(path, open::open(path)?, max_bytes, logs, clock)
    }

    fn start(
        path: &Path,
        mut file: open::BrokerFile,
        max_bytes: u64,
        logs: LogBytes,
        clock: Clock,
    ) -> Result<Self, BrokerFileError> {
        let space = Space::of(path, max_bytes).map_err(|source| BrokerFileError::File { path: path.into(), source })?;
        let (storage, logs) = (space.state(), logs.within(space.capacity()));
        let checkpoints = Checkpoints::start(path, &mut file.connection, space.wal_bounds())?;
        let (commands, inbox) = mpsc::channel();
        let (state_sender, connection_state) = watch::channel(ConnectionState::Ready);
        let writer = Writer::new(file, checkpoints, space, logs, (commands.clone(), inbox), state_sender, clock)
            .map_err(|source| BrokerFileError::Database { path: path.into(), source })?;
        let ends = writer.ends();
        let thread = std::thread::Builder::new().name("broker-writer".into()).spawn(move || writer.run());
        let thread = thread.map_err(|source| BrokerFileError::File { path: path.into(), source })?;
        let notices = NoticeSender::default();
        Ok(Self { path: path.into(), commands, connection_state, storage, logs, ends, notices, writer: Some(thread) })
    }

    /// How full the broker is; changes once a second.
    pub fn storage(&self) -> watch::Receiver<StorageState> {
        self.storage.clone()
    }

    async fn publish(&self, to: &Target, message: &Message) -> Result<(), PublishError> {
        if message.body.len() > BODY_LIMIT {
            return Err(PublishError::TooLarge);
        }
        match &*self.connection_state.borrow() {
            ConnectionState::Ready => {}
            ConnectionState::Blocked(reason) => return Err(PublishError::Blocked(reason.clone())),
            ConnectionState::Away(reason) => return Err(PublishError::Away(reason.clone())),
        }
        let row = Arc::new(MessageRow::of(to, message));
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(WriterCommand::Publish { to: RowTarget::of(to), row, reply })
            .map_err(|_| PublishError::Away(writer::CLOSED.into()))?;
        answer.await.unwrap_or_else(|_| Err(PublishError::Lost(writer::CLOSED.into())))
    }

    async fn remove(&self, removal: Removal) -> Result<bool, ReadError> {
        let closed = || ReadError(writer::CLOSED.into());
        let (reply, answer) = oneshot::channel();
        self.commands.send(WriterCommand::Remove { removal, reply }).map_err(|_| closed())?;
        answer.await.unwrap_or_else(|_| Err(closed())).map(|()| true)
    }
}

impl Logs for Sqlite {
    fn read(&self, log: Log, offset: u64) -> BoxStream<'static, Result<Record, ReadError>> {
        read::stream(self.path.clone(), log, offset, Some(self.ends.of(log)))
    }

    fn end(&self, log: Log) -> BoxFuture<'_, Result<u64, ReadError>> {
        std::future::ready(Ok(self.ends.of(log) + 1)).boxed()
    }
}

impl Broker for Sqlite {
    fn publish<'a>(&'a self, to: &'a Target, message: &'a Message) -> BoxFuture<'a, Result<(), PublishError>> {
        self.publish(to, message).boxed()
    }

    fn consume(&self, from: Queue, prefetch: Prefetch) -> Consumer {
        let (feed, receiver) = ConsumerFeed::new(prefetch);
        let subscription = SqliteSubscription::new(from, feed.id, self.commands.clone());
        // After the writer's end the feed is dropped here, and the consumer reads the end.
        let _ = self.commands.send(WriterCommand::AddConsumer { of: from, feed });
        Consumer::new(receiver, subscription)
    }

    /// This process is the only one on the broker.
    fn announce(&self, notice: Bytes) {
        self.notices.send(notice);
    }

    fn notices(&self) -> Notices {
        self.notices.subscribe()
    }

    fn waiting<'a>(&'a self, with: &'a [(&'a str, &'a str)]) -> BoxFuture<'a, Result<Option<u64>, ReadError>> {
        read::count_waiting(self.path.clone(), with).map(|counted| counted.map(Some)).boxed()
    }

    fn queue_counts(&self) -> BoxFuture<'_, Result<QueueCounts, ReadError>> {
        read::queue_counts(self.path.clone()).boxed()
    }

    fn remove_records<'a>(&'a self, log: Log, offsets: &'a [u64]) -> BoxFuture<'a, Result<bool, ReadError>> {
        self.remove(Removal::Records(log, offsets.to_vec())).boxed()
    }

    fn end_waits<'a>(&'a self, event_ids: &'a [String]) -> BoxFuture<'a, Result<bool, ReadError>> {
        async {
            let delayed = read::delayed_of(self.path.clone(), event_ids.to_vec()).await?;
            self.remove(Removal::Waits(delayed)).await
        }
        .boxed()
    }

    fn overwrite_deleted(&self) -> BoxFuture<'_, Result<bool, ReadError>> {
        self.remove(Removal::Deleted).boxed()
    }

    fn max_log_bytes(&self, log: Log) -> u64 {
        self.logs.of(log)
    }

    fn connection_state(&self) -> watch::Receiver<ConnectionState> {
        self.connection_state.clone()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            let (reply, closed) = oneshot::channel();
            if self.commands.send(WriterCommand::Close(reply)).is_ok() {
                // An error says that the writer has ended already.
                let _ = closed.await;
            }
        }
        .boxed()
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        let _ = self.commands.send(WriterCommand::Abandon);
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("broker.writer_panicked");
        }
    }
}

#[cfg(test)]
mod tests;
