//! A receiver that speaks raw TCP, so that it can misbehave in ways in which no HTTP server would.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
};

/// Longer than anything in these tests may take. A test that waits for so long has failed.
pub(super) const LONG: Duration = Duration::from_secs(10);

/// What a receiver does next.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Waits for the end of the request, and hands the request to the test.
    Listen,
    /// Sends these bytes.
    Say(Vec<u8>),
    /// Sends these bytes again and again until the other side is gone.
    Repeat(Vec<u8>),
    /// Sends one byte every 50 ms.
    Drip,
    /// Ends the connection with a reset.
    Reset,
    /// Does nothing until the other side ends the connection.
    Hang,
    /// Waits for the test's signal.
    Wait(watch::Receiver<bool>),
}

impl Act {
    pub(super) fn say(text: impl Into<Vec<u8>>) -> Self {
        Self::Say(text.into())
    }
}

/// A script that reads the request, answers with a status, these header lines and a body, and ends the connection.
pub(super) fn answer(status: u16, headers: &str, body: &str) -> Vec<Act> {
    let length = body.len();
    let text = format!("HTTP/1.1 {status} Whatever\r\n{headers}content-length: {length}\r\n\r\n{body}");
    vec![Act::Listen, Act::say(text)]
}

/// A request as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Method, target, version.
    pub(super) line: String,
    /// Names and values as they were received.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// A running receiver. It ends when it is dropped.
pub(super) struct Scripted {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: mpsc::UnboundedReceiver<Request>,
    task: JoinHandle<()>,
}

impl Scripted {
    /// A receiver whose nth connection follows the nth script; later ones follow the last.
    pub(super) async fn new(scripts: Vec<Vec<Act>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, requests) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let accepted = connections.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let nth = accepted.fetch_add(1, Ordering::Relaxed).min(scripts.len() - 1);
                tokio::spawn(act(stream, scripts[nth].clone(), sender.clone()));
            }
        });
        Self { address, connections, requests, task }
    }

    /// A receiver that answers every request with this status.
    pub(super) async fn answering(status: u16) -> Self {
        Self::new(vec![answer(status, "connection: close\r\n", "")]).await
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    /// The next request; fails when there is none for long.
    pub(super) async fn request(&mut self) -> Request {
        tokio::time::timeout(LONG, self.requests.recv()).await.expect("a request").expect("a receiver")
    }

    /// How many connections were accepted.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn act(mut stream: TcpStream, script: Vec<Act>, requests: mpsc::UnboundedSender<Request>) {
    for act in script {
        match act {
            Act::Listen => match read(&mut stream).await {
                Some(request) => _ = requests.send(request),
                None => return,
            },
            Act::Say(bytes) => _ = stream.write_all(&bytes).await,
            Act::Repeat(bytes) => while stream.write_all(&bytes).await.is_ok() {},
            Act::Drip => {
                while stream.write_all(b".").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            Act::Reset => {
                stream.set_zero_linger().expect("a socket");
                return;
            }
            Act::Hang => _ = stream.read_to_end(&mut Vec::new()).await,
            Act::Wait(mut signal) => _ = signal.wait_for(|given| *given).await,
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).expect("a head in ASCII");
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default().to_owned();
    let headers: Vec<_> = lines
        .map(|line| {
            let (name, value) = line.split_once(": ").expect("a header");
            (name.to_owned(), value.to_owned())
        })
        .collect();
    let mut request = Request { line, headers, body: bytes.split_off(end + 4) };
    let length = request.header("content-length").map_or(0, |length| length.parse().expect("a number"));
    while request.body.len() < length {
        if stream.read_buf(&mut request.body).await.ok()? == 0 {
            return None;
        }
    }
    Some(request)
}
