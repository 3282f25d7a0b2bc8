//! The endpoints' side: the receiver of `carteiro listen` and the demo, with a recorder of what arrived.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use carteiro::receiver::{self, Answer, Received};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use super::in_time;

/// A receiver that records what arrives. It ends when it is dropped.
pub(crate) struct Receiver {
    base: String,
    recorder: watch::Receiver<Recorder>,
    task: JoinHandle<()>,
}

/// All requests that arrived, in order, and which webhook-ids each endpoint has accepted.
#[derive(Default)]
pub(crate) struct Recorder {
    received: Vec<Received>,
    /// Number of 2xx answers, by path and webhook-id.
    accepted: BTreeMap<String, BTreeMap<String, usize>>,
}

/// The deliveries of events that were accepted, at one endpoint.
#[derive(Debug)]
pub(crate) struct DeliveryCounts {
    /// Events that were answered 202.
    pub(crate) accepted: usize,
    /// Accepted events that the endpoint answered with a 2xx at least once.
    pub(crate) delivered: usize,
    /// Accepted events that the endpoint never answered with a 2xx.
    pub(crate) lost: usize,
    /// 2xx answers beyond the first for the same webhook-id.
    pub(crate) duplicates: usize,
    /// Events that were delivered although they were never answered 202.
    pub(crate) unexpected: usize,
}

impl Receiver {
    /// A receiver that answers as `script` says.
    pub(crate) async fn start(script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        Self::recording(script, |received| received).await
    }

    /// Like [`start`](Self::start), without the bodies, which would fill the memory of the test.
    pub(crate) async fn without_bodies(script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        Self::recording(script, |received| Received { body: Bytes::new(), ..received }).await
    }

    async fn recording(
        script: impl Fn(&Received) -> Answer + Send + Sync + 'static,
        record: impl Fn(Received) -> Received + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let mut receiver = receiver::Receiver::start(listener, Arc::new(script)).expect("an address");
        let base = receiver.url("");
        let (writer, recorder) = watch::channel(Recorder::default());
        let task = tokio::spawn(async move {
            while let Some(received) = receiver.received.recv().await {
                writer.send_modify(|recorder| recorder.add(record(received)));
            }
        });
        Self { base, recorder, task }
    }

    /// A receiver that answers 200 at once.
    pub(crate) async fn accepting() -> Self {
        Self::start(|_| Answer::status(200)).await
    }

    /// A receiver that answers 200 after some time. The slots, divided by it, bound how many arrive a second.
    pub(crate) async fn accepting_after(time: Duration) -> Self {
        Self::start(move |_| Answer::Status(200, time)).await
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Waits until the recorder shows something.
    pub(crate) async fn until(&self, what: &str, is_seen: impl FnMut(&Recorder) -> bool) {
        let mut recorder = self.recorder.clone();
        in_time(what, recorder.wait_for(is_seen)).await.expect("the recording task runs");
    }

    /// Reads something from the recorder.
    pub(crate) fn look<T>(&self, read: impl FnOnce(&Recorder) -> T) -> T {
        read(&self.recorder.borrow())
    }

    /// Counts the deliveries of accepted events at one endpoint.
    pub(crate) fn counts(&self, path: &str, accepted: &BTreeSet<String>) -> DeliveryCounts {
        self.recorder.borrow().counts(path, accepted)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
        if std::thread::panicking() {
            eprintln!("\nwhat arrived: {}", self.recorder.borrow().summary());
        }
    }
}

impl Recorder {
    fn add(&mut self, received: Received) {
        if received.is_accepted() {
            let by_id = self.accepted.entry(received.path.clone()).or_default();
            *by_id.entry(received.header("webhook-id").to_owned()).or_default() += 1;
        }
        self.received.push(received);
    }

    /// All requests to a path, in order, however they were answered.
    pub(crate) fn requests(&self, path: &str) -> Vec<&Received> {
        self.received.iter().filter(|received| received.path == path).collect()
    }

    /// Number of different webhook-ids that an endpoint has answered with a 2xx.
    pub(crate) fn delivered(&self, path: &str) -> usize {
        self.accepted.get(path).map_or(0, BTreeMap::len)
    }

    /// True when an endpoint has answered all of these webhook-ids with a 2xx.
    pub(crate) fn has_all(&self, path: &str, ids: &BTreeSet<String>) -> bool {
        let Some(accepted) = self.accepted.get(path) else { return ids.is_empty() };
        accepted.len() >= ids.len() && ids.iter().all(|id| accepted.contains_key(id))
    }

    /// The numbers of each endpoint, for a test that failed.
    fn summary(&self) -> String {
        let endpoint = |(path, ids): (&String, &BTreeMap<String, usize>)| format!("{path} accepted {}", ids.len());
        let endpoints: Vec<_> = self.accepted.iter().map(endpoint).collect();
        format!("{} requests; {}", self.received.len(), endpoints.join(", "))
    }

    fn counts(&self, path: &str, ids: &BTreeSet<String>) -> DeliveryCounts {
        let empty = BTreeMap::new();
        let accepted = self.accepted.get(path).unwrap_or(&empty);
        let delivered = ids.iter().filter(|id| accepted.contains_key(*id)).count();
        DeliveryCounts {
            accepted: ids.len(),
            delivered,
            lost: ids.len() - delivered,
            duplicates: accepted.values().map(|times| times - 1).sum(),
            unexpected: accepted.keys().filter(|id| !ids.contains(*id)).count(),
        }
    }
}

impl fmt::Display for DeliveryCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accepted, delivered, lost, duplicates, unexpected } = self;
        write!(
            f,
            "{accepted} accepted, {delivered} delivered, {lost} lost, {duplicates} duplicates, {unexpected} unexpected"
        )
    }
}
