//! Takes events in and publishes them, confirmed: canonical events as they are, vendors' bodies as the events they report.
//!
//! [`Producer`] is the library, for programs and the command line; [`routes`] is the role. A 202 means durable. Nothing is
//! kept here: an event that was not confirmed is its sender's to send again.

mod config;
mod http;
mod metrics;
mod prepare;
mod publish;
mod trace;

pub use config::ProducerConfig;
pub use http::{IntakeDependencies, describe, routes};
pub use metrics::ProducerMetrics;
pub use publish::{NotAccepted, Producer};
pub use trace::trace_context;

/// The commented defaults of the section `producer`.
pub const DEFAULT_TOML: &str = include_str!("../default.toml");

#[cfg(test)]
mod tests;
