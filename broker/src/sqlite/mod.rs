//! The embedded durable broker: one SQLite file, one machine, one process that writes. The default of `standalone`.
//!
//! One thread owns the file and turns all that is waiting into one transaction (group commit); publishes are answered
//! and messages handed out only after its commit. Nothing is cached: a million waiting messages cost no memory.

mod codec;
mod command;
mod copy;
mod count;
mod error;
mod later;
mod log;
mod open;
mod reader;
mod table;
mod tables;
mod tap;
mod waiting;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use bytes::Bytes;
use command::{Command, Leave, Row, Slot};
use futures_util::{FutureExt, future::BoxFuture, stream::BoxStream};
use log::Ends;
use schemas::Message;
use service::Clock;
use tap::Tap;
use tokio::sync::{oneshot, watch};
use writer::Writer;

use crate::{
    BODY_LIMIT, Broker, ConnectionState, Consumer, Log, Logs, Notices, PublishError, Queue, ReadError, Record, Target,
    notices::NoticeSender,
};

pub use copy::back_up;
pub use error::OpenError;
pub use open::lock;
pub use reader::Archive;

/// The embedded broker. Dropping it without [`close`](Broker::close) loses nothing that was confirmed; it waits for the
/// transaction under way.
pub struct Sqlite {
    path: PathBuf,
    commands: mpsc::Sender<Command>,
    link: watch::Receiver<ConnectionState>,
    ends: Arc<Ends>,
    board: NoticeSender,
    writer: Option<JoinHandle<()>>,
}

impl Sqlite {
    /// Opens the file at `path`, or makes it, and starts the writer. The file `lock` beside it is held until the end.
    ///
    /// # Errors
    /// [`OpenError::Held`] when another process has it open for writing; [`OpenError::Newer`] when a later version of
    /// this program wrote it; otherwise what the file system or SQLite says.
    pub fn open(path: &Path, clock: Clock) -> Result<Self, OpenError> {
        Self::start(path, open::open(path)?, clock)
    }

    fn start(path: &Path, opened: open::Opened, clock: Clock) -> Result<Self, OpenError> {
        let (commands, inbox) = mpsc::channel();
        let (link_sender, link) = watch::channel(ConnectionState::Ready);
        let writer = Writer::new(opened, inbox, commands.clone(), link_sender, clock)
            .map_err(|source| OpenError::Database { path: path.into(), source })?;
        let ends = writer.ends();
        let thread = std::thread::Builder::new().name("broker-writer".into()).spawn(move || writer.run());
        let thread = thread.map_err(|source| OpenError::File { path: path.into(), source })?;
        Ok(Self { path: path.into(), commands, link, ends, board: NoticeSender::default(), writer: Some(thread) })
    }

    async fn publish(&self, to: &Target, message: &Message) -> Result<(), PublishError> {
        if message.body.len() > BODY_LIMIT {
            return Err(PublishError::TooLarge);
        }
        match &*self.link.borrow() {
            ConnectionState::Ready => {}
            ConnectionState::Blocked(reason) => return Err(PublishError::Blocked(reason.clone())),
            ConnectionState::Away(reason) => return Err(PublishError::Away(reason.clone())),
        }
        let (slot, row) = (Slot::of(to), Row::of(to, message));
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(Command::Publish { slot, row, reply })
            .map_err(|_| PublishError::Away(writer::CLOSED.into()))?;
        answer.await.unwrap_or_else(|_| Err(PublishError::Lost(writer::CLOSED.into())))
    }
}

impl Logs for Sqlite {
    fn read(&self, log: Log, offset: u64) -> BoxStream<'static, Result<Record, ReadError>> {
        reader::stream(self.path.clone(), log, offset, Some(self.ends.of(log)))
    }

    fn end(&self, log: Log) -> BoxFuture<'_, Result<u64, ReadError>> {
        std::future::ready(Ok(self.ends.of(log) + 1)).boxed()
    }
}

impl Broker for Sqlite {
    fn publish<'a>(&'a self, to: &'a Target, message: &'a Message) -> BoxFuture<'a, Result<(), PublishError>> {
        self.publish(to, message).boxed()
    }

    fn consume(&self, from: Queue, prefetch: u16) -> Consumer {
        let (tap, receiver) = Tap::new(prefetch);
        let leave = Leave::new(from, tap.id, self.commands.clone());
        // When the writer has ended, the tap is dropped here, and the consumer reads the end.
        let _ = self.commands.send(Command::Consume { from, tap });
        Consumer::new(receiver, leave)
    }

    /// This process is all there is.
    fn announce(&self, notice: Bytes) {
        self.board.send(notice);
    }

    fn notices(&self) -> Notices {
        self.board.subscribe()
    }

    fn waiting<'a>(&'a self, with: &'a [(&'a str, &'a str)]) -> BoxFuture<'a, Result<Option<u64>, ReadError>> {
        count::waiting(self.path.clone(), with).map(|counted| counted.map(Some)).boxed()
    }

    fn connection_state(&self) -> watch::Receiver<ConnectionState> {
        self.link.clone()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            let (reply, closed) = oneshot::channel();
            if self.commands.send(Command::Close(reply)).is_ok() {
                // An error here says that the writer had ended before it came to this command: closed as well.
                let _ = closed.await;
            }
        }
        .boxed()
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Abandon);
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("broker.writer_panicked");
        }
    }
}

#[cfg(test)]
mod tests;
