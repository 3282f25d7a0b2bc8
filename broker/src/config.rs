//! The `broker` section of the configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Log;

/// Which broker to use, and the names of its exchanges and queues.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerConfig {
    /// `embedded:` (a file in `data_dir`), or `amqp://…` or `amqps://…`; several hosts separated by commas.
    pub url: String,
    /// Prefix of the name of every exchange and queue but the public exchange.
    pub prefix: String,
    /// The public topic exchange that producers publish to.
    pub exchange: String,
    /// True: roles declare what is missing. False: they only check, and `topology apply` declares.
    pub declare: bool,
    /// Size of the embedded broker's file in bytes above which no events are taken in; 0 for no limit but the disk's.
    pub max_bytes: u64,
    /// Bytes of the log of dead letters, the oldest of which are deleted beyond it.
    pub dead_letters_bytes: u64,
    /// Bytes of the log of parked messages, the oldest of which are deleted beyond it.
    pub parked_bytes: u64,
}

/// Bytes that each log keeps at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogBytes {
    pub dead: u64,
    pub parked: u64,
}

impl LogBytes {
    pub fn of(self, log: Log) -> u64 {
        match log {
            Log::Dead => self.dead,
            Log::Parked => self.parked,
        }
    }
}

/// The defaults of the configuration.
impl Default for LogBytes {
    fn default() -> Self {
        Self { dead: 10_000_000_000, parked: 5_000_000_000 }
    }
}

impl BrokerConfig {
    /// True for the broker inside our own process.
    pub fn is_embedded(&self) -> bool {
        self.url == "embedded:"
    }

    pub fn log_bytes(&self) -> LogBytes {
        LogBytes { dead: self.dead_letters_bytes, parked: self.parked_bytes }
    }
}
