//! The stream of history records, from routers and deliverers to control. What is in it is bytes here.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use schemas::{Headers, Message};
use tokio::sync::mpsc;

use super::{RabbitMq, client::RabbitMqClient, connect::BrokerConnection, logs::LogStream};
use crate::{PublishError, ReadError};
use lapin::types::AMQPValue;

/// Type of a message that holds a batch.
const KIND: &str = "history";
/// Batches that are read ahead of the caller, in addition to those that the broker sends ahead.
const READ_AHEAD: usize = 2;

/// A batch of records, as a process appended it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryBatch {
    /// Position in the stream. It rises, with holes where a reader marked the end.
    pub offset: u64,
    /// True where batches before this one, and after the position that was asked for, were deleted before they were read:
    /// the stream keeps a day, and so many bytes, or it was made anew.
    pub follows_a_loss: bool,
    pub bytes: Bytes,
}

impl RabbitMq {
    /// Appends a batch of records. Resolves once it is confirmed.
    pub async fn append_history(&self, bytes: Bytes) -> Result<(), PublishError> {
        let message = Message { id: String::new(), kind: KIND.to_owned(), headers: Headers::default(), body: bytes };
        self.client.append_history(&message).await
    }

    /// Reads all batches from `offset` on, and then each that is appended. Ends after an error.
    pub fn follow_history(&self, offset: u64) -> BoxStream<'static, Result<HistoryBatch, ReadError>> {
        let (out, batches) = mpsc::channel(READ_AHEAD);
        let client = Arc::clone(&self.client);
        let stream = LogStream { name: client.exchanges.history.clone(), client };
        tokio::spawn(Following { stream, offset, out }.run());
        stream::unfold(batches, async |mut batches| batches.recv().await.map(|batch| (batch, batches))).boxed()
    }
}

impl RabbitMqClient {
    pub(super) fn log_stream(self: &Arc<Self>, log: crate::Log) -> LogStream {
        LogStream { name: self.setup.names.log(log), client: Arc::clone(self) }
    }
}

struct Following {
    stream: LogStream,
    offset: u64,
    out: mpsc::Sender<Result<HistoryBatch, ReadError>>,
}

impl Following {
    /// Reads until the receiver is dropped, or sends the reason why it cannot.
    async fn run(self) {
        let read = tokio::select! {
            read = self.read() => read,
            () = self.out.closed() => return,
        };
        if let Err(reason) = read {
            let _ = self.out.send(Err(ReadError(reason))).await;
        }
    }

    async fn read(&self) -> Result<(), String> {
        let (session, connection) = self.stream.connect().await?;
        let read = tokio::select! {
            read = self.read_over(&connection) => read,
            reason = session.health.failed() => Err(reason),
        };
        connection.close().await;
        read
    }

    /// Passes on each batch. A gap before the first one that comes is a loss: markers leave none, since the broker sends
    /// them, too.
    async fn read_over(&self, connection: &BrokerConnection) -> Result<(), String> {
        let end = self.stream.end_over(connection).await?;
        // Beyond the end of a stream that was made anew the broker would wait for ever.
        let is_new = self.offset > end;
        let from = if is_new { 0 } else { self.offset };
        let at = AMQPValue::LongLongInt(i64::try_from(from).unwrap_or(i64::MAX));
        let mut records = self.stream.attach(connection, at).await?;
        let (mut expected, mut has_lost) = (from, is_new);
        loop {
            let received = records.wait().await?;
            // The broker begins with the whole chunk that has the offset.
            let Some(offset) = received.offset.filter(|offset| *offset >= from) else { continue };
            has_lost |= offset > expected;
            expected = offset + 1;
            if received.marker.is_some() {
                continue;
            }
            let follows_a_loss = std::mem::take(&mut has_lost);
            let batch = HistoryBatch { offset, follows_a_loss, bytes: received.message.body };
            if self.out.send(Ok(batch)).await.is_err() {
                return Ok(());
            }
        }
    }
}
