//! The `deliverer` section of the configuration.

use ipnet::IpNet;
use schemas::{RetryPolicy, Span};
use serde::{Deserialize, Serialize};
use service::SeenConfig;

use crate::client::Proxy;

/// How much is delivered at once, and how far a request may go.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelivererConfig {
    /// First attempts at once, at most, in the first second of each.
    pub slots: u16,
    /// Requests at once, at most, that take longer than that, and retries.
    pub slow_slots: u16,
    /// Bytes of bodies under way at once, at most.
    pub max_in_flight_bytes: u32,
    /// Until a connection stands, TLS included.
    pub connect_timeout: Span,
    /// Until the answer's first byte, connecting included.
    pub first_byte_timeout: Span,
    /// Bytes of an answer that are read, at most.
    pub max_answer_bytes: usize,
    /// Networks that endpoints may be in although they are private.
    pub allow_networks: Vec<IpNet>,
    /// Through which proxy; none unless set, and never taken from the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// Which successful deliveries are remembered, so that their repeats are not posted.
    pub duplicates: SeenConfig,
    /// A file of certificates (PEM) that endpoints may have besides the platform's, for those of a private authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// For endpoints without a policy of their own.
    pub retry: RetryPolicy,
}

impl DelivererConfig {
    /// The first key whose value will not do, and why.
    pub fn complaint(&self) -> Option<(&'static str, String)> {
        let proxy = self.proxy.as_deref().map(Proxy::parse);
        proxy.and_then(Result::err).map(|error| ("deliverer.proxy", error.to_string()))
    }
}
