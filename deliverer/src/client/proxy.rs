//! The operator's proxy: explicit, over HTTP or HTTPS. `https` endpoints are reached through a tunnel (CONNECT), `http`
//! ones by asking it for the whole URL.
//!
//! Names are then the proxy's to look up, so that only it can refuse where they lead.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use url::Url;

use super::{dial::Socket, failure::NotConnected};

/// A proxy's answer to CONNECT, at most: it has no body when it says yes.
const MAX_ANSWER: usize = 8 * 1024;

/// Where the proxy is, and what it asks for.
#[derive(Debug)]
pub(crate) struct Proxy {
    host: String,
    port: u16,
    tls: bool,
    authorization: Option<HeaderValue>,
}

/// Why a text is no proxy. It repeats nothing of the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected http://host:port or https://host:port, with user and password or without")]
pub(crate) struct NoProxy;

impl Proxy {
    /// Of a URL.
    pub(crate) fn parse(text: &str) -> Result<Self, NoProxy> {
        let url = Url::parse(text).map_err(|_| NoProxy)?;
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(NoProxy),
        };
        let host = url.host_str().ok_or(NoProxy)?.to_owned();
        let port = url.port_or_known_default().ok_or(NoProxy)?;
        let has_path = !matches!(url.path(), "" | "/") || url.query().is_some();
        if has_path {
            return Err(NoProxy);
        }
        Ok(Self { host, port, tls, authorization: authorization(&url) })
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn is_tls(&self) -> bool {
        self.tls
    }

    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// Has the proxy connect to a host.
    pub(super) async fn tunnel(&self, mut socket: Socket, host: &str, port: u16) -> Result<Socket, NotConnected> {
        let broken = |error: std::io::Error| NotConnected::Proxy(format!("broke off: {error}"));
        let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nhost: {host}:{port}\r\n").into_bytes();
        if let Some(authorization) = &self.authorization {
            request.extend_from_slice(b"proxy-authorization: ");
            request.extend_from_slice(authorization.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        socket.write_all(&request).await.map_err(broken)?;
        let mut answer = Vec::new();
        // Byte by byte: what follows the head belongs to the tunnel.
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() == MAX_ANSWER {
                return Err(NotConnected::Proxy("answered at length".to_owned()));
            }
            answer.push(socket.read_u8().await.map_err(broken)?);
        }
        match status(&answer) {
            Some(200..300) => Ok(socket),
            Some(status) => Err(NotConnected::Proxy(format!("answered {status}"))),
            None => Err(NotConnected::Proxy("does not speak HTTP/1".to_owned())),
        }
    }
}

fn authorization(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut plain: Vec<u8> = percent_decode_str(url.username()).collect();
    plain.push(b':');
    plain.extend(percent_decode_str(url.password().unwrap_or_default()));
    // Base64 is always a header's value.
    let mut value = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(plain))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    std::str::from_utf8(line).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_an_http_url_with_nothing_behind_the_port() {
        for good in ["http://proxy.example:3128", "https://u:p%40@proxy.example/", "http://10.0.0.1:8080"] {
            assert!(Proxy::parse(good).is_ok(), "{good}");
        }
        for bad in ["proxy.example:3128", "socks5://proxy.example", "http://proxy.example/x", "", "http://"] {
            assert_eq!(Proxy::parse(bad).unwrap_err(), NoProxy, "{bad}");
        }
        let proxy = Proxy::parse("http://u:p%40@proxy.example").unwrap();
        assert_eq!(proxy.authorization().unwrap(), "Basic dTpwQA==");
        assert_eq!((proxy.host(), proxy.port()), ("proxy.example", 80));
    }

    #[test]
    fn a_status_is_that_of_http_1() {
        assert_eq!(status(b"HTTP/1.1 200 OK\r\n\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 407 Who\r\n\r\n"), Some(407));
        for none in [&b"SSH-2.0\r\n\r\n"[..], b"HTTP/1.1\r\n\r\n", b"HTTP/2 200\r\n\r\n"] {
            assert_eq!(status(none), None);
        }
    }
}
