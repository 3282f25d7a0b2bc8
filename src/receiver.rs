//! A receiver of webhooks, shared by `carteiro listen`, the demo and the tests, so that the tests cover it.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Largest body of a request, in bytes: as large as carteiro publishes.
const MAX_BODY: usize = 16 * 1024 * 1024;

#[derive(Clone, Debug)]
pub struct Received {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Status of the answer; none if it was never answered.
    pub status: Option<u16>,
    /// Time at which the body had arrived.
    pub at: Instant,
}

impl Received {
    /// A header as text; empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub fn is_accepted(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

#[derive(Clone, Debug)]
pub enum Answer {
    /// A status, after a delay.
    Status(u16, Duration),
    /// A status with this `Retry-After`, at once.
    RetryAfter(u16, String),
    /// No answer while the receiver runs.
    Hang,
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self::Status(status, Duration::ZERO)
    }
}

pub type Script = Arc<dyn Fn(&Received) -> Answer + Send + Sync>;

/// A running receiver. Its drop ends it: requests without an answer get 503, so that their sender can end, too.
pub struct Receiver {
    pub address: SocketAddr,
    /// Requests in the order of their arrival.
    pub received: mpsc::UnboundedReceiver<Received>,
    task: tokio::task::JoinHandle<()>,
    _end: DropGuard,
}

impl Receiver {
    /// Answers every request to `listener` as `script` chooses. Fails when the listener has no address.
    pub fn start(listener: TcpListener, script: Script) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let (sender, received) = mpsc::unbounded_channel();
        let end = CancellationToken::new();
        let app = axum::Router::new().fallback(receive).with_state((script, sender, end.clone()));
        let task = tokio::spawn(async move {
            // A failure means that the listener is broken, and no more requests can arrive.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { address, received, task, _end: end.drop_guard() })
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(
    State((script, sender, end)): State<(Script, mpsc::UnboundedSender<Received>, CancellationToken)>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, MAX_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let path = parts.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let mut received = Received { path, headers: parts.headers, body, status: None, at: Instant::now() };
    let (status, after, headers) = match script(&received) {
        Answer::Status(status, after) => (status, after, None),
        Answer::RetryAfter(status, text) => (status, Duration::ZERO, Some([(header::RETRY_AFTER, text)])),
        Answer::Hang => {
            let _ = sender.send(received);
            end.cancelled().await;
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    };
    if !after.is_zero() && end.run_until_cancelled(tokio::time::sleep(after)).await.is_none() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    received.status = Some(status);
    // The send fails if the channel's receiver was dropped. The request is answered anyway.
    let _ = sender.send(received);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (
        status,
        headers.map_or_else(HeaderMap::new, |[(name, text)]| {
            text.parse().map_or_else(|_| HeaderMap::new(), |value| HeaderMap::from_iter([(name, value)]))
        }),
        Body::empty(),
    )
        .into_response()
}
