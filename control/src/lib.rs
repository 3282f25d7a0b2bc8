//! What operators and tenants look at and change; so far dead letters, their replays, and what is parked.
//!
//! [`dead_letters`], [`parked`] and [`Replay`] read and write the broker's logs directly, for the command line as well;
//! [`Control`] is the role: its [`routes`] serve replays over HTTP. It changes no configuration yet.

mod config;
pub mod dead_letters;
mod filter;
mod http;
mod jobs;
mod marker;
mod metrics;
pub mod parked;
mod rate;
mod replay;
mod role;
mod settings;

pub use config::ControlConfig;
pub use dead_letters::Live;
pub use filter::{Filter, InvalidFilter};
pub use http::{api, routes};
pub use jobs::{Job, JobState};
pub use metrics::ControlMetrics;
pub use rate::{InvalidRate, Rate};
pub use replay::{Ended, Replay, WINDOW};
pub use role::{Control, NotStarted, World};
pub use settings::Rules;

/// The commented defaults of the section `control`.
pub const DEFAULT_TOML: &str = include_str!("../default.toml");

#[cfg(test)]
mod tests;
