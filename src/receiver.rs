//! A receiver of webhooks: `carteiro listen`, the demo and the tests share it, so that what you try is what is tested.

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

/// What is read of a request, at most: as much as carteiro publishes.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// One request that arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// The path and query.
    pub path: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The status it was answered with; none when it never was.
    pub status: Option<u16>,
    /// When its body had arrived.
    pub at: Instant,
}

impl Received {
    /// A header as text; empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Whether it was answered with a 2xx.
    pub fn is_accepted(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

/// How a request is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// With a status, after a while.
    Status(u16, Duration),
    /// With a status and `Retry-After`.
    RetryAfter(u16, String),
    /// Never.
    Hang,
}

impl Answer {
    /// With a status, at once.
    pub fn status(status: u16) -> Self {
        Self::Status(status, Duration::ZERO)
    }
}

/// Decides how a request is answered.
pub type Script = Arc<dyn Fn(&Received) -> Answer + Send + Sync>;

/// A receiver that is listening. It ends when it is dropped.
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    /// What arrived, in order.
    pub received: mpsc::UnboundedReceiver<Received>,
    task: tokio::task::JoinHandle<()>,
}

impl Receiver {
    /// Answers every request that comes to `listener` as `script` says.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn start(listener: TcpListener, script: Script) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let (sender, received) = mpsc::unbounded_channel();
        let app = axum::Router::new().fallback(receive).with_state((script, sender));
        let task = tokio::spawn(async move {
            // Fails only with its listener, and then nothing arrives any more.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { address, received, task })
    }

    /// The URL of a path on it.
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
    State((script, sender)): State<(Script, mpsc::UnboundedSender<Received>)>,
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
            return std::future::pending().await;
        }
    };
    if !after.is_zero() {
        tokio::time::sleep(after).await;
    }
    received.status = Some(status);
    // Nobody looks any more: the answer is due all the same.
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
