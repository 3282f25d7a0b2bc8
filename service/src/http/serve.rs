//! From a router to answers on a socket.

use std::io;
use std::panic::AssertUnwindSafe;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use futures_util::FutureExt;
use tokio::net::TcpListener;

use crate::problem::{Code, Problem};
use crate::shutdown::Shutdown;

/// `router`, with problems for what it does not have and for handlers that panic.
///
/// Call once, after all routes are added or merged: two routers with fallbacks cannot be merged.
pub fn app(router: Router) -> Router {
    router
        .fallback(async || Problem::new(Code::NotFound))
        .method_not_allowed_fallback(async || Problem::new(Code::MethodNotAllowed))
        .layer(middleware::from_fn(catch_panic))
}

/// Serves [`app`]`(router)` until `shutdown` is requested and every answer under way is sent. Fails if the listener does.
///
/// A client that does not read its answer can hold this up: give it a limit with [`crate::shutdown::drain`].
pub async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown) -> io::Result<()> {
    let listener = listener.tap_io(|stream| {
        // An answer is one small write; waiting to fill a packet would add 40 ms to it. Failing is harmless.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, app(router)).with_graceful_shutdown(async move { shutdown.requested().await }).await
}

/// A panic is one request's misfortune, not its connection's. The panic hook has logged where it happened.
async fn catch_panic(request: Request, next: Next) -> Response {
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    answer.unwrap_or_else(|_| Problem::new(Code::Internal).into_response())
}
