//! The HTTP client of every request to an endpoint. It follows no redirect, takes no proxy from the environment, and
//! asks for no compression, so that no response can grow while it is read. Each new connection looks its host up anew,
//! if that was not done lately; connections close after a minute of idleness or ten minutes.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Extensions, HeaderMap, Method, Request, Response, Uri, header::PROXY_AUTHORIZATION, uri::Scheme};
use http_body_util::Full;
use hyper_util::{
    client::legacy::{
        Client,
        connect::{CaptureConnection, capture_connection},
    },
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::{Instant, timeout_at};

use crate::config::{DelivererConfig, Proxy};

use super::{
    connector::{Connector, TENANT},
    dial::{Dial, tcp},
    dns::{AddressCheck, LookUp, Names, SystemResolver},
    failure::RequestError,
    idle::{ConnectionUse, IdleConnections},
    metered::{MAX_HEAD, WINDOW},
    tls::{TlsClient, roots},
};

pub(super) use hyper::body::Incoming as ResponseBody;

/// Idle connections kept per host, within `max_idle_connections` of all hosts. With fewer than can be in flight, every
/// burst would make new connections.
const IDLE_PER_HOST: usize = 512;
const MAX_IDLE: Duration = Duration::from_secs(60);
/// Longest age of a busy connection. A new one looks the name up, and so follows a receiver that has moved.
const MAX_AGE: Duration = Duration::from_secs(600);

pub(super) struct HttpClient {
    http: Client<Connector, Full<Bytes>>,
    proxy: Option<Arc<Proxy>>,
    first_byte_timeout: Duration,
}

/// How connections are made and names are looked up. Tests have their own.
pub(crate) struct Network {
    pub(crate) dial: Dial,
    pub(crate) look_up: LookUp,
}

impl Network {
    pub(crate) fn of_the_system(config: &DelivererConfig) -> Self {
        let resolver = Arc::new(SystemResolver::new(&config.name_servers, config.connect_timeout.0 / 2));
        Self { dial: tcp(), look_up: Arc::new(move |name| resolver.clone().look_up(name).boxed()) }
    }
}

impl HttpClient {
    pub(super) fn new(config: &DelivererConfig, network: Network) -> anyhow::Result<Self> {
        let proxy = config.proxy.as_deref().map(Proxy::parse).transpose().context("deliverer.proxy")?.map(Arc::new);
        let roots = roots(config.ca_file.as_deref().map(Path::new)).context("deliverer.ca_file")?;
        // A quarter of the time is left for the connection.
        let names = Names::new(network.look_up, config.connect_timeout.0 * 3 / 4);
        let connector = Connector {
            dial: network.dial,
            addresses: Arc::new(AddressCheck::new(names, config.allow_networks.clone().into())),
            tls: TlsClient::new(roots),
            proxy: proxy.clone(),
            timeout: config.connect_timeout.0,
            idle: IdleConnections::new(config.max_idle_connections as usize),
            max_unasked: config.max_answer_bytes as u64 + 2 * MAX_HEAD as u64,
        };
        let http = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(MAX_IDLE)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .http1_max_buf_size(MAX_HEAD)
            .http2_initial_stream_window_size(WINDOW)
            .http2_initial_connection_window_size(4 * WINDOW)
            .http2_max_header_list_size(MAX_HEAD as u32)
            .build(connector);
        Ok(Self { http, proxy, first_byte_timeout: config.first_byte_timeout.0 })
    }

    /// Returns with the head of the response, within the timeout for the first byte and before `deadline`. The connection
    /// may be closed once the head is dropped.
    pub(super) async fn post(
        &self,
        tenant: &Arc<str>,
        url: &Uri,
        headers: HeaderMap,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<Response<ResponseBody>, RequestError> {
        let until = deadline.min(Instant::now() + self.first_byte_timeout);
        match timeout_at(until, self.send(tenant, url, &headers, body)).await {
            // The connection was being closed: the request is sent once more, over another one.
            Ok(Err(error)) if error.is_unprocessed() => {
                timeout_at(until, self.send(tenant, url, &headers, body)).await.unwrap_or(Err(RequestError::TimedOut))
            }
            Ok(response) => response,
            Err(_) => Err(RequestError::TimedOut),
        }
    }

    async fn send(
        &self,
        tenant: &Arc<str>,
        url: &Uri,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Response<ResponseBody>, RequestError> {
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.clone();
        *request.headers_mut() = headers.clone();
        let authorization = self.proxy.as_ref().and_then(|proxy| proxy.authorization.as_ref());
        if let Some(authorization) = authorization.filter(|_| url.scheme() == Some(&Scheme::HTTP)) {
            request.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
        }
        let mut connection = PoisonOnDrop(Some(capture_connection(&mut request)));
        let response =
            TENANT.scope(tenant.clone(), self.http.request(request)).await.map_err(|error| {
                match connection.is_surplus() {
                    true => RequestError::Unsent(error),
                    false => RequestError::Client(error),
                }
            })?;
        let captured = connection.0.take();
        let used = response.extensions().get::<ConnectionUse>();
        if used.is_some_and(|used| used.connected_at().elapsed() > MAX_AGE) {
            let _closes_when_idle = PoisonOnDrop(captured);
        }
        Ok(response)
    }
}

/// The connection of a request. Its drop takes the connection out of the pool: over HTTP/2, later requests would
/// otherwise go to a receiver that no longer answers.
struct PoisonOnDrop(Option<CaptureConnection>);

impl PoisonOnDrop {
    /// True when the connection was closed as one too many before the request got it.
    fn is_surplus(&self) -> bool {
        let Some(captured) = &self.0 else { return false };
        let mut extensions = Extensions::new();
        if let Some(connected) = &*captured.connection_metadata() {
            connected.get_extras(&mut extensions);
        }
        extensions.get::<ConnectionUse>().is_some_and(ConnectionUse::is_surplus)
    }
}

impl Drop for PoisonOnDrop {
    fn drop(&mut self) {
        if let Some(captured) = self.0.take()
            && let Some(connected) = &*captured.connection_metadata()
        {
            connected.poison();
        }
    }
}
