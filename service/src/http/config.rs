//! The `http` section.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// The API's listener.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// Where it listens, as `host:port`.
    pub listen: String,
    /// Opens everything. Unset: `standalone` makes one at its first start, other roles have none.
    #[serde(default)]
    pub operator_key: Option<Secret>,
    /// Whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The listener's certificate.
    #[serde(default)]
    pub tls: Option<Tls>,
}

/// A certificate and its key, as PEM files.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The file of the certificate chain.
    pub cert: String,
    /// The file of its private key.
    pub key: String,
}

impl HttpConfig {
    /// What is set but not in force yet, one line each.
    pub fn warnings(&self) -> Vec<String> {
        let set = [("http.tls", self.tls.is_some()), ("http.trusted_proxies", !self.trusted_proxies.is_empty())];
        set.iter().filter(|(_, set)| *set).map(|(key, _)| format!("{key} is not in force yet")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<HttpConfig, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn what_is_set_but_not_in_force_is_warned_about() {
        let plain = read(r#"{"listen":":0","trusted_proxies":[]}"#).unwrap();
        assert_eq!(plain.warnings(), Vec::<String>::new());
        let json = r#"{"listen":":0","trusted_proxies":["10.0.0.0/8"],"tls":{"cert":"c","key":"k"}}"#;
        let expected = ["http.tls is not in force yet", "http.trusted_proxies is not in force yet"];
        assert_eq!(read(json).unwrap().warnings(), expected);
    }

    #[test]
    fn a_proxy_that_is_no_network_is_refused() {
        assert!(read(r#"{"listen":":0","trusted_proxies":["proxy.internal"]}"#).is_err());
    }
}
