//! The rest of a request's body, which is read before the request is refused.
//!
//! A connection that is closed with unread bytes is reset, and a client that is still writing its body finds a broken
//! connection instead of the answer (RFC 9112, section 9.6).

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, BodyDataStream},
    extract::Request,
    http::{HeaderMap, header},
    response::Response,
};
use futures_util::{StreamExt as _, stream};
use tokio::time::timeout;

/// Largest announced body that is left alone, in bytes: the buffers of the connection take it.
const SMALL_BODY: u64 = 16 << 10;
/// Largest rest that is read, in bytes. A client that sends more finds a broken connection.
const MAX_REST: usize = 32 << 20;
/// Longest time for the rest to arrive.
const REST_TIMEOUT: Duration = Duration::from_secs(10);

/// Has a request answered, then reads and discards what the handler left of a large body.
pub(super) async fn discard(request: Request, answer: impl AsyncFnOnce(Request) -> Response) -> Response {
    if !may_be_left(request.headers()) {
        return answer(request).await;
    }
    let (parts, body) = request.into_parts();
    let body = Arc::new(Mutex::new(body.into_data_stream()));
    let handlers = body.clone();
    let chunks = stream::poll_fn(move |cx| lock(&handlers).poll_next_unpin(cx));
    let answer = answer(Request::from_parts(parts, Body::from_stream(chunks))).await;
    // An answer that still reads the body has a share in it.
    if let Some(rest) = Arc::into_inner(body) {
        let rest = rest.into_inner().unwrap_or_else(PoisonError::into_inner);
        let _ = timeout(REST_TIMEOUT, read_rest(rest)).await;
    }
    answer
}

/// True when a body is larger than the buffers of a connection, and already on its way. A client that expects `100
/// Continue` sends nothing before the handler reads.
fn may_be_left(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let is_large = length.map_or_else(|| headers.contains_key(header::TRANSFER_ENCODING), |length| length > SMALL_BODY);
    is_large && !headers.contains_key(header::EXPECT)
}

async fn read_rest(mut rest: BodyDataStream) {
    let mut read = 0;
    while let Some(Ok(chunk)) = rest.next().await {
        read += chunk.len();
        if read > MAX_REST {
            return;
        }
    }
}

fn lock(body: &Mutex<BodyDataStream>) -> MutexGuard<'_, BodyDataStream> {
    body.lock().unwrap_or_else(PoisonError::into_inner)
}
