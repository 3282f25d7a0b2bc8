//! The one place where the names of exchanges and queues are spelt.

use crate::{BrokerConfig, Log, Queue};

/// The names, for those who publish and consume.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
    /// The public exchange.
    pub(super) events: String,
}

impl Names {
    pub(super) fn new(config: &BrokerConfig) -> Self {
        Self { prefix: format!("{}.v1", config.prefix), events: config.exchange.clone() }
    }

    pub(super) fn of(&self, role: &str) -> String {
        format!("{}.{role}", self.prefix)
    }

    pub(super) fn inlet(&self, inlet: Queue) -> String {
        match inlet {
            Queue::Ingest => self.of("ingest"),
            Queue::Lane(lane) => self.of(&format!("deliver.{}", lane.name())),
        }
    }

    pub(super) fn log(&self, log: Log) -> String {
        self.of(log.name())
    }
}
