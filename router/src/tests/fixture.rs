//! The fixture of the router's tests: a store, events, and the router itself on a broker that records what happens.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use broker::{Broker, DirectDelivery, Lane, Log, Queue, Record, Settlement, Target, memory::Memory};
use history::Recorder;
use schemas::{Delivery, HeaderValue, Message, Parked, Tenant, wire};
use serde_json::{Value, json};
use service::{Clock, SeenConfig};
use store::{MemoryStore, Outbox, RetentionTable, Snapshot, TenantSnapshot};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::recording::{RecordingBroker, Step};
use crate::{Router, RouterConfig, RouterMetrics};

/// Start of the tests' clock, in unix milliseconds.
pub(super) const START: u64 = 1_790_000_000_000;
/// More ids than any test sends, for less than an hour.
const SEEN: SeenConfig = SeenConfig { ids: 10_000, window: Duration::from_secs(600) };
/// Largest body that is published, in bytes.
pub(super) const MAX_PUBLISHED: usize = 64 * 1024;

/// Tenants as JSON describes them.
fn tenants(tenants: &Value) -> Vec<Tenant> {
    serde_json::from_value(tenants.clone()).expect("tenants")
}

/// The snapshot at revision 2, for a pull to find.
pub(super) fn second_snapshot(described: &Value) -> Arc<Snapshot> {
    let tenants = tenants(described).into_iter().map(|tenant| Arc::new(TenantSnapshot::from(tenant)));
    Arc::new(Snapshot::new(2, tenants))
}

/// An event to be published to the ingest queue.
pub(super) struct Sent {
    pub(super) key: String,
    pub(super) message: Message,
}

/// A message received on channel 7, in the ticket 42, accepted when the clock started.
pub(super) fn received(id: &str) -> Sent {
    event(
        id,
        &json!({"type": "message.received", "channel": {"id": 7}, "ticket": {"id": 42, "status": "open"},
        "message": {"id": "m", "direction": "inbound", "body": "Olá"}}),
    )
}

/// The same event of another tenant.
pub(super) fn of_tenant(tenant: &str, mut sent: Sent) -> Sent {
    sent.key = sent.key.replacen("acme", tenant, 1);
    sent.message.headers.set(wire::TENANT, HeaderValue::Text(tenant.to_owned().into()));
    sent
}

/// An event of the tenant acme.
pub(super) fn event(id: &str, envelope: &Value) -> Sent {
    raw(id, envelope["type"].as_str().unwrap_or("x.y"), envelope.to_string())
}

/// An event of the tenant acme from the fixtures, under the id that it has.
pub(super) fn canonical(text: &'static str) -> Sent {
    let envelope: Value = serde_json::from_str(text).expect("a fixture");
    let text_of = |key: &str| envelope[key].as_str().expect("a text").to_owned();
    raw(&text_of("id"), &text_of("type"), text)
}

/// Any body.
pub(super) fn raw(id: &str, kind: &str, body: impl Into<bytes::Bytes>) -> Sent {
    let mut message = Message { id: id.to_owned(), kind: kind.to_owned(), body: body.into(), ..Message::default() };
    message.headers.set(wire::SCHEMA, HeaderValue::Int(wire::SCHEMA_VERSION));
    message.headers.set(wire::TENANT, HeaderValue::Text("acme".into()));
    message.headers.set(wire::ACCEPTED_AT, HeaderValue::Int(i64::try_from(START).unwrap()));
    Sent { key: format!("acme.7.-.{kind}"), message }
}

/// The tenant acme with these endpoints and subscriptions.
pub(super) fn acme(endpoints: &Value, subscriptions: &Value) -> Value {
    let endpoints: Vec<_> = endpoints
        .as_array()
        .unwrap()
        .iter()
        .map(|endpoint| {
            let mut endpoint = endpoint.clone();
            endpoint["url"] = json!("https://receiver.example");
            endpoint
        })
        .collect();
    json!([{"id": "acme", "endpoints": endpoints, "subscriptions": subscriptions}])
}

/// One endpoint, `crm`, that receives all events.
pub(super) fn one() -> Value {
    acme(&json!([{"id": "crm"}]), &json!([{"id": "all", "endpoint_id": "crm", "event_types": ["*"]}]))
}

/// A clock that runs with tokio's.
fn clock() -> Clock {
    let started = Instant::now();
    Arc::new(move || START + u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// A running router.
pub(super) struct Fixture {
    pub(super) memory: Memory,
    pub(super) store: Arc<MemoryStore>,
    pub(super) metrics: RouterMetrics,
    pub(super) outbox: Arc<Outbox>,
    pub(super) retention: Arc<RetentionTable>,
    pub(super) parked_retention: Arc<RetentionTable>,
    recording: RecordingBroker,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Fixture {
    /// With these tenants.
    pub(super) fn of(tenants: &Value) -> Self {
        let fixture = Self::without_snapshot();
        fixture.set_tenants(tenants);
        fixture
    }

    /// With these tenants, on a broker that hands out everything once and in order.
    pub(super) fn calm(tenants: &Value) -> Self {
        let clock = clock();
        let fixture = Self::on(Memory::calm(clock.clone()), Arc::new(MemoryStore::without_snapshot()), clock, None);
        fixture.set_tenants(tenants);
        fixture
    }

    /// With these tenants and a deliverer in the same process, on a broker that hands out everything once and in order.
    pub(super) fn beside(deliverer: Arc<dyn DirectDelivery>, tenants: &Value) -> Self {
        let (clock, store) = (clock(), Arc::new(MemoryStore::without_snapshot()));
        let fixture = Self::on(Memory::calm(clock.clone()), store, clock, Some(deliverer));
        fixture.set_tenants(tenants);
        fixture
    }

    /// From now on there are these tenants.
    pub(super) fn set_tenants(&self, described: &Value) {
        self.store.set_tenants(tenants(described));
    }

    /// Before the store has been read for the first time.
    pub(super) fn without_snapshot() -> Self {
        let clock = clock();
        Self::on(Memory::hostile(clock.clone(), 11), Arc::new(MemoryStore::without_snapshot()), clock, None)
    }

    /// Stops the router and starts another one on the same broker and store.
    pub(super) async fn restarted(self) -> Self {
        let store = self.store.clone();
        Self::on(self.stop().await, store, clock(), None)
    }

    fn on(memory: Memory, store: Arc<MemoryStore>, clock: Clock, direct: Option<Arc<dyn DirectDelivery>>) -> Self {
        let recording = RecordingBroker::on(&memory);
        let metrics = RouterMetrics::register(&Default::default()).unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let config = RouterConfig {
            prefetch: 20,
            max_in_flight_bytes: u32::MAX,
            max_fan_out: 200,
            direct: true,
            duplicates: SEEN,
        };
        let (outbox, retention) = (Arc::new(Outbox::new("p")), Arc::new(RetentionTable::default()));
        let parked_retention = Arc::new(RetentionTable::default());
        let fixture = crate::RouterDependencies {
            broker: Arc::new(recording.clone()),
            store: store.clone(),
            outbox: outbox.clone(),
            retention: retention.clone(),
            parked_retention: parked_retention.clone(),
            direct,
            recorder: Recorder::off(),
            clock,
            stop: stopped,
        };
        let router = Router::new(config, MAX_PUBLISHED, fixture, metrics.clone());
        let running = tokio::spawn(router.run());
        Self { memory, store, metrics, outbox, retention, parked_retention, recording, stop, running }
    }

    pub(super) async fn publish(&self, sent: &Sent) {
        let target = Target::Ingest { key: sent.key.clone() };
        Broker::publish(&self.memory, &target, &sent.message).await.expect("taken");
    }

    /// Publishes it and waits until it is settled.
    pub(super) async fn route(&self, sent: &Sent) {
        self.publish(sent).await;
        self.idle().await;
    }

    /// Waits until both queues of events are empty. Paused time passes only while no other task can run.
    pub(super) async fn idle(&self) {
        while self.memory.depth(Queue::Ingest) + self.memory.depth(Queue::IngestSlow) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Takes all deliveries out of the fast lane, repeats counted once.
    pub(super) async fn deliveries(&self) -> BTreeMap<Uuid, (Delivery, Message)> {
        self.deliveries_in(Lane::Fast).await
    }

    /// Takes all deliveries out of a lane, repeats counted once.
    pub(super) async fn deliveries_in(&self, lane: Lane) -> BTreeMap<Uuid, (Delivery, Message)> {
        let mut consumer = self.memory.consume(Queue::Lane(lane), 100.into());
        let mut deliveries = BTreeMap::new();
        while let Ok(Some(incoming)) = tokio::time::timeout(Duration::from_secs(1), consumer.next()).await {
            let message = incoming.message.clone();
            let delivery = Delivery::from_message(&message).expect("a delivery");
            deliveries.insert(delivery.id, (delivery, message));
            incoming.settle(Settlement::Done);
        }
        deliveries
    }

    /// The endpoints and parts of all deliveries, in order.
    pub(super) async fn addressed(&self) -> Vec<(String, String)> {
        let deliveries = self.deliveries().await.into_values();
        let mut addressed: Vec<_> =
            deliveries.map(|(delivery, _)| (delivery.endpoint_id, delivery.part.to_string())).collect();
        addressed.sort();
        addressed
    }

    /// The records in the parked log, and the messages that carry them.
    pub(super) fn parked(&self) -> Vec<(Parked, Record)> {
        let records = self.memory.records(Log::Parked).into_iter();
        records
            .map(|record| {
                let text = record.message.headers.text(wire::RECORD).expect("a record");
                assert!(text.len() <= 16 * 1024, "{} bytes", text.len());
                (serde_json::from_str(text).expect("a readable record"), record.clone())
            })
            .collect()
    }

    pub(super) fn steps(&self) -> Vec<Step> {
        self.recording.steps()
    }

    /// Asks the router to stop, and waits until it has.
    pub(super) async fn stop(self) -> Memory {
        self.stop.cancel();
        self.running.await.expect("no panic");
        self.memory
    }
}
