//! Where the database is, and whether over TLS: what the URL says, taken apart once.

use std::time::Duration;

use tokio_postgres::config::{Config, Host, SslMode};

use super::tls::Tls;
use crate::StoreOpenError;

/// For the name to be found, the line to be made and the first words to be said, each.
const CONNECT: Duration = Duration::from_millis(2500);

/// A line over which nothing comes for so long is asked whether it still is one: firewalls forget silently.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// A database, and how to get there. Shows neither user nor password.
#[derive(Clone)]
pub(super) struct DatabaseUrl {
    pub(super) config: Config,
    pub(super) tls: Tls,
    /// `host:port/database`, for messages.
    pub(super) place: String,
}

impl DatabaseUrl {
    /// Takes a URL apart. Without `sslmode` in it, or with `disable`, `allow` or `prefer`, there is no TLS; with
    /// `require`, `verify-ca` or `verify-full` there is, and the server's certificate is verified, by the authorities
    /// that the system knows or those in the file `sslrootcert`.
    ///
    /// # Errors
    /// What cannot be used, without repeating the URL.
    pub(super) fn parse(url: &str) -> Result<Self, StoreOpenError> {
        let unusable = |reason: String| StoreOpenError::Unusable { place: "postgres:".to_owned(), reason };
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut wanted = TlsParameters::default();
        let rest: Vec<_> = query.split('&').filter(|pair| !pair.is_empty() && !wanted.take(pair)).collect();
        let url = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        let mut config: Config =
            url.parse().map_err(|error: tokio_postgres::Error| unusable(super::session::error_text(&error)))?;
        let tls = match wanted.mode.as_deref() {
            None | Some("disable" | "allow" | "prefer") => Tls::none(),
            Some("require" | "verify-ca" | "verify-full") => {
                Tls::verified(wanted.authorities.as_deref()).map_err(unusable)?
            }
            Some(_) => return Err(unusable("sslmode: expected disable, require or verify-full".to_owned())),
        };
        config.ssl_mode(if tls.is_wanted() { SslMode::Require } else { SslMode::Disable });
        config.connect_timeout(CONNECT).keepalives_idle(KEEPALIVE);
        if config.get_application_name().is_none() {
            config.application_name("carteiro");
        }
        let place = place(&config);
        Ok(Self { config, tls, place })
    }
}

/// What the URL says of TLS, which the client library has no words for.
#[derive(Default)]
struct TlsParameters {
    mode: Option<String>,
    authorities: Option<String>,
}

impl TlsParameters {
    fn take(&mut self, pair: &str) -> bool {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let place = match name {
            "sslmode" => &mut self.mode,
            "sslrootcert" => &mut self.authorities,
            _ => return false,
        };
        // As a form is written: the file's name may hold anything.
        let decoded = url::form_urlencoded::parse(value.as_bytes()).next();
        *place = decoded.map(|(text, _)| text.into_owned());
        true
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_named_without_user_and_password() {
        let address = DatabaseUrl::parse("postgres://me:hunter2@db.example:6432/carteiro").unwrap();
        assert_eq!(address.place, "db.example:6432/carteiro");
        assert!(!address.tls.is_wanted());
        let several =
            DatabaseUrl::parse("postgresql://me:hunter2@a,b:6432/carteiro?target_session_attrs=read-write").unwrap();
        assert_eq!(several.place, "a:5432,b:6432/carteiro");
    }

    #[test]
    fn tls_is_wanted_where_the_url_says_so() {
        for mode in ["require", "verify-ca", "verify-full"] {
            let address =
                DatabaseUrl::parse(&format!("postgres://db/carteiro?sslmode={mode}&connect_timeout=9")).unwrap();
            assert!(address.tls.is_wanted(), "{mode}");
            assert_eq!(address.config.get_ssl_mode(), SslMode::Require);
        }
        for mode in ["disable", "prefer"] {
            assert!(!DatabaseUrl::parse(&format!("postgres://db/carteiro?sslmode={mode}")).unwrap().tls.is_wanted());
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_repeating_the_url() {
        for end in ["?sslmode=hunter2", "?colour=hunter2", "?sslmode=require&sslrootcert=/hunter2/none"] {
            let refused =
                DatabaseUrl::parse(&format!("postgres://me:hunter2@db/carteiro{end}")).map(|_| ()).unwrap_err();
            assert!(!refused.to_string().contains("me:hunter2"), "{refused}");
        }
    }
}
