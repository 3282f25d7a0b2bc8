//! The `history` section of the configuration.

use schemars::JsonSchema;
use schemas::Span;
use serde::{Deserialize, Serialize};

/// Where history is kept, and for how long.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HistoryConfig {
    /// Empty: beside the store. `postgres://…`: a database. `off`: nothing is recorded.
    pub url: String,
    /// Time that events, deliveries and attempts are kept.
    pub keep: Span,
    /// Time that bodies are kept.
    pub keep_bodies: Span,
    /// Bytes that are kept at most. Beyond them the oldest day is dropped.
    pub max_bytes: u64,
}
