//! A receiver that answers each path in another hostile way, and keeps everything that was sent to it as text.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::{StatusCode, header::LOCATION},
    response::{IntoResponse as _, Response},
};
use tokio::{net::TcpListener, task::JoinHandle};

/// The sentinels in its answers.
#[derive(Clone)]
pub(super) struct EchoTexts {
    /// Text of bodies.
    pub(super) body: String,
    /// Text of headers, also of a redirect's target.
    pub(super) header: String,
}

/// The running receiver. It ends when it is dropped.
pub(super) struct EchoServer {
    /// Address, as `127.0.0.1:1234`.
    pub(super) address: String,
    seen: Arc<Mutex<String>>,
    task: JoinHandle<()>,
}

impl EchoServer {
    pub(super) async fn start(words: EchoTexts) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let seen = Arc::new(Mutex::new(String::new()));
        let app = Router::new().fallback(answer).with_state((words, seen.clone()));
        let task = tokio::spawn(async move {
            // Fails only when the listener does, and then nothing arrives any more.
            let _ = axum::serve(listener, app).await;
        });
        Self { address, seen, task }
    }

    /// Everything that was sent to it: paths, headers and bodies.
    pub(super) fn seen(&self) -> String {
        self.seen.lock().expect("nobody panicked").clone()
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State((words, seen)): State<(EchoTexts, Arc<Mutex<String>>)>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 24).await.unwrap_or_else(|_| Bytes::new());
    let asked = format!("{} {}\n{:?}\n", parts.method, parts.uri, parts.headers);
    *seen.lock().expect("nobody panicked") += &format!("{asked}{}\n", String::from_utf8_lossy(&body));
    let own = [("x-error", words.header.clone())];
    match parts.uri.path().split('/').nth(1).unwrap_or_default() {
        "takes" => (StatusCode::OK, own, words.body).into_response(),
        "fails" => (StatusCode::INTERNAL_SERVER_ERROR, own, words.body).into_response(),
        "gone" => (StatusCode::GONE, own, words.body).into_response(),
        "redirects" => {
            let to = [(LOCATION, format!("http://{}.example/{}", words.header, words.header))];
            (StatusCode::FOUND, to, words.body).into_response()
        }
        "echoes" => (StatusCode::NOT_FOUND, format!("{asked}{}", words.body)).into_response(),
        _ => std::future::pending().await,
    }
}
