//! From a router to answers on a socket.

use std::{any::Any, io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    serve::{Listener, ListenerExt},
};
use ipnet::IpNet;
use tokio::{
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use super::{
    certificate::Certificate,
    config::HttpConfig,
    handshake::{Patience, TlsListener},
    origin::{RequestOrigin, Scheme, Trust},
    request_id::identify,
    watched::WatchedListener,
};
use crate::{
    chance,
    config::ConfigError,
    problem::{Code, Problem},
    watchdog::Watchdog,
};

/// How a listener is spoken to: in the clear or over TLS, directly or through proxies.
#[derive(Clone)]
pub struct ServeOptions {
    tls: Option<(Arc<Certificate>, TlsAcceptor)>,
    proxies: Vec<IpNet>,
    watchdog: Arc<Watchdog>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self { tls: None, proxies: Vec::new(), watchdog: Watchdog::new(Instant::now()) }
    }
}

impl ServeOptions {
    /// As configured, with the certificate read.
    ///
    /// # Errors
    /// When its files cannot be used.
    pub async fn new(config: &HttpConfig) -> Result<Self, ConfigError> {
        let tls = match &config.tls {
            Some(files) => {
                let certificate = Certificate::load(files).await?;
                let acceptor = TlsAcceptor::from(Arc::new(certificate.server()?));
                Some((certificate, acceptor))
            }
            None => None,
        };
        Ok(Self { tls, proxies: config.trusted_proxies.clone(), ..Self::default() })
    }

    /// The watchdog of the loop that accepts connections.
    pub fn watchdog(&self) -> Arc<Watchdog> {
        self.watchdog.clone()
    }

    fn trust(&self) -> Trust {
        let scheme = if self.tls.is_some() { Scheme::Https } else { Scheme::Http };
        Trust { proxies: self.proxies.clone(), scheme }
    }
}

/// `router`, with problems for what it does not have and for handlers that panic.
///
/// Call once, after all routes are added or merged: two routers with fallbacks cannot be merged.
pub fn app(router: Router) -> Router {
    router
        .fallback(async || Problem::new(Code::NotFound))
        .method_not_allowed_fallback(async || Problem::new(Code::MethodNotAllowed))
        .layer(CatchPanicLayer::custom(answer_panic))
        .layer(middleware::from_fn(log))
}

/// Serves [`app`]`(router)` until `shutdown` is requested and every answer under way is sent. Fails if the listener does.
///
/// Every request has its [`RequestOrigin`] as an extension, and every answer its `x-request-id`. A client that does not read its answer can hold this up: give it a
/// limit with [`crate::shutdown::drain`].
pub async fn serve(
    listener: TcpListener,
    router: Router,
    front: ServeOptions,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let router = app(router)
        .layer(middleware::from_fn_with_state(Arc::new(front.trust()), find_origin))
        .layer(middleware::from_fn_with_state(chance::system(), identify));
    match front.tls {
        None => {
            answer(WatchedListener::new(listener, front.watchdog).tap_io(|stream| at_once(stream)), router, shutdown)
                .await
        }
        Some((certificate, acceptor)) => {
            let listener = TlsListener::new(listener, acceptor, Patience::DEFAULT);
            let listener = WatchedListener::new(listener, front.watchdog).tap_io(|stream| at_once(stream.get_ref().0));
            tokio::select! {
                ended = answer(listener, router, shutdown) => ended,
                never = certificate.watch() => match never {},
            }
        }
    }
}

/// An answer is one small write; waiting to fill a packet would add 40 ms to it. Failing is harmless.
fn at_once(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
}

async fn answer<L>(
    listener: axum::serve::TapIo<L, impl FnMut(&mut L::Io) + Send + 'static>,
    router: Router,
    shutdown: CancellationToken,
) -> io::Result<()>
where
    L: Listener<Addr = SocketAddr>,
{
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(async move { shutdown.cancelled().await }).await
}

async fn find_origin(State(trust): State<Arc<Trust>>, mut request: Request, next: Next) -> Response {
    if let Some(origin) = trust.origin(&request) {
        request.extensions_mut().insert(origin);
    }
    next.run(request).await
}

/// One line for each request. The route is the pattern that it matched: its path may hold a source's token.
async fn log(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let client = request.extensions().get::<RequestOrigin>().map(|origin| origin.client);
    let answer = next.run(request).await;
    let (route, status) = (route.as_ref().map(MatchedPath::as_str), answer.status().as_u16());
    let (client, duration_ms) = (client.map(tracing::field::display), begun.elapsed().as_millis() as u64);
    tracing::debug!(%method, route, status, duration_ms, client, "request.answered");
    answer
}

/// The answer of a handler that panicked. Its connection goes on, and the panic hook has logged where it happened.
fn answer_panic(_: Box<dyn Any + Send>) -> Response {
    Problem::new(Code::Internal).into_response()
}
