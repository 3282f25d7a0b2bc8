//! What was done, counted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was done for a tenant or one of its endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Counts {
    /// Events taken in.
    pub events: u64,
    /// Deliveries made of them, and of replays.
    pub deliveries: u64,
    /// POSTs.
    pub attempts: u64,
    /// Deliveries that ended with a 2xx.
    pub delivered: u64,
    /// Deliveries that ended without.
    pub dead: u64,
    /// Bytes of the bodies of the POSTs.
    pub bytes: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.events += more.events;
        self.deliveries += more.deliveries;
        self.attempts += more.attempts;
        self.delivered += more.delivered;
        self.dead += more.dead;
        self.bytes += more.bytes;
    }
}
