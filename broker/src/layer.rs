//! A decorator: a broker that changes some calls and passes all others on to the broker inside.

use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};
use schemas::Message;
use tokio::sync::watch;

use crate::{
    Broker, ConnectionState, Consumer, Log, Logs, Notices, Prefetch, PublishError, Queue, QueueCounts, ReadError,
    Record, Target,
};

/// A [`Broker`] around another one. A layer overrides the methods that it changes.
pub trait BrokerLayer: Send + Sync {
    fn inner(&self) -> &dyn Broker;

    fn publish<'a>(&'a self, to: &'a Target, message: &'a Message) -> BoxFuture<'a, Result<(), PublishError>> {
        self.inner().publish(to, message)
    }

    fn consume(&self, from: Queue, prefetch: Prefetch) -> Consumer {
        self.inner().consume(from, prefetch)
    }

    fn read(&self, log: Log, offset: u64) -> BoxStream<'static, Result<Record, ReadError>> {
        self.inner().read(log, offset)
    }
}

impl<T: BrokerLayer> Broker for T {
    fn publish<'a>(&'a self, to: &'a Target, message: &'a Message) -> BoxFuture<'a, Result<(), PublishError>> {
        BrokerLayer::publish(self, to, message)
    }

    fn consume(&self, from: Queue, prefetch: Prefetch) -> Consumer {
        BrokerLayer::consume(self, from, prefetch)
    }

    fn announce(&self, notice: Bytes) {
        self.inner().announce(notice);
    }

    fn notices(&self) -> Notices {
        self.inner().notices()
    }

    fn waiting<'a>(&'a self, with: &'a [(&'a str, &'a str)]) -> BoxFuture<'a, Result<Option<u64>, ReadError>> {
        self.inner().waiting(with)
    }

    fn queue_counts(&self) -> BoxFuture<'_, Result<QueueCounts, ReadError>> {
        self.inner().queue_counts()
    }

    fn remove_records<'a>(&'a self, log: Log, offsets: &'a [u64]) -> BoxFuture<'a, Result<bool, ReadError>> {
        self.inner().remove_records(log, offsets)
    }

    fn end_waits<'a>(&'a self, event_ids: &'a [String]) -> BoxFuture<'a, Result<bool, ReadError>> {
        self.inner().end_waits(event_ids)
    }

    fn overwrite_deleted(&self) -> BoxFuture<'_, Result<bool, ReadError>> {
        self.inner().overwrite_deleted()
    }

    fn max_log_bytes(&self, log: Log) -> u64 {
        self.inner().max_log_bytes(log)
    }

    fn connection_state(&self) -> watch::Receiver<ConnectionState> {
        self.inner().connection_state()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner().close()
    }
}

impl<T: BrokerLayer> Logs for T {
    fn read(&self, log: Log, offset: u64) -> BoxStream<'static, Result<Record, ReadError>> {
        BrokerLayer::read(self, log, offset)
    }

    fn end(&self, log: Log) -> BoxFuture<'_, Result<u64, ReadError>> {
        self.inner().end(log)
    }
}
