//! What operators and tenants see and change: the configuration, dead letters and their replays, and parked messages.
//! Control also stores what the other processes find.
//!
//! [`Control`] is the role, and [`routes`] serves it over HTTP. [`dead_letters::list`] reads a log without it.

mod backlog;
mod config;
mod control;
mod day_counts;
mod dead_letter_quota;
pub mod dead_letters;
mod edit_queue;
mod endpoint_health;
mod endpoint_test;
mod erasures;
mod event_rates;
mod findings;
mod fleet;
mod history;
mod http;
mod jobs;
mod log_index;
mod log_search;
mod log_turns;
mod log_use;
mod metrics;
mod operational_events;
mod parked;
mod rate;
mod recent_searches;
mod replay;
mod replay_tracker;
mod replays;
mod settings;
mod status;
mod tenant_semaphore;

pub use self::history::{FollowHistory, HistoryInput, HistoryMetrics, HistoryUpkeep, HistoryWriter};
pub use backlog::{BacklogCount, CountError, CountMethod};
pub use config::ControlConfig;
pub use control::{Control, ControlDependencies};
pub use dead_letters::{DeadLetterFilter, InvalidFilter, LiveDeadLetters};
pub use endpoint_test::{TestError, TestResult};
pub use findings::{FAILING, GONE};
pub use http::{TickedEvent, describe, routes};
pub use metrics::ControlMetrics;
pub use rate::{InvalidRate, Rate};
pub(crate) use replay::{Receivers, Replay, ReplayEnd, Runs, WINDOW};
pub(crate) use replay_tracker::ReplayProgress;
pub use replays::NotStarted;
pub(crate) use replays::ReplaySpec;
pub use settings::Rules;

/// The commented defaults of the section `control`.
pub const DEFAULT_TOML: &str = include_str!("../default.toml");

#[cfg(test)]
mod tests;
