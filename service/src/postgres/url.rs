//! Parses a `postgres:` URL: the database, and whether to reach it over TLS.

use std::{sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio_postgres::config::{ChannelBinding, Config, Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::DatabaseError;

/// Longest time for each step of connecting: resolving the name, the TCP connection, the first messages.
const CONNECT: Duration = Duration::from_millis(2500);

/// Idle time after which TCP keepalives are sent: firewalls forget idle connections silently.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// A database and how to connect to it. Messages show neither user nor password.
#[derive(Clone)]
pub struct DatabaseUrl {
    pub config: Config,
    /// None when the connection is not encrypted.
    pub tls: Option<MakeRustlsConnect>,
    /// True when secrets would cross a network in the clear: a host is neither this machine nor a socket, and there is no
    /// TLS.
    pub is_exposed: bool,
    /// `host:port/database`, for messages.
    pub place: String,
}

impl DatabaseUrl {
    /// Parses a URL. Without `sslmode`, or with `disable`, `allow` or `prefer`, there is no TLS. With `require`,
    /// `verify-ca` or `verify-full` there is, and the server's certificate is always verified, by the system's
    /// authorities or by those in the file `sslrootcert`.
    ///
    /// # Errors
    /// The URL cannot be used. The error does not repeat it.
    pub fn parse(url: &str) -> Result<Self, DatabaseError> {
        let unusable = DatabaseError;
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut tls = TlsParameters::default();
        let rest: Vec<_> = query.split('&').filter(|pair| !pair.is_empty() && !tls.take(pair)).collect();
        let url = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| unusable(error_text(&error)))?;
        let tls = match tls.mode.as_deref() {
            None | Some("disable" | "allow" | "prefer") => None,
            Some("require" | "verify-ca" | "verify-full") => {
                Some(verified(tls.authorities.as_deref()).map_err(unusable)?)
            }
            Some(_) => return Err(unusable("sslmode: expected disable, require or verify-full".to_owned())),
        };
        config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        if config.get_channel_binding() == ChannelBinding::Prefer {
            // Channel binding adds nothing to a verified certificate, and fails behind a proxy that ends TLS.
            config.channel_binding(ChannelBinding::Disable);
        }
        config.connect_timeout(CONNECT).keepalives_idle(KEEPALIVE);
        if config.get_application_name().is_none() {
            config.application_name("carteiro");
        }
        let place = place(&config);
        let is_exposed = tls.is_none() && !config.get_hosts().iter().all(is_local);
        Ok(Self { config, tls, is_exposed, place })
    }
}

/// Parameters of a URL about TLS, which the client library does not know.
#[derive(Default)]
struct TlsParameters {
    mode: Option<String>,
    authorities: Option<String>,
}

impl TlsParameters {
    /// Takes a `name=value` pair. Returns false when it is not about TLS.
    fn take(&mut self, pair: &str) -> bool {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let parameter = match name {
            "sslmode" => &mut self.mode,
            "sslrootcert" => &mut self.authorities,
            _ => return false,
        };
        // The value is percent-encoded, because the file's name may contain any character.
        let decoded = url::form_urlencoded::parse(value.as_bytes()).next();
        *parameter = decoded.map(|(text, _)| text.into_owned());
        true
    }
}

/// Configures TLS that trusts the authorities in a PEM file, or those of the system.
fn verified(file: Option<&str>) -> Result<MakeRustlsConnect, String> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(file) => {
            let failed = |error: &dyn std::fmt::Display| format!("sslrootcert {file}: {error}");
            for certificate in CertificateDer::pem_file_iter(file).map_err(|error| failed(&error))? {
                let certificate = certificate.map_err(|error| failed(&error))?;
                roots.add(certificate).map_err(|error| failed(&error))?;
            }
        }
        None => _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
    }
    if roots.is_empty() {
        let message = "sslmode: there is no authority to verify the server's certificate by: name one with sslrootcert";
        return Err(message.to_owned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
            name == "localhost" || address.is_ok_and(|address| address.is_loopback())
        }
    }
}

fn place(config: &Config) -> String {
    let host = |host: &Host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    };
    let port = |at: usize| config.get_ports().get(at).or(config.get_ports().first()).copied().unwrap_or(5432);
    let hosts: Vec<_> =
        config.get_hosts().iter().enumerate().map(|(at, one)| format!("{}:{}", host(one), port(at))).collect();
    format!("{}/{}", hosts.join(","), config.get_dbname().or(config.get_user()).unwrap_or_default())
}

/// Returns an error's text with its causes. The database's details are left out, because they quote values.
pub fn error_text(error: &tokio_postgres::Error) -> String {
    if let Some(answer) = error.as_db_error() {
        return format!("the database says: {}", answer.message());
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_named_without_user_and_password() {
        let url = DatabaseUrl::parse("postgres://me:hunter2@db.example:6432/carteiro").unwrap();
        assert_eq!(url.place, "db.example:6432/carteiro");
        assert!(url.tls.is_none());
        let several =
            DatabaseUrl::parse("postgresql://me:hunter2@a,b:6432/carteiro?target_session_attrs=read-write").unwrap();
        assert_eq!(several.place, "a:5432,b:6432/carteiro");
    }

    #[test]
    fn tls_is_used_where_the_url_says_so() {
        for mode in ["require", "verify-ca", "verify-full"] {
            let url = DatabaseUrl::parse(&format!("postgres://db/carteiro?sslmode={mode}&connect_timeout=9")).unwrap();
            assert!(url.tls.is_some(), "{mode}");
            assert_eq!(url.config.get_ssl_mode(), SslMode::Require);
        }
        for mode in ["disable", "prefer"] {
            let url = DatabaseUrl::parse(&format!("postgres://db/carteiro?sslmode={mode}")).unwrap();
            assert!(url.tls.is_none(), "{mode}");
            assert_eq!(url.config.get_ssl_mode(), SslMode::Disable);
        }
    }

    #[test]
    fn a_host_elsewhere_is_exposed_without_tls() {
        let is_exposed = |url: &str| DatabaseUrl::parse(url).unwrap().is_exposed;
        for here in ["postgres://localhost/c", "postgres://127.0.0.1/c", "postgres://%2Frun%2Fpostgresql/c"] {
            assert!(!is_exposed(here), "{here}");
        }
        for there in ["postgres://db/c", "postgres://db/c?sslmode=prefer", "postgres://127.0.0.1,10.0.0.7/c"] {
            assert!(is_exposed(there), "{there}");
        }
        assert!(!is_exposed("postgres://db/c?sslmode=require"));
    }

    #[test]
    fn a_url_that_cannot_be_used_is_refused_without_repeating_it() {
        for end in ["?sslmode=hunter2", "?colour=hunter2", "?sslmode=require&sslrootcert=/hunter2/none"] {
            let refused =
                DatabaseUrl::parse(&format!("postgres://me:hunter2@db/carteiro{end}")).map(|_| ()).unwrap_err();
            assert!(!refused.to_string().contains("me:hunter2"), "{refused}");
        }
    }
}
