//! A broker whose logs are read reading_broker something: a line that breaks, or one that hangs.

use broker::{Broker, BrokerLayer, Log, Logs, ReadError, Record, memory::Memory};
use futures_util::stream::BoxStream;

type Records = BoxStream<'static, Result<Record, ReadError>>;

/// The memory broker, but for what is read.
pub(super) struct ReadThrough {
    memory: Memory,
    read: Box<dyn Fn(Records) -> Records + Send + Sync>,
}

impl ReadThrough {
    /// Every read of a log goes reading_broker `read`.
    pub(super) fn new(memory: &Memory, read: impl Fn(Records) -> Records + Send + Sync + 'static) -> Self {
        Self { memory: memory.clone(), read: Box::new(read) }
    }
}

impl BrokerLayer for ReadThrough {
    fn inner(&self) -> &dyn Broker {
        &self.memory
    }

    fn read(&self, log: Log, offset: u64) -> Records {
        (self.read)(self.memory.read(log, offset))
    }
}
