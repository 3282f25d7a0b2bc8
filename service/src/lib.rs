//! The process: configuration, telemetry, metrics, ops endpoints, shutdown.
//!
//! What every role needs around its work, and nothing about the work itself: no events, no broker, no store.
//! Nothing here reads the environment, the clock or chance on its own; `main` passes them in.

pub mod config;
pub mod duration;
pub mod secret;

pub use config::{ConfigError, Loader, Shape};
pub use secret::Secret;
