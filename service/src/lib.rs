//! The common base of every process, whatever its role: configuration, telemetry, metrics, HTTP, shutdown.
//!
//! This crate does not depend on events, brokers and stores. Only [`clock`] and [`chance`] read the system's time and
//! randomness, and only [`supervisor`] the environment, by `sd-notify`; all other code takes them as arguments.

pub mod atomic_file;
pub mod chance;
pub mod clock;
mod clock_watch;
pub mod config;
pub mod duration;
pub mod exit;
mod fair_semaphore;
pub mod gcra;
pub mod http;
mod idempotency;
pub mod listen;
mod log_lines;
pub mod metrics;
pub mod openapi;
pub mod ops;
pub mod postgres;
pub mod problem;
mod recently_used;
pub mod retention_clock;
pub mod seen;
pub mod shutdown;
pub mod sqlite_file;
pub mod supervisor;
pub mod telemetry;
pub mod watchdog;

pub use chance::Chance;
pub use clock::Clock;
pub use clock_watch::{ClockStep, ClockWatch};
pub use config::{ConfigError, Loader};
pub use exit::Exit;
pub use fair_semaphore::{FairPermit, FairSemaphore};
pub use idempotency::{Claim, ClaimedKey, IdempotencyKeys};
pub use problem::Problem;
pub use recently_used::RecentlyUsed;
pub use retention_clock::RetentionClock;
pub use schemas::suggest;
pub use seen::{Seen, SeenConfig};
pub use watchdog::Watchdog;

/// The commented defaults of the sections of this crate: `http`, `ops` and `telemetry`.
pub const DEFAULT_TOML: &str = include_str!("../default.toml");

#[cfg(test)]
mod tests;
