//! Where the broker is: one url with one or several hosts. Credentials stay inside; what is shown has none.

use lapin::uri::AMQPUri;

/// Asked of the broker unless the url says otherwise, in seconds: a dead peer is noticed within twice this.
const HEARTBEAT: u16 = 20;

/// The hosts of a broker, tried in turn.
pub(super) struct Address {
    hosts: Vec<AMQPUri>,
}

/// The url is not one of a broker. Says why, without repeating it: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("broker.url is not a usable address: {0}")]
pub struct InvalidUrl(String);

impl Address {
    /// From `amqp://user:password@host:port,host:port/vhost?query`.
    pub(super) fn parse(url: &str) -> Result<Self, InvalidUrl> {
        let (scheme, rest) = url
            .split_once("://")
            .filter(|(scheme, _)| matches!(*scheme, "amqp" | "amqps"))
            .ok_or_else(|| InvalidUrl("it begins with neither amqp:// nor amqps://".to_owned()))?;
        let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (format!("{user}@"), hosts),
            None => (String::new(), authority),
        };
        let parse = |host: &str| {
            let mut uri: AMQPUri = format!("{scheme}://{user}{host}{tail}").parse().map_err(InvalidUrl)?;
            uri.query.heartbeat.get_or_insert(HEARTBEAT);
            Ok(uri)
        };
        let hosts = hosts.split(',').map(|host| parse(host.trim())).collect::<Result<Vec<_>, InvalidUrl>>()?;
        Ok(Self { hosts })
    }

    /// How many hosts there are.
    pub(super) fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// The host of the nth try.
    pub(super) fn host(&self, try_: usize) -> &AMQPUri {
        &self.hosts[try_ % self.hosts.len()]
    }
}

/// A host without its credentials.
pub(super) fn shown(host: &AMQPUri) -> String {
    format!("{}:{}", host.authority.host, host.authority.port)
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
        assert_eq!((second.vhost.as_str(), second.query.heartbeat), ("prod", Some(7)));
        assert_eq!(second.authority.userinfo.password, "p@ss");
    }

    #[test]
    fn a_url_without_port_and_vhost_has_the_usual_ones() {
        let address = Address::parse("amqp://broker").expect("an address");
        assert_eq!((shown(address.host(0)).as_str(), address.host(0).vhost.as_str()), ("broker:5672", "/"));
    }

    #[test]
    fn an_unusable_url_is_refused_without_repeating_the_password() {
        for url in ["http://u:secret@h/", "embedded:", "amqp://u:secret@h:port/"] {
            let error = Address::parse(url).err().expect("refused").to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
