//! The `http` section of the configuration.

use ipnet::IpNet;
use schemars::JsonSchema;
use schemas::Secret;
use serde::{Deserialize, Serialize};

use super::BaseUrl;

/// The listener of the API.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// Address of the listener, as `host:port`.
    pub listen: String,
    /// Key that allows everything. Unset: `standalone` makes one at its first start, other roles have none.
    #[serde(default, deserialize_with = "Secret::deserialize_not_empty")]
    pub operator_key: Option<Secret>,
    /// Address where people and vendors reach the API, such as `https://carteiro.example`. Unset: the listener's.
    #[serde(default)]
    pub public_url: Option<BaseUrl>,
    /// Networks of the proxies whose forwarding headers are trusted.
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<IpNet>,
    /// Requests a second that the keys of each tenant, or each address without a key, may make on average; 0: no limit.
    pub requests_per_second: u32,
    /// How many of these may come at once.
    pub requests_burst: u32,
    /// Certificate of the listener; none: it speaks plain HTTP.
    #[serde(default)]
    pub tls: Option<TlsFiles>,
}

/// A certificate and its key, as PEM files.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// File of the certificate chain.
    pub cert: String,
    /// File of the private key.
    pub key: String,
}

impl HttpConfig {
    /// Scheme of the listener: `http` or `https`.
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
