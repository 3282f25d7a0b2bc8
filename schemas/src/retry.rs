//! When to try again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Span;

/// When to try again, and when to stop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    /// The wait after the first failure, the second, …; each is varied by ± 20 %.
    #[serde(default = "default_schedule")]
    pub schedule: Vec<Span>,
    /// No attempt later than this after acceptance; it rules over the schedule.
    #[serde(default = "default_max_age")]
    pub max_age: Span,
}

/// 56.7 hours in ten steps: long enough for a weekend's outage.
fn default_schedule() -> Vec<Span> {
    let seconds = [5, 30, 120, 600, 1_800, 7_200, 21_600, 43_200, 43_200, 86_400];
    seconds.map(|seconds| Span(std::time::Duration::from_secs(seconds))).into()
}

fn default_max_age() -> Span {
    Span(std::time::Duration::from_secs(72 * 3_600))
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { schedule: default_schedule(), max_age: default_max_age() }
    }
}
