//! Checks an endpoint's URL without resolving its name. The deliverer checks the resolved addresses again before each
//! connection.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use schemas::address::is_allowed;
use url::{Host, Url};

/// Normalizes a URL: the host in lower case and as IDNA writes it, addresses in their usual notation.
///
/// # Errors
/// The URL leads to an address that is not allowed. The sentence repeats nothing of the URL.
pub(crate) fn normal_url(text: &str, allowed: &[IpNet]) -> Result<String, &'static str> {
    // A text that is no URL is left to the store's own checks, which explain what is wrong with it.
    let Ok(url) = Url::parse(text) else { return Ok(text.to_owned()) };
    let address = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        Some(Host::Domain(name)) if is_localhost(name) => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        _ => None,
    };
    match address {
        Some(address) if !is_allowed(address, allowed) => {
            Err("is a private address: the operator has not allowed its network (deliverer.allow_networks)")
        }
        _ => Ok(url.into()),
    }
}

/// True for names that mean this machine: `localhost` and all below it (RFC 6761, section 6.3).
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_kept_in_its_normal_form() {
        let table = [
            ("https://CRM.example", "https://crm.example/"),
            ("https://münchen.example/Ä?q=ü", "https://xn--mnchen-3ya.example/%C3%84?q=%C3%BC"),
            ("http://0x08.8.8.8:80/", "http://8.8.8.8/"),
            ("https://crm.example:443/a/../b", "https://crm.example/b"),
        ];
        for (given, expected) in table {
            assert_eq!(normal_url(given, &[]).as_deref(), Ok(expected), "{given}");
            assert_eq!(normal_url(expected, &[]).as_deref(), Ok(expected), "the normal form of a normal form");
        }
    }

    #[test]
    fn what_leads_into_the_operators_network_is_refused_unless_it_was_opened() {
        let loopback = ["127.0.0.0/8".parse().unwrap()];
        for url in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0177.1/",
            "http://LOCALHOST:81/",
            "http://a.localhost./",
            "http://[::ffff:127.0.0.1]/",
        ] {
            assert!(normal_url(url, &[]).is_err(), "{url}");
            assert!(normal_url(url, &loopback).is_ok(), "{url}");
        }
        for url in ["http://10.1.2.3/", "http://169.254.169.254/latest", "http://[fd00::1]/", "http://[::1]/"] {
            assert!(normal_url(url, &loopback).is_err(), "{url}");
        }
        assert!(normal_url("http://localhost.example/", &[]).is_ok());
    }
}
