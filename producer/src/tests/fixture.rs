//! A producer behind its routes on the memory broker, with tenants, their keys and sources.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{Request, request::Builder},
};
use broker::{Broker as _, Incoming, Queue, memory::Memory};
use schemas::{Key, KeyHash, Scope, SourceConfig, Tenant};
use serde_json::{Value, json};
use service::{SeenConfig, metrics::Registry};
use store::{EventShares, MemoryStore, Outbox, Pulled, Snapshot, TenantSnapshot};
use tower::ServiceExt as _;

use crate::{IntakeDependencies, Producer, ProducerConfig, ProducerMetrics, routes};

/// The time at which every test begins, in unix milliseconds.
pub(super) const NOW: u64 = 1_767_225_600_000;
pub(super) const OPERATOR: &str = "operator's";
pub(super) const EVENTS: &str = "/v1/tenants/acme/events";

pub(super) struct TestIntake {
    pub(super) broker: Memory,
    pub(super) producer: Arc<Producer>,
    pub(super) store: Arc<MemoryStore>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) event_shares: Arc<EventShares>,
    /// Milliseconds since the test began, for the clock.
    pub(super) elapsed_ms: Arc<AtomicU64>,
    registry: Registry,
    app: Router,
}

/// Status, body and `Retry-After`.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
    pub(super) retry_after: Option<String>,
}

impl TestIntake {
    pub(super) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(super) fn with(change: impl FnOnce(&mut ProducerConfig)) -> Self {
        let max_in_flight_bytes = 64 << 20;
        let duplicates = SeenConfig { ids: 10_000, window: Duration::from_secs(600) };
        let mut config =
            ProducerConfig { max_event_bytes: 1 << 20, max_concurrent: 16, max_in_flight_bytes, duplicates };
        change(&mut config);
        let (broker, registry) = (Memory::calm(Arc::new(|| NOW)), Registry::default());
        let metrics = ProducerMetrics::register(&registry).unwrap();
        let draws = AtomicU64::new(0);
        let chance = Arc::new(move || draws.fetch_add(1, Ordering::Relaxed) as f64 / 1_048_576.0);
        let shared = Arc::new(broker.clone());
        let store = Arc::new(store_that_a_pull_completes());
        let elapsed_ms = Arc::new(AtomicU64::new(0));
        let elapsed = elapsed_ms.clone();
        let clock: service::Clock = Arc::new(move || NOW + elapsed.load(Ordering::Relaxed));
        let deps = (clock, chance as service::Chance);
        let producer = Producer::new(&config, shared.clone(), Some(store.clone()), metrics.clone(), deps);
        let (outbox, event_shares) = (Arc::new(Outbox::new("p")), Arc::<EventShares>::default());
        let deps = IntakeDependencies {
            broker: shared,
            store: store.clone(),
            operator: Some(KeyHash::of(OPERATOR)),
            event_shares: event_shares.clone(),
            outbox: outbox.clone(),
        };
        let app = service::http::app(routes(&config, producer.clone(), deps, metrics));
        Self { broker, producer, store, outbox, event_shares, elapsed_ms, registry, app }
    }

    /// Posts JSON as the tenant's publisher.
    pub(super) async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.send(request(path).header("authorization", "Bearer publisher's"), body).await
    }

    pub(super) async fn send(&self, request: Builder, body: impl Into<Body>) -> Answer {
        let answer = self.app.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let retry_after = answer.headers().get("retry-after").map(|wait| wait.to_str().unwrap().to_owned());
        let status = answer.status().as_u16();
        let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        Answer { status, body: serde_json::from_slice(&body).unwrap(), retry_after }
    }

    /// All that was published, in order.
    pub(super) async fn published(&self) -> Vec<Incoming> {
        let mut consumer = self.broker.consume(Queue::Ingest, u16::MAX.into());
        let mut published = Vec::new();
        for _ in 0..self.broker.depth(Queue::Ingest) {
            published.push(consumer.next().await.unwrap());
        }
        published
    }

    pub(super) fn nothing_published(&self) -> bool {
        self.broker.depth(Queue::Ingest) == 0
    }

    /// The line of a metric, as Prometheus reads it.
    pub(super) fn counts(&self, line: &str) -> bool {
        self.registry.encode().unwrap().lines().any(|known| known == line)
    }
}

impl Answer {
    pub(super) fn code(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or_default())
    }

    pub(super) fn pointers(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect()
    }
}

/// A POST of JSON, without a key.
pub(super) fn request(path: &str) -> Builder {
    Request::post(path).header("content-type", "application/json")
}

/// A store that has the keys and sources called `new…` only after it was pulled.
fn store_that_a_pull_completes() -> MemoryStore {
    let store = MemoryStore::without_snapshot();
    store.set_snapshot(tenants(false));
    let complete = Arc::new(tenants(true));
    store.when_pulled(move || Pulled::Snapshot(complete.clone()));
    store
}

fn tenants(with_new: bool) -> Snapshot {
    let known = |id: &str| with_new || !id.starts_with("new");
    let key =
        |id: &str, scope| Key { id: id.into(), name: None, scopes: vec![scope], hash: KeyHash::of(id), old_hash: None };
    let tenant = |id: &str, mut keys: Vec<Key>, sources: Vec<SourceConfig>| {
        keys.retain(|key| known(&key.id));
        let sources = sources.into_iter().filter(|source| known(&source.id)).collect();
        Arc::new(Tenant { sources, keys, ..Tenant::new(id) }.into())
    };
    let keys = vec![key("publisher's", Scope::Publish), key("reader's", Scope::Read), key("new one's", Scope::Publish)];
    let sources = vec![
        source(json!({"id": "main", "dialect": "whazing", "channel_id": 7, "token": "t-main"})),
        source(json!({"id": "shop", "dialect": "boticario", "channel_id": "b1", "token": "t-shop"})),
        source(json!({"id": "bare", "dialect": "whazing", "token": "t-bare", "keep_original": false})),
        source(json!({"id": "safe", "dialect": "whaticket", "token": "t-safe", "n8n_api_key": "k"})),
        source(json!({
            "id": "rotated", "dialect": "whaticket", "token": "t-young", "keep_original": false,
            "old_token": {"secret": "t-aged", "until": "2026-02-01T00:00:00Z"},
        })),
        source(json!({"id": "new", "dialect": "whazing", "token": "t-new"})),
    ];
    let mut slow = TenantSnapshot::clone(&tenant(
        "slow",
        vec![key("slow's", Scope::Publish)],
        vec![source(json!({"id": "main", "dialect": "whazing", "channel_id": 7, "token": "t-slow"}))],
    ));
    slow.quota.events_per_second = Some(2.0);
    let zeta = tenant("zeta", vec![key("zeta's", Scope::Publish)], vec![]);
    Snapshot::new(1, [tenant("acme", keys, sources), zeta, Arc::new(slow)])
}

fn source(json: Value) -> SourceConfig {
    serde_json::from_value(json).unwrap()
}
