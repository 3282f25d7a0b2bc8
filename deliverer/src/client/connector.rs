//! From a URL to a connection: look up, check, dial, perhaps through a proxy, perhaps with TLS.

use std::{
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
    dial::{Dial, Socket, first},
    failure::NotConnected,
    metered::{MAX_UNASKED_H2, Metered},
    proxy::Proxy,
    resolve::CheckedResolver,
    tls::Tls,
};

/// Connects to what a URL names, if that may be connected to.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) dial: Dial,
    pub(super) resolver: Arc<CheckedResolver>,
    pub(super) tls: Tls,
    pub(super) proxy: Option<Arc<Proxy>>,
    /// Until a connection stands, looking up, proxy and TLS included.
    pub(super) timeout: Duration,
    /// Bytes that may come over HTTP/1.1 without our sending any.
    pub(super) max_unasked: u64,
}

/// When a connection was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Born(pub(super) Instant);

impl Connector {
    async fn connect(self, url: Uri) -> Result<EndpointConnection, NotConnected> {
        let place = Place::of(&url)?;
        let connecting = async {
            let (socket, through_proxy) = match &self.proxy {
                None => (self.direct(&place).await?, false),
                Some(proxy) => (self.through(proxy, &place).await?, !place.tls),
            };
            let secured = if place.tls { self.tls.client(place.host, socket).await? } else { (socket, false) };
            Ok(EndpointConnection::new(secured, through_proxy, self.max_unasked))
        };
        timeout(self.timeout, connecting).await.unwrap_or(Err(NotConnected::TooLate))
    }

    async fn direct(&self, place: &Place<'_>) -> Result<Socket, NotConnected> {
        let addresses = self.resolver.checked(place.host).await?;
        first(&self.dial, addresses, place.port).await.map_err(NotConnected::Tcp)
    }

    /// The operator's own proxy may be anywhere. Behind it names are its to look up, and to refuse; literals are not.
    async fn through(&self, proxy: &Proxy, place: &Place<'_>) -> Result<Socket, NotConnected> {
        self.resolver.check_literal(place.host)?;
        let addresses = self.resolver.unchecked(proxy.host()).await?;
        let socket = first(&self.dial, addresses, proxy.port()).await.map_err(NotConnected::Tcp)?;
        let socket = if proxy.is_tls() { self.tls.to_proxy(proxy.host(), socket).await? } else { socket };
        if place.tls { proxy.tunnel(socket, place.host, place.port).await } else { Ok(socket) }
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = EndpointConnection;
    type Error = NotConnected;
    type Future = BoxFuture<'static, Result<EndpointConnection, NotConnected>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NotConnected>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        Box::pin(self.clone().connect(url))
    }
}

/// What a URL says of where to connect to.
struct Place<'a> {
    /// A name, or an address; IPv6 in brackets.
    host: &'a str,
    port: u16,
    tls: bool,
}

impl<'a> Place<'a> {
    fn of(url: &'a Uri) -> Result<Self, NotConnected> {
        let tls = match url.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(NotConnected::NoUrl),
        };
        let host = url.host().filter(|host| !host.is_empty()).ok_or(NotConnected::NoUrl)?;
        Ok(Self { host, port: url.port_u16().unwrap_or(if tls { 443 } else { 80 }), tls })
    }
}

/// A connection that stands.
pub(super) struct EndpointConnection {
    io: TokioIo<Metered>,
    is_h2: bool,
    through_proxy: bool,
    born: Born,
}

impl EndpointConnection {
    fn new((socket, is_h2): (Socket, bool), through_proxy: bool, max_unasked: u64) -> Self {
        let most = if is_h2 { MAX_UNASKED_H2 } else { max_unasked };
        Self { io: TokioIo::new(Metered::new(socket, most)), is_h2, through_proxy, born: Born(Instant::now()) }
    }
}

impl Connection for EndpointConnection {
    fn connected(&self) -> Connected {
        let connected = Connected::new().proxy(self.through_proxy).extra(self.born);
        if self.is_h2 { connected.negotiated_h2() } else { connected }
    }
}

impl hyper::rt::Read for EndpointConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for EndpointConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
