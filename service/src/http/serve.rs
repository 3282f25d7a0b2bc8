//! Serves a router on a socket.

use std::{any::Any, io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{Method, Uri},
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
use tracing::Instrument as _;

use super::{
    certificate::Certificate,
    config::HttpConfig,
    headers::{REQUEST_ID, request_id},
    origin::{RequestOrigin, Scheme, TrustedProxies},
    tls_listener::{HandshakeLimits, TlsListener},
    unread_body,
    watched::WatchedListener,
};
use crate::{
    chance::{self, Chance},
    config::ConfigError,
    problem::{Code, Problem},
    watchdog::Watchdog,
};

/// Longest path that an answer repeats, in bytes.
const LONGEST_SHOWN_PATH: usize = 100;

/// TLS and trusted proxies of a listener, and what it serves.
#[derive(Clone)]
pub struct ServeOptions {
    serves: &'static str,
    tls: Option<(Arc<Certificate>, TlsAcceptor)>,
    proxies: Vec<IpNet>,
    watchdog: Arc<Watchdog>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self { serves: "", tls: None, proxies: Vec::new(), watchdog: Watchdog::new(Instant::now()) }
    }
}

impl ServeOptions {
    /// Reads the certificate, and fails when its files cannot be used.
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

    /// A sentence about what the listener serves, with which answers about unknown paths end.
    #[must_use]
    pub fn serves(self, serves: &'static str) -> Self {
        Self { serves, ..self }
    }

    pub fn watchdog(&self) -> Arc<Watchdog> {
        self.watchdog.clone()
    }

    fn trusted_proxies(&self) -> TrustedProxies {
        let scheme = if self.tls.is_some() { Scheme::Https } else { Scheme::Http };
        TrustedProxies { proxies: self.proxies.clone(), scheme }
    }
}

/// Adds what every listener needs: problems for unknown routes and panics, and the log line of each request.
///
/// Call it once, after all routes are merged: two routers with fallbacks cannot be merged.
pub fn app(router: Router) -> Router {
    answer_always(router, "").layer(middleware::from_fn(async |request, next: Next| {
        log(request, async |request| next.run(request).await).await
    }))
}

/// Adds the answers for unknown routes, with a sentence about what is served, and for panics.
fn answer_always(router: Router, serves: &'static str) -> Router {
    router
        .fallback(async move |uri: Uri| Problem::new(Code::NotFound).detail(no_such_path(uri.path(), serves)))
        .method_not_allowed_fallback(async |method: Method| {
            Problem::new(Code::MethodNotAllowed).detail(format!("this path takes no {method}"))
        })
        .layer(CatchPanicLayer::custom(answer_panic))
}

/// Serves [`app`]`(router)` until `shutdown` is cancelled and every pending answer is sent. Fails if the listener does.
///
/// Every request has its [`RequestOrigin`] as an extension, and every answer its `x-request-id`. A client that does not
/// read its answer delays the end: bound the wait with [`crate::shutdown::drain`].
pub async fn serve(
    listener: TcpListener,
    router: Router,
    options: ServeOptions,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let context = RequestContext { proxies: options.trusted_proxies(), chance: chance::system() };
    let router = answer_always(router, options.serves)
        .layer(middleware::from_fn_with_state(Arc::new(context), RequestContext::handle));
    match options.tls {
        None => {
            serve_on(
                WatchedListener::new(listener, options.watchdog).tap_io(|stream| disable_nagle(stream)),
                router,
                shutdown,
            )
            .await
        }
        Some((certificate, acceptor)) => {
            let listener = TlsListener::new(listener, acceptor, HandshakeLimits::DEFAULT);
            let listener =
                WatchedListener::new(listener, options.watchdog).tap_io(|stream| disable_nagle(stream.get_ref().0));
            tokio::select! {
                ended = serve_on(listener, router, shutdown) => ended,
                never = certificate.watch() => match never {},
            }
        }
    }
}

fn no_such_path(path: &str, serves: &str) -> String {
    let path = if path.len() <= LONGEST_SHOWN_PATH { format!("path `{path}`") } else { "such path".to_owned() };
    let end = if serves.is_empty() { "" } else { ": " };
    format!("there is no {path} here{end}{serves}")
}

/// Disables Nagle's algorithm, which would delay small answers by 40 ms. A failure is harmless.
fn disable_nagle(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
}

async fn serve_on<L>(
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

/// What a listener adds to each of its requests.
struct RequestContext {
    proxies: TrustedProxies,
    chance: Chance,
}

impl RequestContext {
    /// Handles a request in a span with its id, which the answer repeats, and with its origin. It is one layer, because a
    /// request costs several allocations in each.
    async fn handle(State(context): State<Arc<Self>>, mut request: Request, next: Next) -> Response {
        if let Some(origin) = context.proxies.origin(&request) {
            request.extensions_mut().insert(origin);
        }
        let id = request_id(request.headers(), &context.chance);
        let span = tracing::info_span!("request", request_id = id.to_str().unwrap_or_default());
        let answer =
            unread_body::discard(request, async |request| log(request, async |request| next.run(request).await).await);
        let mut answer = answer.instrument(span).await;
        answer.headers_mut().insert(REQUEST_ID, id);
        answer
    }
}

/// Logs each request with its route pattern, because the path itself may hold the token of a source.
async fn log(request: Request, answer: impl AsyncFnOnce(Request) -> Response) -> Response {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return answer(request).await;
    }
    let begun = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let client = request.extensions().get::<RequestOrigin>().map(|origin| origin.client);
    let answer = answer(request).await;
    let (route, status) = (route.as_ref().map(MatchedPath::as_str), answer.status().as_u16());
    let (client, duration_ms) = (client.map(tracing::field::display), begun.elapsed().as_millis() as u64);
    tracing::debug!(%method, route, status, duration_ms, client, "request.answered");
    answer
}

/// Answers for a handler that panicked. The connection stays open, and the panic hook has logged the location.
fn answer_panic(_: Box<dyn Any + Send>) -> Response {
    Problem::new(Code::Internal).into_response()
}
