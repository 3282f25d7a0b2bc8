//! A listener that hands out connections whose TLS handshake is done.
//!
//! Handshakes go on beside one another and beside the accepting, so that a client that connects and says nothing holds
//! up nobody; they are bounded in number and in time.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How much is allowed to connections that are not yet any.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// How many may be at it; more wait in the system's queue.
    pub(super) pending: usize,
    /// How long one may take.
    pub(super) limit: Duration,
}

impl Patience {
    /// A handshake is two round trips: ten seconds are for lines that lose packets. 1,024 unfinished ones hold about
    /// 16 MiB.
    pub(super) const DEFAULT: Self = Self { pending: 1_024, limit: Duration::from_secs(10) };
}

/// Accepts TLS.
pub(super) struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
    patience: Patience,
    /// The handshakes under way; those that fail give nothing.
    pending: JoinSet<Option<(TlsStream<TcpStream>, SocketAddr)>>,
}

impl TlsListener {
    pub(super) fn new(tcp: TcpListener, acceptor: TlsAcceptor, patience: Patience) -> Self {
        Self { tcp, acceptor, patience, pending: JoinSet::new() }
    }

    fn begin(&mut self, stream: TcpStream, client: SocketAddr) {
        let (acceptor, limit) = (self.acceptor.clone(), self.patience.limit);
        self.pending.spawn(async move {
            let shaken = timeout(limit, acceptor.accept(stream)).await;
            match shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => Some((stream, client)),
                Err(error) => {
                    // Scanners, health checks and clients that know another authority: nothing an operator must see.
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
            let has_room = self.pending.len() < self.patience.pending;
            tokio::select! {
                (stream, client) = Listener::accept(&mut self.tcp), if has_room => self.begin(stream, client),
                Some(ended) = self.pending.join_next() => {
                    // Else it was refused, or it panicked: one connection's misfortune.
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
