//! The process: configuration, telemetry, metrics, ops endpoints, shutdown.
//!
//! What every role needs around its work, and nothing about the work itself: no events, no broker, no store.
//! Nothing here reads the environment, the clock or chance on its own; `main` passes them in. [`clock`] and [`chance`]
//! make the real ones, and are the only files that may.

pub mod atomic_file;
pub mod chance;
pub mod clock;
pub mod config;
pub mod describe;
pub mod duration;
pub mod exit;
pub mod gcra;
pub mod http;
pub mod listen;
pub mod metrics;
pub mod ops;
pub mod problem;
pub mod seen;
pub mod shutdown;
pub mod sqlite_file;
pub mod suggest;
pub mod telemetry;
pub mod watchdog;

pub use chance::Chance;
pub use clock::Clock;
pub use config::{ConfigError, Loader};
pub use exit::Exit;
pub use problem::Problem;
pub use seen::{Seen, SeenConfig};
pub use watchdog::Watchdog;

/// The commented defaults of the sections this crate owns: `http`, `ops`, `telemetry`. The root joins them with the roles'.
pub const DEFAULT_TOML: &str = include_str!("../default.toml");

#[cfg(test)]
mod tests;
