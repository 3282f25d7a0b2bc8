//! Accepts events and publishes them with confirms: canonical events unchanged, vendors' bodies as the events in them.
//!
//! [`Producer`] is the library for programs and the command line, and [`routes`] is the role. A 202 means that the
//! event is durable. The producer stores nothing: the sender must repeat an event that was not confirmed.

mod config;
mod http;
mod metrics;
mod origin;
mod prepare;
mod publish;

pub use config::{LARGEST_PUBLISHED, ProducerConfig};
pub use http::{IntakeDependencies, describe, routes};
pub use metrics::ProducerMetrics;
pub use origin::EventOrigin;
pub use publish::{AcceptedEvent, NotAccepted, Producer};

/// The commented defaults of the section `producer`.
pub const DEFAULT_TOML: &str = include_str!("../default.toml");

#[cfg(test)]
mod tests;
