//! The section `deliverer` of the configuration.

use std::{net::SocketAddr, num::NonZeroU32, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::HeaderValue;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use schemas::{RetryPolicy, Span};
use serde::{Deserialize, Serialize};
use service::SeenConfig;
use url::Url;

/// How much is delivered at once, and where requests may go. `default.toml` explains each key.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DelivererConfig {
    pub slots: u16,
    pub slow_slots: u16,
    /// Time between two canaries of one level; zero turns canaries off.
    pub canary: Span,
    pub breaker: BreakerConfig,
    pub max_in_flight_bytes: u32,
    /// Of all hosts together; zero: none is kept.
    pub max_idle_connections: u32,
    /// Includes the TLS handshake.
    pub connect_timeout: Span,
    /// Includes the time to connect.
    pub first_byte_timeout: Span,
    pub max_answer_bytes: usize,
    /// Private networks that endpoints may be in.
    #[schemars(with = "Vec<String>")]
    pub allow_networks: Vec<IpNet>,
    /// Empty: those of the system.
    #[schemars(with = "Vec<String>")]
    pub name_servers: Vec<SocketAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    pub duplicates: SeenConfig,
    /// File of certificates (PEM) that are trusted besides the platform's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// Policy of endpoints without one of their own.
    pub retry: RetryPolicy,
}

/// When an endpoint that fails is left alone, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BreakerConfig {
    /// Failures in a row that open the breaker.
    pub failures: NonZeroU32,
    /// How long the breaker stays open at first. Each probe that fails doubles the time.
    pub first: Span,
    /// Longest time that the breaker stays open.
    pub longest: Span,
}

impl BreakerConfig {
    /// Upper bound of `longest`. The state of an endpoint is forgotten some time after it was last used.
    const MAX_LONGEST: Span = Span(Duration::from_secs(300));
}

impl Default for BreakerConfig {
    fn default() -> Self {
        let three = NonZeroU32::MIN.saturating_add(2);
        Self { failures: three, first: Span(Duration::from_secs(10)), longest: Span(Duration::from_secs(120)) }
    }
}

impl DelivererConfig {
    /// Shortest interval of canaries. More than ten messages a second would be load, not a sign of life.
    const MIN_CANARY: Duration = Duration::from_secs(1);

    /// Checks what types alone cannot.
    ///
    /// # Errors
    /// The first key with an invalid value, and why it is invalid.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        let BreakerConfig { first, longest, .. } = self.breaker;
        if longest < first || longest > BreakerConfig::MAX_LONGEST {
            let max = BreakerConfig::MAX_LONGEST;
            let expected = format!("expected at least deliverer.breaker.first and at most {max}");
            return Err(("deliverer.breaker.longest", expected));
        }
        if !self.canary.0.is_zero() && self.canary.0 < Self::MIN_CANARY {
            return Err(("deliverer.canary", format!("expected 0s or at least {}", Span(Self::MIN_CANARY))));
        }
        if self.name_servers.iter().any(|server| server.ip().is_unspecified() || server.port() == 0) {
            return Err(("deliverer.name_servers", "expected addresses with ports, such as 10.0.0.2:53".to_owned()));
        }
        match self.proxy.as_deref().map(Proxy::parse) {
            Some(Err(error)) => Err(("deliverer.proxy", error.to_string())),
            _ => Ok(()),
        }
    }
}

/// The operator's proxy, which speaks HTTP or HTTPS. Endpoints with `https` are reached through a tunnel (`CONNECT`), those
/// with `http` by asking the proxy for the whole URL.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) is_tls: bool,
    pub(crate) authorization: Option<HeaderValue>,
}

/// The text is not the URL of a proxy. The error repeats nothing of the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected http://host:port or https://host:port, with or without user and password")]
pub(crate) struct InvalidProxy;

impl Proxy {
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidProxy> {
        let url = Url::parse(text).map_err(|_| InvalidProxy)?;
        let is_tls = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(InvalidProxy),
        };
        let host = url.host_str().ok_or(InvalidProxy)?.to_owned();
        let port = url.port_or_known_default().ok_or(InvalidProxy)?;
        let has_path = !matches!(url.path(), "" | "/") || url.query().is_some();
        if has_path {
            return Err(InvalidProxy);
        }
        Ok(Self { host, port, is_tls, authorization: authorization(&url) })
    }
}

fn authorization(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut plain: Vec<u8> = percent_decode_str(url.username()).collect();
    plain.push(b':');
    plain.extend(percent_decode_str(url.password().unwrap_or_default()));
    // Base64 is always a valid header value.
    let mut value = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(plain))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_an_http_url_with_nothing_behind_the_port() {
        for good in ["http://proxy.example:3128", "https://u:p%40@proxy.example/", "http://10.0.0.1:8080"] {
            assert!(Proxy::parse(good).is_ok(), "{good}");
        }
        for bad in ["proxy.example:3128", "socks5://proxy.example", "http://proxy.example/x", "", "http://"] {
            assert_eq!(Proxy::parse(bad).unwrap_err(), InvalidProxy, "{bad}");
        }
        let proxy = Proxy::parse("http://u:p%40@proxy.example").unwrap();
        assert_eq!(proxy.authorization.unwrap(), "Basic dTpwQA==");
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy.example", 80));
    }
}
