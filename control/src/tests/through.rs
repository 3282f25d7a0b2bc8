//! A broker whose logs are read through something: a line that breaks, or one that hangs.

use broker::{
    Broker, Consumer, Inlet, Link, Log, Logs, Message, Notices, PublishError, ReadError, Record, Target, memory::Memory,
};
use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};
use tokio::sync::watch;

type Records = BoxStream<'static, Result<Record, ReadError>>;

/// The memory broker, but for what is read.
pub(super) struct Through {
    memory: Memory,
    read: Box<dyn Fn(Records) -> Records + Send + Sync>,
}

impl Through {
    /// Every read of a log goes through `read`.
    pub(super) fn new(memory: &Memory, read: impl Fn(Records) -> Records + Send + Sync + 'static) -> Self {
        Self { memory: memory.clone(), read: Box::new(read) }
    }
}

impl Broker for Through {
    fn publish<'a>(&'a self, to: &'a Target, message: &'a Message) -> BoxFuture<'a, Result<(), PublishError>> {
        Broker::publish(&self.memory, to, message)
    }

    fn consume(&self, from: Inlet, credit: u16) -> Consumer {
        self.memory.consume(from, credit)
    }

    fn announce(&self, notice: Bytes) {
        self.memory.announce(notice);
    }

    fn notices(&self) -> Notices {
        self.memory.notices()
    }

    fn waiting<'a>(&'a self, with: &'a [(&'a str, &'a str)]) -> BoxFuture<'a, Result<Option<u64>, ReadError>> {
        self.memory.waiting(with)
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.memory.link()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.memory.close()
    }
}

impl Logs for Through {
    fn read(&self, log: Log, offset: u64) -> Records {
        (self.read)(self.memory.read(log, offset))
    }

    fn end(&self, log: Log) -> BoxFuture<'_, Result<u64, ReadError>> {
        self.memory.end(log)
    }
}
