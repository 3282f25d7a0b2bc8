//! The `control` section of the configuration.

use schemars::JsonSchema;
use schemas::Quota;
use serde::{Deserialize, Serialize};

use crate::Rate;

/// How much is replayed at once, and how much a tenant may configure.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlConfig {
    /// Dead letters that a replay starts a second, at most, unless its request says otherwise.
    #[schemars(with = "f64")]
    pub replays_per_second: Rate,
    /// Replays that run at once in this process, at most.
    pub max_replays: usize,
    /// Endpoints of a tenant whose quota does not say.
    pub max_endpoints: u64,
    /// Subscriptions of such a tenant.
    pub max_subscriptions: u64,
    /// Sources of such a tenant.
    pub max_sources: u64,
    /// Keys of such a tenant.
    pub max_keys: u64,
}

impl ControlConfig {
    /// What a tenant may have, as far as its own quota does not say.
    pub fn quota(&self) -> Quota {
        Quota {
            endpoints: Some(self.max_endpoints),
            subscriptions: Some(self.max_subscriptions),
            sources: Some(self.max_sources),
            keys: Some(self.max_keys),
            ..Quota::default()
        }
    }
}
