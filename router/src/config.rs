//! The `router` section of the configuration.

use serde::{Deserialize, Serialize};
use service::SeenConfig;

/// How much is routed at once, and how far one event may fan out.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouterConfig {
    /// Events under way at once, at most.
    pub prefetch: u16,
    /// Deliveries that one event may make, at most; beyond, it is parked `fanout_limit`.
    pub max_fan_out: usize,
    /// Which routed ids are remembered, so that their repeats make no deliveries.
    pub duplicates: SeenConfig,
}
