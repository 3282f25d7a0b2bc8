//! The process: configuration, telemetry, metrics, ops endpoints, shutdown.
//!
//! What every role needs around its work, and nothing about the work itself: no events, no broker, no store.
//! Nothing here reads the environment, the clock or chance on its own; `main` passes them in. [`clock`] and [`chance`]
//! make the real ones, and are the only files that may.

pub mod chance;
pub mod clock;
pub mod config;
pub mod duration;
pub mod exit;
pub mod listen;
pub mod metrics;
pub mod secret;
pub mod shutdown;
pub mod telemetry;

pub use chance::Chance;
pub use clock::Clock;
pub use config::{ConfigError, Loader, Shape};
pub use exit::Exit;
pub use secret::Secret;
pub use shutdown::Shutdown;
