//! The `deliverer` section of the configuration.

use std::{num::NonZeroU32, time::Duration};

use ipnet::IpNet;
use schemars::JsonSchema;
use schemas::{RetryPolicy, Span};
use serde::{Deserialize, Serialize};
use service::SeenConfig;

use crate::client::Proxy;

/// How much is delivered at once, and how far a request may go.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DelivererConfig {
    /// First attempts at once, at most, in the first second of each.
    pub slots: u16,
    /// Requests at once, at most, that take longer than that, and retries.
    pub slow_slots: u16,
    /// How often a canary is sent through each lane and each short delay; zero: never.
    pub canary: Span,
    /// When an endpoint that fails is left alone.
    pub breaker: BreakerConfig,
    /// Bytes of bodies under way at once, at most.
    pub max_in_flight_bytes: u32,
    /// Until a connection stands, TLS included.
    pub connect_timeout: Span,
    /// Until the answer's first byte, connecting included.
    pub first_byte_timeout: Span,
    /// Bytes of an answer that are read, at most.
    pub max_answer_bytes: usize,
    /// Networks that endpoints may be in although they are private.
    #[schemars(with = "Vec<String>")]
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

/// When an endpoint that fails is left alone, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BreakerConfig {
    /// So many failures in a row open it.
    pub failures: NonZeroU32,
    /// How long it stays open at first; each probe that fails doubles that,
    pub first: Span,
    /// up to this: the price of a dead endpoint is a probe in so much time, and that of a recovery as much at most.
    pub longest: Span,
}

impl BreakerConfig {
    /// What is known of an endpoint is forgotten a while after.
    const LONGEST: Span = Span(Duration::from_secs(300));
}

impl Default for BreakerConfig {
    fn default() -> Self {
        let three = NonZeroU32::MIN.saturating_add(2);
        Self { failures: three, first: Span(Duration::from_secs(10)), longest: Span(Duration::from_secs(120)) }
    }
}

impl DelivererConfig {
    /// Ten messages a second are load, not a sign of life.
    const CANARY: Duration = Duration::from_secs(1);

    /// The first key whose value will not do, and why.
    pub fn complaint(&self) -> Option<(&'static str, String)> {
        let BreakerConfig { first, longest, .. } = self.breaker;
        if longest < first || longest > BreakerConfig::LONGEST {
            let limits = format!("expected at least deliverer.breaker.first and at most {}", BreakerConfig::LONGEST);
            return Some(("deliverer.breaker.longest", limits));
        }
        if !self.canary.0.is_zero() && self.canary.0 < Self::CANARY {
            return Some(("deliverer.canary", format!("expected 0s or at least {}", Span(Self::CANARY))));
        }
        let proxy = self.proxy.as_deref().map(Proxy::parse);
        proxy.and_then(Result::err).map(|error| ("deliverer.proxy", error.to_string()))
    }
}
