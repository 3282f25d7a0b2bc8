//! The `http` section.

use ipnet::IpNet;
use schemars::JsonSchema;
use schemas::Secret;
use serde::{Deserialize, Serialize};

/// The API's listener.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// Where it listens, as `host:port`.
    pub listen: String,
    /// Opens everything. Unset: `standalone` makes one at its first start, other roles have none.
    #[serde(default, deserialize_with = "Secret::deserialize_not_empty")]
    pub operator_key: Option<Secret>,
    /// KeyOwner forwarding headers are believed.
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<IpNet>,
    /// How many requests a second each key, or each address without one, may make on average; 0 = any number.
    pub requests_per_second: u32,
    /// How many of them may come at once.
    pub requests_burst: u32,
    /// The listener's certificate.
    #[serde(default)]
    pub tls: Option<TlsFiles>,
}

/// A certificate and its key, as PEM files.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The file of the certificate chain.
    pub cert: String,
    /// The file of its private key.
    pub key: String,
}

impl HttpConfig {
    /// `http` or `https`: how the listener is spoken to.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_is_no_network_is_refused() {
        let json = |proxy: &str| {
            format!(r#"{{"listen":":0","trusted_proxies":["{proxy}"],"requests_per_second":1,"requests_burst":1}}"#)
        };
        assert!(serde_json::from_str::<HttpConfig>(&json("proxy.internal")).is_err());
        assert!(serde_json::from_str::<HttpConfig>(&json("10.0.0.0/8")).is_ok());
    }
}
