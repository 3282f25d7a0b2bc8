//! Connecting: from a URL with one or several hosts to a connection. Nothing that is shown holds credentials. Over TLS
//! the server's certificate is always verified.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::Stream;
use lapin::{Channel, Connect as _, Connection, ConnectionProperties, Event, tcp::OwnedTLSConfig, uri::AMQPUri};
use tokio::{runtime::Handle, time::timeout};

use super::error::{TopologyError, describe};

/// AMQP's heartbeat interval in seconds, unless the URL has another: a dead peer is noticed within twice this time.
const AMQP_HEARTBEAT: u16 = 20;

/// The URL parameter, also of RabbitMQ's own clients, that names a file of certificate authorities to trust besides the
/// system's.
const AUTHORITIES: &str = "cacertfile=";

/// Includes all handshakes.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Longest wait for the answer to a close, which the broker gives within milliseconds: a hanging broker must not hold up the
/// next session.
const CLOSE_TIME: Duration = Duration::from_secs(2);

pub(super) struct BrokerHosts {
    hosts: Vec<Host>,
    authorities: Option<PathBuf>,
}

#[derive(Clone)]
pub(super) struct Host {
    pub(super) uri: AMQPUri,
    /// Certificate authorities in PEM that are trusted besides the system's.
    authorities: Option<Arc<str>>,
}

/// The URL is not one of a broker. The message does not repeat the URL, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("broker.url is not a usable address: {0}")]
pub struct InvalidUrl(String);

impl BrokerHosts {
    /// Reads `amqp://user:password@host:port,host:port/vhost?query`. A file of authorities is not opened.
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
            uri.query.heartbeat.get_or_insert(AMQP_HEARTBEAT);
            Ok(Host { uri, authorities: None })
        };
        let hosts = hosts.split(',').map(|host| parse(host.trim())).collect::<Result<Vec<_>, InvalidUrl>>()?;
        Ok(Self { hosts, authorities })
    }

    /// Also reads the file of authorities.
    pub(super) fn load(url: &str) -> Result<Self, InvalidUrl> {
        let mut hosts = Self::parse(url)?;
        if let Some(file) = &hosts.authorities {
            let unusable = |why: &dyn std::fmt::Display| InvalidUrl(format!("cacertfile {}: {why}", file.display()));
            let pem = std::fs::read_to_string(file).map_err(|error| unusable(&error))?;
            // lapin would skip what is no certificate, and trust nobody.
            if !pem.contains("-----BEGIN CERTIFICATE-----") {
                return Err(unusable(&"it holds no certificate in PEM"));
            }
            let pem = Arc::<str>::from(pem);
            hosts.hosts.iter_mut().for_each(|host| host.authorities = Some(pem.clone()));
        }
        Ok(hosts)
    }

    pub(super) fn count(&self) -> usize {
        self.hosts.len()
    }

    pub(super) fn host(&self, try_: usize) -> &Host {
        &self.hosts[try_ % self.hosts.len()]
    }
}

/// A connection with the channels that were opened on it. It keeps them until it is closed, since lapin locks itself up when
/// the last handle of a channel goes too early (docs/rabbitmq.md#a-dropped-channel-locks-up-lapin). Its drop closes it in
/// the background.
pub(super) struct BrokerConnection(Arc<OpenConnection>);

struct OpenConnection {
    connection: Connection,
    channels: Mutex<Vec<Channel>>,
}

impl BrokerConnection {
    pub(super) async fn open_channel(&self) -> lapin::Result<Channel> {
        let channel = self.0.connection.create_channel().await?;
        self.0.channels.lock().unwrap_or_else(PoisonError::into_inner).push(channel.clone());
        Ok(channel)
    }

    /// Closes a channel whose consumers are cancelled.
    pub(super) async fn close_channel(&self, channel: &Channel) {
        // While it is open no other channel has its number.
        self.0.channels.lock().unwrap_or_else(PoisonError::into_inner).retain(|kept| kept.id() != channel.id());
        let _ = channel.close(200, "OK".into()).await;
    }

    pub(super) fn events(&self) -> impl Stream<Item = Event> + Send + 'static {
        self.0.connection.events_listener()
    }

    /// Waits for the answer, unless lapin has lost it.
    pub(super) async fn close(&self) {
        self.0.close().await;
    }
}

impl OpenConnection {
    async fn close(&self) {
        let _ = timeout(CLOSE_TIME, self.connection.close(200, "OK".into())).await;
    }
}

impl Drop for BrokerConnection {
    fn drop(&mut self) {
        if self.0.connection.status().connected()
            && let Ok(runtime) = Handle::try_current()
        {
            let open = Arc::clone(&self.0);
            runtime.spawn(async move { open.close().await });
        }
    }
}

/// Opens one connection, which the broker shows under this name. An error names the host, never the user.
pub(super) async fn connect(host: &Host, name: &str) -> Result<BrokerConnection, TopologyError> {
    match timeout(CONNECT_TIME, host.connect(name)).await {
        Ok(Ok(connection)) => Ok(BrokerConnection(Arc::new(OpenConnection { connection, channels: Mutex::default() }))),
        Ok(Err(error)) => Err(TopologyError::Away(format!("{}: {}", shown(host), describe(&error)))),
        Err(_) => Err(TopologyError::Away(format!("{}: no answer within {CONNECT_TIME:?}", shown(host)))),
    }
}

impl Host {
    async fn connect(&self, name: &str) -> lapin::Result<Connection> {
        let properties = ConnectionProperties::default().with_connection_name(format!("carteiro {name}").into());
        let tls = OwnedTLSConfig { identity: None, cert_chain: self.authorities.as_deref().map(str::to_owned) };
        let runtime = lapin::runtime::default_runtime()?;
        self.uri.clone().connect_with_config(properties, tls, runtime).await
    }
}

/// Splits the URL behind the hosts into what lapin reads and the file of authorities.
fn without_authorities(tail: &str) -> (String, Option<PathBuf>) {
    let Some((path, query)) = tail.split_once('?') else { return (tail.to_owned(), None) };
    let (files, others): (Vec<_>, Vec<_>) = query.split('&').partition(|pair| pair.starts_with(AUTHORITIES));
    let file = files.first().map(|pair| PathBuf::from(&pair[AUTHORITIES.len()..]));
    (format!("{path}?{}", others.join("&")), file)
}

fn shown(host: &Host) -> String {
    format!("{}:{}", host.uri.authority.host, host.uri.authority.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_hosts_share_user_and_vhost_and_are_tried_in_turn() {
        let hosts = BrokerHosts::parse("amqp://u:p%40ss@h1:1111,h2:2222/prod?heartbeat=7").expect("an address");
        let tried: Vec<_> = (0..3).map(|n| shown(hosts.host(n))).collect();
        assert_eq!(tried, ["h1:1111", "h2:2222", "h1:1111"]);
        let second = hosts.host(1);
        assert_eq!((second.uri.vhost.as_str(), second.uri.query.heartbeat), ("prod", Some(7)));
        assert_eq!(second.uri.authority.userinfo.password, "p@ss");
    }

    #[test]
    fn a_url_without_port_and_vhost_has_the_usual_ones() {
        let hosts = BrokerHosts::parse("amqp://broker").expect("an address");
        assert_eq!((shown(hosts.host(0)).as_str(), hosts.host(0).uri.vhost.as_str()), ("broker:5672", "/"));
    }

    #[test]
    fn a_file_of_authorities_is_taken_out_of_the_url_and_must_hold_some() {
        let hosts = BrokerHosts::parse("amqps://u:p@h/prod?cacertfile=/etc/ca.pem&heartbeat=7").expect("an address");
        assert_eq!(hosts.authorities, Some(PathBuf::from("/etc/ca.pem")));
        assert_eq!(hosts.host(0).uri.query.heartbeat, Some(7));
        let file = tempfile::NamedTempFile::new().expect("a file");
        for (url, why) in [
            ("amqps://h/?cacertfile=/nowhere/ca.pem".to_owned(), "cacertfile /nowhere/ca.pem: No such file"),
            (format!("amqps://h/?cacertfile={}", file.path().display()), "it holds no certificate in PEM"),
            ("amqp://h/?cacertfile=/etc/ca.pem".to_owned(), "cacertfile is for amqps:// only"),
        ] {
            let error = BrokerHosts::load(&url).err().expect("refused").to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn an_unusable_url_is_refused_without_repeating_the_password() {
        for url in ["http://u:secret@h/", "embedded:", "amqp://u:secret@h:port/"] {
            let error = BrokerHosts::parse(url).err().expect("refused").to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
