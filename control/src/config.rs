//! The `control` section of the configuration.

use schemars::JsonSchema;
use schemas::Quota;
use serde::{Deserialize, Serialize};

use crate::Rate;

/// How much is replayed at once, and how much a tenant may configure.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlConfig {
    /// Most dead letters that a replay starts per second, unless its request says otherwise.
    #[schemars(with = "f64")]
    pub replays_per_second: Rate,
    /// Most replays that run at once, those of all processes on a store.
    pub max_replays: usize,
    /// Most endpoints of a tenant whose quota does not say.
    pub max_endpoints: u64,
    /// Most subscriptions of a tenant whose quota does not say.
    pub max_subscriptions: u64,
    /// Most sources of a tenant whose quota does not say.
    pub max_sources: u64,
    /// Most keys of a tenant whose quota does not say.
    pub max_keys: u64,
}

impl ControlConfig {
    /// The quota of a tenant, in whatever its own quota leaves open.
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
