//! The address of the running process, and which key may be sent to it.

use std::{fmt, net::IpAddr};

use service::{
    ConfigError, Exit,
    http::{BaseUrl, HttpConfig, InvalidBaseUrl},
};
use url::Host;

/// Variable with the default of `--server`.
pub(super) const SERVER_VARIABLE: &str = "CARTEIRO_SERVER";
/// Variable with the default of `--key`.
pub(super) const KEY_VARIABLE: &str = "CARTEIRO_KEY";

/// Scheme, host and port of a running process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerAddress(BaseUrl);

impl ServerAddress {
    /// Reads an address. The error does not repeat it, because it may hold a password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        BaseUrl::parse(text).map(Self).map_err(|error| match error {
            InvalidBaseUrl::User => format!("{error}: the key is --key"),
            InvalidBaseUrl::Path => format!(
                "{error}: commands know the paths of the API. The URL of an endpoint, a channel or an integration is \
                 --post-to"
            ),
            InvalidBaseUrl::NotHttp => error.to_string(),
        })
    }

    /// The address that a process with this configuration listens on, seen from its own machine.
    pub(super) fn configured(http: &HttpConfig) -> anyhow::Result<Self> {
        let (host, port) = http.listen.rsplit_once(':').unwrap_or((&http.listen, ""));
        // A listener on every address is reached on the loopback one.
        let host = match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) if address.is_unspecified() => "127.0.0.1",
            Ok(IpAddr::V6(address)) if address.is_unspecified() => "[::1]",
            _ => host,
        };
        let url = BaseUrl::parse(&format!("{}://{host}:{port}", http.scheme())).map(Self);
        url.map_err(|_| ConfigError::new("http.listen", "cannot be connected to: give --server").into())
    }

    /// URL of a path on it.
    pub(super) fn url(&self, path: &str) -> String {
        self.0.join(path)
    }

    pub(super) fn is_https(&self) -> bool {
        self.0.url().scheme() == "https"
    }

    /// True for 127.0.0.0/8, ::1 and `localhost`. No name server is asked: it could name another machine.
    fn is_loopback(&self) -> bool {
        match self.0.url().host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        }
    }

    /// True for this machine and for the configured process.
    fn is_own(&self, configured: &Self) -> bool {
        self.is_loopback() || self == configured
    }

    /// Refuses this address for a key that was found in the configuration or the data folder: whoever gave the address
    /// may not have meant that key to go there.
    pub(super) fn check_for_found_key(&self, configured: &Self) -> anyhow::Result<()> {
        if self.is_own(configured) {
            return Ok(());
        }
        let why = "is neither this machine nor the configured http.listen, so no key that was found here is sent there";
        Err(anyhow::anyhow!("{self} {why}: give --key").context(Exit::Usage))
    }

    /// A warning about a key that others can read on its way here.
    pub(super) fn warning_for_given_key(&self, configured: &Self) -> Option<String> {
        let is_readable = !self.is_https() && !self.is_own(configured);
        is_readable.then(|| format!("warning: the key goes to {self} unencrypted: the network can read it"))
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> ServerAddress {
        ServerAddress::parse(text).unwrap()
    }

    fn listening(on: &str) -> ServerAddress {
        let json = format!(r#"{{"listen":"{on}","trusted_proxies":[],"requests_per_second":1,"requests_burst":1}}"#);
        ServerAddress::configured(&serde_json::from_str(&json).unwrap()).unwrap()
    }

    #[test]
    fn an_address_with_a_user_or_a_path_is_refused_with_the_flag_that_may_be_meant() {
        for (text, flag) in [
            ("http://user:S3CRET@a.example", "--key"),
            ("http://a.example/v1", "--post-to"),
            ("http://a.example/hooks/crm?x=S3CRET", "--post-to"),
        ] {
            let why = ServerAddress::parse(text).unwrap_err();
            assert!(why.contains(flag) && !why.contains("S3CRET"), "{text}: {why}");
        }
    }

    #[test]
    fn a_listener_on_every_address_is_reached_on_loopback() {
        assert_eq!(listening("0.0.0.0:8080").to_string(), "http://127.0.0.1:8080");
        assert_eq!(listening("[::]:8080").to_string(), "http://[::1]:8080");
        assert_eq!(listening("10.0.0.5:8080").to_string(), "http://10.0.0.5:8080");
    }

    #[test]
    fn a_found_key_goes_to_the_configured_address_and_to_loopback_only() {
        let configured = listening("10.0.0.5:8080");
        let check = |address: &str| at(address).check_for_found_key(&configured);
        for own in [
            "http://10.0.0.5:8080",
            "http://127.0.0.1:9",
            "https://127.9.9.9",
            "http://[::1]:8080",
            "http://localhost:1",
            "http://LOCALHOST:1",
        ] {
            assert!(check(own).is_ok(), "{own}");
        }
        for foreign in [
            "https://10.0.0.5:8080",
            "http://10.0.0.5",
            "http://10.0.0.6:8080",
            "http://crm.example",
            "http://localhost.crm.example",
            "http://127.0.0.1.crm.example",
            "http://[::ffff:127.0.0.1]:8080",
            "http://0.0.0.0:8080",
        ] {
            let error = check(foreign).expect_err(foreign);
            assert!(format!("{error:#}").contains("give --key"), "{error:#}");
            assert_eq!(Exit::of(&error), Exit::Usage);
        }
    }

    #[test]
    fn a_given_key_goes_anywhere_with_a_warning_where_the_network_can_read_it() {
        let configured = listening("10.0.0.5:8080");
        for (address, is_warned) in [
            ("http://crm.example", true),
            ("https://crm.example", false),
            ("http://127.0.0.1:1", false),
            ("http://10.0.0.5:8080", false),
        ] {
            assert_eq!(at(address).warning_for_given_key(&configured).is_some(), is_warned, "{address}");
        }
    }
}
