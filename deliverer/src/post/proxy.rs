//! The tunnel through the operator's proxy: `CONNECT`, over HTTP/1.1.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{dial::Socket, failure::ConnectError};
use crate::config::Proxy;

/// Largest head of the proxy's response to `CONNECT`, in bytes. A 2xx response has no body.
const MAX_HEAD: usize = 8 * 1024;

/// Asks the proxy at the other end of `socket` for a tunnel to a host.
pub(super) async fn tunnel(proxy: &Proxy, mut socket: Socket, host: &str, port: u16) -> Result<Socket, ConnectError> {
    let broken = |error: std::io::Error| ConnectError::Proxy(format!("broke off: {error}"));
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nhost: {host}:{port}\r\n").into_bytes();
    if let Some(authorization) = &proxy.authorization {
        request.extend_from_slice(b"proxy-authorization: ");
        request.extend_from_slice(authorization.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    socket.write_all(&request).await.map_err(broken)?;
    let mut head = Vec::new();
    // Byte by byte, because what follows the head belongs to the tunnel.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_HEAD {
            return Err(ConnectError::Proxy("sent too long an answer".to_owned()));
        }
        head.push(socket.read_u8().await.map_err(broken)?);
    }
    match status(&head) {
        Some(200..300) => Ok(socket),
        Some(status) => Err(ConnectError::Proxy(format!("answered {status}"))),
        None => Err(ConnectError::Proxy("does not speak HTTP/1".to_owned())),
    }
}

fn status(head: &[u8]) -> Option<u16> {
    let digits = head.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_from_http_1_only() {
        assert_eq!(status(b"HTTP/1.1 200 OK\r\n\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 407 Who\r\n\r\n"), Some(407));
        for none in [&b"SSH-2.0\r\n\r\n"[..], b"HTTP/1.1\r\n\r\n", b"HTTP/2 200\r\n\r\n"] {
            assert_eq!(status(none), None);
        }
    }
}
