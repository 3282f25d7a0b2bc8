//! The `router` section of the configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use service::SeenConfig;

/// How much is routed at once, and how far one event may fan out.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouterConfig {
    /// Largest number of events under way at once.
    pub prefetch: u16,
    /// Bytes of events under way at once, above which no further one is taken.
    pub max_in_flight_bytes: u32,
    /// Largest number of deliveries that one event may make; beyond it, the event is parked as `fanout_limit`.
    pub max_fan_out: usize,
    /// True when the deliverer of the same process is offered each delivery before the broker.
    pub direct: bool,
    /// Which routed ids are remembered, so that their repeats make no deliveries.
    pub duplicates: SeenConfig,
}
