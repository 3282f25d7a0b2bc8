//! A broker whose logs are read through a function: a connection that breaks, or one that hangs.

use broker::{Broker, BrokerLayer, Log, Logs, ReadError, Record, memory::Memory};
use futures_util::stream::BoxStream;

type Records = BoxStream<'static, Result<Record, ReadError>>;

/// The memory broker with a function that changes what is read.
pub(super) struct ReadingBroker {
    memory: Memory,
    read: Box<dyn Fn(Records) -> Records + Send + Sync>,
}

impl ReadingBroker {
    /// Every read of a log goes through `read`.
    pub(super) fn new(memory: &Memory, read: impl Fn(Records) -> Records + Send + Sync + 'static) -> Self {
        Self { memory: memory.clone(), read: Box::new(read) }
    }
}

impl BrokerLayer for ReadingBroker {
    fn inner(&self) -> &dyn Broker {
        &self.memory
    }

    fn read(&self, log: Log, offset: u64) -> Records {
        (self.read)(self.memory.read(log, offset))
    }
}
