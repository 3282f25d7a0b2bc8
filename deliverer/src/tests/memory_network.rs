//! A network in memory, under paused time. It records exactly which addresses were dialled, and how many bytes the client
//! read.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt as _, future::BoxFuture};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf},
    time::Instant,
};

use super::{defaults, fixture::delivery, poster, prepared};
use crate::{
    DelivererConfig,
    outcome::Outcome,
    post::{Dial, LookUp, LookUpError, Network, Poster, PreparedEndpoint},
};

/// What a receiver does with a connection.
pub(super) type Receiver = Arc<dyn Fn(DuplexStream) -> BoxFuture<'static, ()> + Send + Sync>;

/// A step of a receiver.
#[derive(Clone)]
pub(super) enum Step {
    /// Reads until the request's head and a body of two bytes are there.
    Read,
    /// Sends these bytes.
    Send(&'static str),
    /// Sends these bytes again and again.
    Flood(&'static str),
    /// Sends these bytes again and again, so many a second.
    Drip(&'static str, usize),
    /// Does nothing more, and keeps the connection open.
    Hang,
}

/// A receiver that takes these steps on each connection, and then ends it.
pub(super) fn script(steps: &[Step]) -> Receiver {
    let steps: Arc<[Step]> = steps.into();
    Arc::new(move |stream| act(stream, steps.clone()).boxed())
}

async fn act(mut stream: DuplexStream, steps: Arc<[Step]>) {
    for step in steps.iter() {
        match step {
            Step::Read => _ = read_head(&mut stream).await,
            Step::Send(text) => _ = stream.write_all(text.as_bytes()).await,
            Step::Flood(text) => {
                let many = text.repeat(8 * 1024 / text.len() + 1);
                while stream.write_all(many.as_bytes()).await.is_ok() {}
            }
            Step::Drip(text, per_second) => {
                for piece in text.as_bytes().chunks(*per_second).cycle() {
                    if stream.write_all(piece).await.is_err() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
            Step::Hang => std::future::pending().await,
        }
    }
}

/// Reads the head of a request, and the two bytes of its body if it is a POST.
pub(super) async fn read_head(stream: &mut DuplexStream) -> String {
    let mut read = Vec::new();
    while let Ok(byte) = stream.read_u8().await {
        read.push(byte);
        if read.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let head = String::from_utf8(read).expect("a head in ASCII");
    if head.starts_with("POST") {
        let _ = stream.read_exact(&mut [0; 2]).await;
    }
    head
}

/// A poster on a network where every address is the same receiver.
pub(super) struct MemoryNetwork {
    pub(super) poster: Poster,
    bytes_read: Arc<AtomicU64>,
    dialled: Arc<Mutex<Vec<SocketAddr>>>,
}

impl MemoryNetwork {
    /// Resolves no name.
    pub(super) fn without_names(receiver: Receiver) -> Self {
        Self::with_names(receiver, Arc::new(|_| async { Err(LookUpError::NoAddress) }.boxed()), &defaults())
    }

    pub(super) fn with_names(receiver: Receiver, look_up: LookUp, config: &DelivererConfig) -> Self {
        let (bytes_read, dialled) = (Arc::new(AtomicU64::new(0)), Arc::<Mutex<Vec<SocketAddr>>>::default());
        let (bytes, log) = (bytes_read.clone(), dialled.clone());
        let dial: Dial = Arc::new(move |address| {
            log.lock().unwrap().push(address);
            // About as much as the buffers of a socket hold.
            let (ours, theirs) = tokio::io::duplex(16 * 1024);
            tokio::spawn(receiver(theirs));
            let counting = CountingStream { stream: ours, bytes_read: bytes.clone() };
            async { Ok(Box::new(counting) as _) }.boxed()
        });
        Self { poster: poster(Network { dial, look_up }, config).unwrap(), bytes_read, dialled }
    }

    /// Posts two bytes, and measures how long that takes.
    pub(super) async fn post(&self, url: &str) -> (Outcome, Duration) {
        self.post_body(url, Bytes::from_static(b"{}")).await
    }

    pub(super) async fn post_body(&self, url: &str, body: Bytes) -> (Outcome, Duration) {
        self.post_to(&prepared(json!({"id": "crm", "url": url})), body).await
    }

    pub(super) async fn post_to(&self, endpoint: &PreparedEndpoint, body: Bytes) -> (Outcome, Duration) {
        let began = Instant::now();
        let posted = self.poster.post_now(endpoint, &delivery("e1"), &body).await;
        (posted.outcome, began.elapsed())
    }

    /// Bytes that the client has read from all connections.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// The addresses that were dialled.
    pub(super) fn dialled(&self) -> Vec<IpAddr> {
        self.dialled.lock().unwrap().iter().map(SocketAddr::ip).collect()
    }
}

/// Counts the bytes that are read.
struct CountingStream {
    stream: DuplexStream,
    bytes_read: Arc<AtomicU64>,
}

impl AsyncRead for CountingStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.bytes_read.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for CountingStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
