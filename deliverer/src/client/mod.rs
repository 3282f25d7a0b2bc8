//! The client of every request that goes out to an endpoint, and the only place that names one: the connector looks the
//! host up, refuses what leads into the operator's network, and connects to exactly what it checked.
//!
//! It follows no redirect, takes no proxy from the environment, decodes no compression (none is asked for, so that no
//! answer can grow) and judges nothing: what an answer or an error means is [`crate::attempt`]'s. A connection that is
//! kept is one to a checked address; `allow_networks` is read at start, and where a name leads is looked at again as
//! soon as a connection is idle for a minute or ten minutes old.

mod connector;
mod dial;
mod failure;
mod metered;
mod proxy;
mod resolve;
mod tls;

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri, header::PROXY_AUTHORIZATION, uri::Scheme};
use http_body_util::Full;
use hyper_util::{
    client::legacy::{
        self,
        connect::{CaptureConnection, capture_connection},
    },
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::{Instant, timeout_at};

use crate::config::DelivererConfig;

use connector::{Born, Connector};
use metered::{MAX_HEAD, WINDOW};
use resolve::CheckedResolver;

pub(crate) use dial::{Dial, tcp};
pub(crate) use failure::Failure;
/// An answer's body, as it comes.
pub(crate) use hyper::body::Incoming as Body;
pub(crate) use proxy::Proxy;
pub(crate) use resolve::{Ask, ask_system};

/// Idle connections kept per host: as many as can be under way, or a burst would connect anew each time.
const IDLE_PER_HOST: usize = 512;
/// How long a connection is kept idle.
const IDLE: Duration = Duration::from_secs(60);
/// How old a connection may grow that is never idle: where its name leads is looked at again by then, also so that a
/// receiver that moved is followed.
const MAX_AGE: Duration = Duration::from_secs(600);

/// Posts, over one pool of connections.
pub(crate) struct Client {
    http: legacy::Client<Connector, Full<Bytes>>,
    proxy: Option<Arc<Proxy>>,
    first_byte: Duration,
}

/// Where the world begins: tests have their own.
pub(crate) struct Network {
    /// Connects to an address.
    pub(crate) dial: Dial,
    /// Asks for a name.
    pub(crate) ask: Ask,
}

impl Network {
    /// The system's sockets and its resolver.
    pub(crate) fn of_the_system() -> Self {
        use futures_util::FutureExt as _;
        Self { dial: tcp(), ask: Arc::new(|name| ask_system(name).boxed()) }
    }
}

impl Client {
    /// A client with the configured bounds.
    ///
    /// # Errors
    /// When the proxy's URL is none, or the file of certificates cannot be read.
    pub(crate) fn new(config: &DelivererConfig, network: Network) -> anyhow::Result<Self> {
        let proxy = config.proxy.as_deref().map(Proxy::parse).transpose().context("deliverer.proxy")?.map(Arc::new);
        let roots = tls::roots(config.ca_file.as_deref().map(Path::new)).context("deliverer.ca_file")?;
        let connector = Connector {
            dial: network.dial,
            resolver: Arc::new(CheckedResolver::asking(network.ask, config.allow_networks.clone().into())),
            tls: tls::Tls::new(roots),
            proxy: proxy.clone(),
            timeout: config.connect_timeout.0,
            max_unasked: config.max_answer_bytes as u64 + 2 * MAX_HEAD as u64,
        };
        let http = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .http1_max_buf_size(MAX_HEAD)
            .http2_initial_stream_window_size(WINDOW)
            .http2_initial_connection_window_size(4 * WINDOW)
            .http2_max_header_list_size(MAX_HEAD as u32)
            .build(connector);
        Ok(Self { http, proxy, first_byte: config.first_byte_timeout.0 })
    }

    /// One POST. Returns with the answer's head, within the time for the first byte and before `deadline`.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(crate) async fn post(
        &self,
        url: &Uri,
        headers: HeaderMap,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Response<Body>, Failure> {
        let until = deadline.min(Instant::now() + self.first_byte);
        match timeout_at(until, self.send(url, &headers, &body)).await {
            // Refused before it was looked at, by a receiver that closes its connection: once more, over another.
            Ok(Err(failure)) if failure.is_untouched() => {
                timeout_at(until, self.send(url, &headers, &body)).await.unwrap_or(Err(Failure::NoAnswer))
            }
            Ok(answer) => answer,
            Err(_) => Err(Failure::NoAnswer),
        }
    }

    async fn send(&self, url: &Uri, headers: &HeaderMap, body: &Bytes) -> Result<Response<Body>, Failure> {
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.clone();
        *request.headers_mut() = headers.clone();
        let authorization = self.proxy.as_ref().and_then(|proxy| proxy.authorization());
        if let Some(authorization) = authorization.filter(|_| url.scheme() == Some(&Scheme::HTTP)) {
            request.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
        }
        let mut unanswered = Unanswered(Some(capture_connection(&mut request)));
        let answer = self.http.request(request).await.map_err(Failure::Client)?;
        let captured = unanswered.0.take();
        let born = answer.extensions().get::<Born>();
        if born.is_some_and(|born| born.0.elapsed() > MAX_AGE) {
            let _closes_when_idle = Unanswered(captured);
        }
        Ok(answer)
    }
}

/// Dropped before an answer came, it sees to it that its connection is not used again: over HTTP/2 the others would go
/// on to be sent to a receiver that is no longer there.
struct Unanswered(Option<CaptureConnection>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(captured) = self.0.take()
            && let Some(connected) = &*captured.connection_metadata()
        {
            connected.poison();
        }
    }
}
