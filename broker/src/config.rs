//! The `broker` section of the configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
}

impl BrokerConfig {
    /// True for the broker inside our own process.
    pub fn is_embedded(&self) -> bool {
        self.url == "embedded:"
    }
}
