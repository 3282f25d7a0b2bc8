//! What operators and tenants look at and change: dead letters, their replays, what is parked; and what the other
//! processes find out, kept.
//!
//! [`dead_letters`], [`parked`] and [`Replay`] read and write the broker's logs directly, for the command line as well;
//! [`Control`] is the role: its [`routes`] serve replays over HTTP.

mod audit;
mod census;
mod config;
pub mod dead_letters;
mod facts;
mod failing;
mod filter;
mod http;
mod jobs;
mod levels;
mod metrics;
pub mod parked;
mod rate;
mod replay;
mod role;
mod seats;
mod settings;
mod tail;
mod tell;
mod trial;
mod waiting;

pub use config::ControlConfig;
pub use dead_letters::Live;
pub use facts::{FAILING, GONE};
pub use filter::{Filter, InvalidFilter};
pub use http::{describe, routes};
pub use jobs::{Job, JobState};
pub use metrics::ControlMetrics;
pub use rate::{InvalidRate, Rate};
pub use replay::{Ended, Replay, ReplayProgress, WINDOW};
pub use role::{Control, ControlDependencies, NotStarted};
pub use settings::Rules;
pub use trial::{NotTested, Tested};
pub use waiting::{Counted, NotCounted, Waiting};

/// The commented defaults of the section `control`.
pub const DEFAULT_TOML: &str = include_str!("../default.toml");

#[cfg(test)]
mod tests;
