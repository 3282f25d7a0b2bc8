//! The `broker` section of the configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which broker, and what its things are called.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerConfig {
    /// `embedded:` (a file in `data_dir`), or `amqp://…` or `amqps://…`; several hosts separated by commas.
    pub url: String,
    /// Begins the name of every exchange and queue but the public one.
    pub prefix: String,
    /// The public topic exchange that producers publish to.
    pub exchange: String,
    /// True: roles declare what is missing. False: they check passively, and only `topology apply` declares.
    pub declare: bool,
}

impl BrokerConfig {
    /// Whether this is the broker in our own process.
    pub fn is_embedded(&self) -> bool {
        self.url == "embedded:"
    }
}
