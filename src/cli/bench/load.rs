//! The load: events that are published over HTTP, on connections that are kept alive.

use std::{
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Context as _;
use schemas::Secret;
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{connection::Connection, deliveries::Deliveries};

/// The tenant of all events.
const TENANT: &str = "bench";
/// The published event, but for its id: a customer's message to a channel of WHAZING.
const EVENT: &str = include_str!("../../../tests/fixtures/canonical/whazing-channel-message.json");

/// The tenant, whose endpoints all get every event, rendered as WHAZING renders it.
pub(super) fn tenant(endpoints: u32, receiver: SocketAddr) -> Value {
    let endpoint =
        |nth| json!({"id": format!("e{nth}"), "url": format!("http://{receiver}/{nth}"), "format": "whazing"});
    let subscription =
        |nth| json!({"id": format!("s{nth}"), "endpoint_id": format!("e{nth}"), "event_types": ["message.received"]});
    json!({
        "id": TENANT,
        "endpoints": (0..endpoints).map(endpoint).collect::<Vec<_>>(),
        "subscriptions": (0..endpoints).map(subscription).collect::<Vec<_>>(),
    })
}

/// How events are published.
#[derive(Clone)]
pub(super) struct Load {
    pub(super) address: SocketAddr,
    pub(super) key: Secret,
    pub(super) connections: u32,
    /// Number of events in a request.
    pub(super) batch: u64,
    /// Requests a second. None for as many as the connections bear, each with one request under way.
    pub(super) per_second: Option<u32>,
}

/// What all connections share.
struct Shared {
    load: Load,
    deliveries: Arc<Deliveries>,
    /// The event but for its id, from the comma after it.
    event: String,
    begin: Instant,
    first: u64,
    end: u64,
    next: AtomicU64,
}

impl Load {
    /// Publishes the events with these numbers. What is refused is noted and not repeated.
    pub(super) async fn publish(&self, events: Range<u64>, deliveries: &Arc<Deliveries>) -> anyhow::Result<()> {
        let shared = Arc::new(Shared {
            load: self.clone(),
            deliveries: deliveries.clone(),
            event: event_without_id()?,
            begin: Instant::now(),
            first: events.start,
            end: events.end,
            next: AtomicU64::new(events.start),
        });
        let mut connections = JoinSet::new();
        for _ in 0..self.connections {
            connections.spawn(publish(shared.clone()));
        }
        while let Some(ended) = connections.join_next().await {
            ended?.context("publishing events")?;
        }
        Ok(())
    }
}

/// Publishes what no other connection has published, one request after the other.
async fn publish(shared: Arc<Shared>) -> anyhow::Result<()> {
    let Load { address, batch, per_second, .. } = shared.load;
    let mut connection = Connection::new(TcpStream::connect(address).await?)?;
    loop {
        let first = shared.next.fetch_add(batch, Relaxed);
        if first >= shared.end {
            return Ok(());
        }
        let events = first..shared.end.min(first + batch);
        if let Some(per_second) = per_second {
            let nth = (first - shared.first) / batch;
            sleep_until(shared.begin + Duration::from_secs(nth) / per_second).await;
        }
        let request = shared.request(&events);
        events.clone().for_each(|event| shared.deliveries.publishing(event));
        connection.write(request.as_bytes()).await?;
        let answer = connection.read().await?.context("the API closed a connection")?;
        if answer.target() != "202" {
            shared.deliveries.refused(events.end - events.start);
            let why = String::from_utf8_lossy(&answer.body);
            anyhow::ensure!(answer.target() == "429", "the API answered {}: {why}", answer.target());
        }
    }
}

impl Shared {
    fn request(&self, events: &Range<u64>) -> String {
        let texts: Vec<_> =
            events.clone().map(|event| format!("{{\"id\":\"{}\"{}", Deliveries::id(event), self.event)).collect();
        let body = match self.load.batch {
            1 => texts.concat(),
            _ => format!("{{\"events\":[{}]}}", texts.join(",")),
        };
        let Load { address, key, .. } = &self.load;
        format!(
            "POST /v1/tenants/{TENANT}/events HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            key.reveal(),
            body.len()
        )
    }
}

/// The text of the event behind its id.
fn event_without_id() -> anyhow::Result<String> {
    let mut event: serde_json::Map<String, Value> = serde_json::from_str(EVENT)?;
    event.shift_remove("id");
    let text = serde_json::to_string(&event)?;
    Ok(format!(",{}", &text[1..]))
}
