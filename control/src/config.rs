//! The `control` section of the configuration.

use serde::{Deserialize, Serialize};

use crate::Rate;

/// How much is replayed at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlConfig {
    /// Dead letters that a replay starts a second, at most, unless its request says otherwise.
    pub replays_per_second: Rate,
    /// Replays that run at once in this process, at most.
    pub max_replays: usize,
}
