//! Where the broker is, and by whom it is vouched for: one url with one or several hosts. Credentials stay inside; what
//! is shown has none. Over TLS the certificate is always verified.

use std::{path::PathBuf, sync::Arc};

use lapin::{Connect as _, Connection, ConnectionProperties, tcp::OwnedTLSConfig, uri::AMQPUri};

/// Asked of the broker unless the url says otherwise, in seconds: a dead peer is noticed within twice this.
const HEARTBEAT: u16 = 20;

/// The parameter that names a file of authorities to believe besides the system's, as RabbitMQ's own clients call it.
const AUTHORITIES: &str = "cacertfile=";

/// The hosts of a broker, tried in turn.
pub(super) struct Address {
    hosts: Vec<Host>,
    authorities: Option<PathBuf>,
}

/// One of them.
#[derive(Clone)]
pub(super) struct Host {
    pub(super) uri: AMQPUri,
    /// Certificates in PEM that are believed besides the system's.
    authorities: Option<Arc<str>>,
}

/// The url is not one of a broker. Says why, without repeating it: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("broker.url is not a usable address: {0}")]
pub struct InvalidUrl(String);

impl Address {
    /// From `amqp://user:password@host:port,host:port/vhost?query`, as if the system's authorities were all.
    pub(super) fn parse(url: &str) -> Result<Self, InvalidUrl> {
        let (scheme, rest) = url
            .split_once("://")
            .filter(|(scheme, _)| matches!(*scheme, "amqp" | "amqps"))
            .ok_or_else(|| InvalidUrl("it begins with neither amqp:// nor amqps://".to_owned()))?;
        let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (tail, authorities) = without_authorities(tail);
        if scheme == "amqp" && authorities.is_some() {
            return Err(InvalidUrl("cacertfile is for amqps:// only".to_owned()));
        }
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (format!("{user}@"), hosts),
            None => (String::new(), authority),
        };
        let parse = |host: &str| {
            let mut uri: AMQPUri = format!("{scheme}://{user}{host}{tail}").parse().map_err(InvalidUrl)?;
            uri.query.heartbeat.get_or_insert(HEARTBEAT);
            Ok(Host { uri, authorities: None })
        };
        let hosts = hosts.split(',').map(|host| parse(host.trim())).collect::<Result<Vec<_>, InvalidUrl>>()?;
        Ok(Self { hosts, authorities })
    }

    /// As [`parse`](Self::parse), with the authorities that it names, to be connected to.
    pub(super) fn to_reach(url: &str) -> Result<Self, InvalidUrl> {
        let mut address = Self::parse(url)?;
        if let Some(file) = &address.authorities {
            let unusable = |why: &dyn std::fmt::Display| InvalidUrl(format!("cacertfile {}: {why}", file.display()));
            let pem = std::fs::read_to_string(file).map_err(|error| unusable(&error))?;
            // lapin would leave out what is none, and believe nobody.
            if !pem.contains("-----BEGIN CERTIFICATE-----") {
                return Err(unusable(&"it holds no certificate in PEM"));
            }
            let pem = Arc::<str>::from(pem);
            address.hosts.iter_mut().for_each(|host| host.authorities = Some(pem.clone()));
        }
        Ok(address)
    }

    /// How many hosts there are.
    pub(super) fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// The host of the nth try.
    pub(super) fn host(&self, try_: usize) -> &Host {
        &self.hosts[try_ % self.hosts.len()]
    }
}

impl Host {
    /// A connection to it.
    pub(super) async fn connect(&self, properties: ConnectionProperties) -> lapin::Result<Connection> {
        let tls = OwnedTLSConfig { identity: None, cert_chain: self.authorities.as_deref().map(str::to_owned) };
        let runtime = lapin::runtime::default_runtime()?;
        self.uri.clone().connect_with_config(properties, tls, runtime).await
    }
}

/// What follows the hosts, without the file of authorities, and that file.
fn without_authorities(tail: &str) -> (String, Option<PathBuf>) {
    let Some((path, query)) = tail.split_once('?') else { return (tail.to_owned(), None) };
    let (files, others): (Vec<_>, Vec<_>) = query.split('&').partition(|pair| pair.starts_with(AUTHORITIES));
    let file = files.first().map(|pair| PathBuf::from(&pair[AUTHORITIES.len()..]));
    (format!("{path}?{}", others.join("&")), file)
}

/// A host without its credentials.
pub(super) fn shown(host: &Host) -> String {
    format!("{}:{}", host.uri.authority.host, host.uri.authority.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_hosts_share_user_and_vhost_and_are_tried_in_turn() {
        let address = Address::parse("amqp://u:p%40ss@h1:1111,h2:2222/prod?heartbeat=7").expect("an address");
        let tried: Vec<_> = (0..3).map(|n| shown(address.host(n))).collect();
        assert_eq!(tried, ["h1:1111", "h2:2222", "h1:1111"]);
        let second = address.host(1);
        assert_eq!((second.uri.vhost.as_str(), second.uri.query.heartbeat), ("prod", Some(7)));
        assert_eq!(second.uri.authority.userinfo.password, "p@ss");
    }

    #[test]
    fn a_url_without_port_and_vhost_has_the_usual_ones() {
        let address = Address::parse("amqp://broker").expect("an address");
        assert_eq!((shown(address.host(0)).as_str(), address.host(0).uri.vhost.as_str()), ("broker:5672", "/"));
    }

    #[test]
    fn a_file_of_authorities_is_taken_out_of_the_url_and_must_hold_some() {
        let address = Address::parse("amqps://u:p@h/prod?cacertfile=/etc/ca.pem&heartbeat=7").expect("an address");
        assert_eq!(address.authorities, Some(PathBuf::from("/etc/ca.pem")));
        assert_eq!(address.host(0).uri.query.heartbeat, Some(7));
        let file = tempfile::NamedTempFile::new().expect("a file");
        for (url, why) in [
            ("amqps://h/?cacertfile=/nowhere/ca.pem".to_owned(), "cacertfile /nowhere/ca.pem: No such file"),
            (format!("amqps://h/?cacertfile={}", file.path().display()), "it holds no certificate in PEM"),
            ("amqp://h/?cacertfile=/etc/ca.pem".to_owned(), "cacertfile is for amqps:// only"),
        ] {
            let error = Address::to_reach(&url).err().expect("refused").to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn an_unusable_url_is_refused_without_repeating_the_password() {
        for url in ["http://u:secret@h/", "embedded:", "amqp://u:secret@h:port/"] {
            let error = Address::parse(url).err().expect("refused").to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
