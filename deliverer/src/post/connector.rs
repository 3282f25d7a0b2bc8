//! Makes a connection for a URL: looks the host up, checks its addresses, dials exactly these (or the proxy), and
//! starts TLS.

use std::{
    io,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::{Uri, uri::Scheme};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use tokio::time::{Instant, timeout};

use super::{
    details::Connecting,
    dial::{Dial, Socket, first},
    dns::{AddressCheck, literal},
    failure::ConnectError,
    idle::{ConnectionUse, IdleConnections, PooledConnection},
    metered::{MAX_UNASKED_H2, Metered},
    proxy::tunnel,
    tls::TlsClient,
};
use crate::config::Proxy;

tokio::task_local! {
    /// The tenant whose request is polled. hyper's client gives the connector nothing but the URL, and calls it while it
    /// polls the request that needs a connection. Later requests may use that connection, whatever their tenant.
    pub(super) static TENANT: Arc<str>;
}

#[derive(Clone)]
pub(super) struct Connector {
    pub(super) dial: Dial,
    pub(super) addresses: Arc<AddressCheck>,
    pub(super) tls: TlsClient,
    pub(super) proxy: Option<Arc<Proxy>>,
    /// Includes the look-up, the proxy and TLS.
    pub(super) timeout: Duration,
    pub(super) idle: Arc<IdleConnections>,
    /// Bytes that may arrive over HTTP/1.1 before we send something again.
    pub(super) max_unasked: u64,
}

impl Connector {
    async fn connect(self, url: Uri, tenant: Arc<str>) -> Result<EndpointConnection, ConnectError> {
        let destination = Destination::of(&url)?;
        let connecting = async {
            let ((socket, mut connecting), through_proxy) = match &self.proxy {
                None => (self.direct(&destination, &tenant).await?, false),
                Some(proxy) => (self.through(proxy, &destination, &tenant).await?, !destination.is_tls),
            };
            let secured = if destination.is_tls {
                let began = Instant::now();
                let secured = self.tls.to_endpoint(destination.host, socket).await?;
                connecting.tls = Some(began.elapsed());
                secured
            } else {
                (socket, false)
            };
            Ok(EndpointConnection::new(secured, through_proxy, self.max_unasked, self.idle.connected(connecting)))
        };
        timeout(self.timeout, connecting).await.unwrap_or(Err(ConnectError::TimedOut))
    }

    async fn direct(&self, destination: &Destination<'_>, tenant: &str) -> Result<(Socket, Connecting), ConnectError> {
        let began = Instant::now();
        let addresses = self.addresses.checked(destination.host, tenant).await?;
        self.open(addresses, destination.host, destination.port, began).await
    }

    /// Dials the addresses of a host that was looked up from a time on.
    async fn open(
        &self,
        addresses: Vec<IpAddr>,
        host: &str,
        port: u16,
        began: Instant,
    ) -> Result<(Socket, Connecting), ConnectError> {
        let dns = literal(host).is_none().then(|| began.elapsed());
        let began = Instant::now();
        let (socket, address) = first(&self.dial, addresses, port).await.map_err(ConnectError::Tcp)?;
        Ok((socket, Connecting { dns, connect: began.elapsed(), tls: None, address }))
    }

    /// The operator's proxy may have any address. It looks names up, so only it can refuse where they lead; a host that
    /// is an address is still checked here.
    async fn through(
        &self,
        proxy: &Proxy,
        destination: &Destination<'_>,
        tenant: &str,
    ) -> Result<(Socket, Connecting), ConnectError> {
        self.addresses.check_literal(destination.host)?;
        let began = Instant::now();
        let addresses = self.addresses.unchecked(&proxy.host, tenant).await?;
        let (socket, connecting) = self.open(addresses, &proxy.host, proxy.port, began).await?;
        let socket = if proxy.is_tls { self.tls.to_proxy(&proxy.host, socket).await? } else { socket };
        let socket = match destination.is_tls {
            true => tunnel(proxy, socket, destination.host, destination.port).await?,
            false => socket,
        };
        Ok((socket, connecting))
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = EndpointConnection;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<EndpointConnection, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        Box::pin(self.clone().connect(url, TENANT.try_with(Arc::clone).unwrap_or_default()))
    }
}

struct Destination<'a> {
    /// A name, or an address; IPv6 addresses are in brackets.
    host: &'a str,
    port: u16,
    is_tls: bool,
}

impl<'a> Destination<'a> {
    fn of(url: &'a Uri) -> Result<Self, ConnectError> {
        let is_tls = match url.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(ConnectError::InvalidUrl),
        };
        let host = url.host().filter(|host| !host.is_empty()).ok_or(ConnectError::InvalidUrl)?;
        Ok(Self { host, port: url.port_u16().unwrap_or(if is_tls { 443 } else { 80 }), is_tls })
    }
}

/// An open connection to an endpoint, or to the proxy on its behalf.
pub(super) struct EndpointConnection {
    io: TokioIo<Metered>,
    is_h2: bool,
    through_proxy: bool,
    state: Arc<PooledConnection>,
}

impl EndpointConnection {
    fn new(
        (socket, is_h2): (Socket, bool),
        through_proxy: bool,
        max_unasked: u64,
        state: Arc<PooledConnection>,
    ) -> Self {
        let max_unasked = if is_h2 { MAX_UNASKED_H2 } else { max_unasked };
        let io = TokioIo::new(Metered::new(socket, max_unasked));
        Self { io, is_h2, through_proxy, state }
    }

    /// A connection that was closed as one too many sends nothing: its request goes over another one.
    fn check_open(&self) -> io::Result<()> {
        if self.state.is_surplus() { Err(io::ErrorKind::NotConnected.into()) } else { Ok(()) }
    }
}

impl Drop for EndpointConnection {
    fn drop(&mut self) {
        self.state.end();
    }
}

impl Connection for EndpointConnection {
    fn connected(&self) -> Connected {
        let connected = Connected::new().proxy(self.through_proxy).extra(ConnectionUse::of(&self.state));
        if self.is_h2 { connected.negotiated_h2() } else { connected }
    }
}

impl hyper::rt::Read for EndpointConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.state.poll_surplus(cx) {
            // As if the receiver had closed it.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for EndpointConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check_open()?;
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_open()?;
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use hyper::rt::{Read as _, ReadBuf, Write as _};
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_was_closed_as_one_too_many_is_at_its_end_and_sends_nothing() {
        let table = IdleConnections::new(0);
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut connection =
            EndpointConnection::new((Box::new(ours), true), false, 64, table.connected(Connecting::in_memory()));
        let mut bytes = [0; 8];
        let mut buffer = ReadBuf::new(&mut bytes);
        let used = ConnectionUse::of(&connection.state);
        let mut reading = Box::pin(poll_fn(|cx| Pin::new(&mut connection).poll_read(cx, buffer.unfilled())));
        assert!(futures_util::poll!(&mut reading).is_pending(), "it is open");
        drop(used.clone());
        reading.await.unwrap();
        assert!(buffer.filled().is_empty());
        let written = poll_fn(|cx| Pin::new(&mut connection).poll_write(cx, b"POST")).await;
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::NotConnected);
        assert!(used.is_surplus());
        drop(connection);
        assert_eq!(theirs.read(&mut [0; 8]).await.unwrap(), 0, "nothing was sent");
    }
}
