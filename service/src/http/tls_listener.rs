//! A listener that yields connections whose TLS handshake is complete.
//!
//! Handshakes run in tasks of their own, so that a silent client does not delay others. They are bounded in number and
//! time.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

#[derive(Clone, Copy)]
pub(super) struct HandshakeLimits {
    /// Largest number of concurrent handshakes; further connections wait in the system's queue.
    pub(super) pending: usize,
    pub(super) timeout: Duration,
}

impl HandshakeLimits {
    /// A handshake takes two round trips; ten seconds allow for lost packets. 1,024 unfinished handshakes take about 16
    /// MiB.
    pub(super) const DEFAULT: Self = Self { pending: 1_024, timeout: Duration::from_secs(10) };
}

pub(super) struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
    limits: HandshakeLimits,
    /// Handshakes in progress. A failed one yields none.
    pending: JoinSet<Option<(TlsStream<TcpStream>, SocketAddr)>>,
}

impl TlsListener {
    pub(super) fn new(tcp: TcpListener, acceptor: TlsAcceptor, limits: HandshakeLimits) -> Self {
        Self { tcp, acceptor, limits, pending: JoinSet::new() }
    }

    fn begin(&mut self, stream: TcpStream, client: SocketAddr) {
        let (acceptor, limit) = (self.acceptor.clone(), self.limits.timeout);
        self.pending.spawn(async move {
            let accepted = timeout(limit, acceptor.accept(stream)).await;
            match accepted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => Some((stream, client)),
                Err(error) => {
                    // Scanners, health checks and clients with other authorities cause these errors, so operators need
                    // not see them.
                    tracing::debug!(%client, %error, "tls.refused");
                    None
                }
            }
        });
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let has_room = self.pending.len() < self.limits.pending;
            tokio::select! {
                (stream, client) = Listener::accept(&mut self.tcp), if has_room => self.begin(stream, client),
                Some(ended) = self.pending.join_next() => {
                    // Other results are failed or panicked handshakes, which affect only their own connection.
                    if let Ok(Some(connection)) = ended {
                        return connection;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

#[cfg(test)]
mod tests;
