//! The configuration over HTTP, on a store in memory.

mod actions;
mod applying;
mod conditions;
mod deleting;
mod endpoint_tests;
mod event_types;
mod explaining;
mod lists;
mod made_anew;
mod permissions;
mod refusals;
mod rotating;
mod secrets;
mod shown_once;
mod signing;
mod status;
mod tenants;
mod usage_and_audit;
mod views;
mod warnings;
mod writing;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request},
};
use broker::memory::Memory;
use history::Recorder;
use schemas::{KeyHash, Quota, Tenant};
use serde_json::{Value, json};
use store::{MemoryStore, Store as _, TenantSnapshot};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

pub(super) use super::fixture::NOW;
use super::fixture::OPERATOR;
use crate::{Control, ControlDependencies, ControlMetrics, Rules, routes};

/// Most sources of a tenant whose quota does not say.
pub(super) const MOST_SOURCES: u64 = 20;

/// An API with two tenants: `acme`, with the keys `manager`, `reader` and `publisher`, and `zeta`, with `zeta-all`.
pub(super) struct Api {
    pub(super) store: Arc<MemoryStore>,
    pub(super) broker: Memory,
    pub(super) control: Arc<Control>,
    /// Unix ms.
    clock: Arc<AtomicU64>,
    app: Router,
    _process: CancellationToken,
}

/// An answer of the API.
#[derive(Debug)]
pub(super) struct ApiAnswer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

/// A request that is being put together.
pub(super) struct ApiRequest<'a> {
    api: &'a Api,
    method: &'static str,
    path: String,
    key: Option<String>,
    headers: Vec<(&'static str, String)>,
    body: Option<String>,
}

impl Api {
    pub(super) fn new() -> Self {
        Self::with(json!([
            {"id": "acme", "keys": [
                key("manager", &["manage", "read"]), key("reader", &["read"]), key("publisher", &["publish"]),
            ]},
            {"id": "zeta", "keys": [key("zeta-all", &["manage", "publish", "read"])]},
        ]))
    }

    pub(super) fn with(tenants: Value) -> Self {
        let tenants: Vec<Tenant> = serde_json::from_value(tenants).unwrap();
        let store = Arc::new(MemoryStore::new(tenants));
        let broker = Memory::calm(Arc::new(|| NOW));
        let config = crate::tests::config();
        let shutdown = CancellationToken::new();
        let process = shutdown.clone();
        let clock = Arc::new(AtomicU64::new(NOW));
        let time = clock.clone();
        let (draws, secrets) = (AtomicU64::new(0), AtomicU8::new(0));
        let quota = Quota { sources: Some(MOST_SOURCES), ..Quota::default() };
        let deps = ControlDependencies {
            broker: Arc::new(broker.clone()),
            store: store.clone(),
            outbox: Arc::new(store::Outbox::new("control")),
            history: None,
            recorder: Recorder::off(),
            operator: Some(KeyHash::of(OPERATOR)),
            clock: Arc::new(move || time.load(Ordering::Relaxed)),
            chance: Arc::new(move || draws.fetch_add(1, Ordering::Relaxed) as f64 / 1_024.0),
            secrets: Arc::new(move || Ok([secrets.fetch_add(1, Ordering::Relaxed); 32])),
            rules: Rules { networks: vec![], max_fan_out: 3, quota },
            retry: schemas::RetryPolicy::default(),
            audit_age: Duration::from_secs(30 * 24 * 60 * 60),
            usage_age: Duration::from_secs(60 * 24 * 60 * 60),
            stop: shutdown.clone(),
        };
        let control = Control::new(&config, deps, ControlMetrics::register(&Default::default()).unwrap());
        control.start_jobs();
        let app = service::http::app(routes(control.clone()));
        Self { store, broker, control, clock, app, _process: process }
    }

    /// Moves the clock forward.
    pub(super) fn pass(&self, hours: u64) {
        self.clock.fetch_add(hours * 3_600_000, Ordering::Relaxed);
    }

    /// The time, in unix milliseconds.
    pub(super) fn now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    /// A request of acme's manager, unless another key is set.
    pub(super) fn call(&self, method: &'static str, path: impl Into<String>) -> ApiRequest<'_> {
        let (headers, path) = (Vec::new(), path.into());
        ApiRequest { api: self, method, path, key: Some("manager".to_owned()), headers, body: None }
    }

    pub(super) async fn get(&self, path: &str) -> ApiAnswer {
        self.call("GET", path).send().await
    }

    pub(super) async fn put(&self, path: &str, body: Value) -> ApiAnswer {
        self.call("PUT", path).json(body).send().await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> ApiAnswer {
        self.call("POST", path).json(body).send().await
    }

    pub(super) async fn patch(&self, path: &str, body: Value) -> ApiAnswer {
        self.call("PATCH", path).json(body).send().await
    }

    pub(super) async fn delete(&self, path: &str) -> ApiAnswer {
        self.call("DELETE", path).send().await
    }

    /// Returns once an operational event of this type was published.
    pub(super) async fn await_event(&self, kind: &str) {
        let mut ingest = broker::Broker::consume(&self.broker, broker::Queue::Ingest, 1.into());
        let incoming = tokio::time::timeout(Duration::from_secs(10), ingest.next()).await;
        let incoming = incoming.expect("an event").unwrap();
        assert_eq!(incoming.message.kind, kind);
        incoming.settle(broker::Settlement::Done);
    }

    /// The tenant as the store has it.
    pub(super) fn tenant(&self, id: &str) -> Arc<TenantSnapshot> {
        self.store.snapshot().unwrap().tenant(id).unwrap().clone()
    }
}

impl ApiRequest<'_> {
    pub(super) fn key(self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self }
    }

    pub(super) fn operator(self) -> Self {
        self.key(OPERATOR)
    }

    pub(super) fn nobody(self) -> Self {
        Self { key: None, ..self }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    #[expect(clippy::needless_pass_by_value, reason = "what is described is given away: the calls read like tables")]
    pub(super) fn json(self, body: Value) -> Self {
        self.text(body.to_string())
    }

    pub(super) fn text(self, body: impl Into<String>) -> Self {
        Self { body: Some(body.into()), ..self }
    }

    pub(super) async fn send(self) -> ApiAnswer {
        let mut request = Request::builder().method(self.method).uri(&self.path);
        if self.body.is_some() && !self.headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Body::from(self.body.unwrap_or_default())).unwrap();
        let answer = self.api.app.clone().oneshot(request).await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = axum::body::to_bytes(answer.into_body(), 1 << 22).await.unwrap();
        ApiAnswer { status, headers, body: serde_json::from_slice(&body).unwrap_or_default() }
    }
}

impl ApiAnswer {
    pub(super) fn etag(&self) -> &str {
        self.headers.get("etag").map_or("", |tag| tag.to_str().unwrap())
    }

    pub(super) fn code(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or_default())
    }

    /// The pointers of the problem's errors.
    pub(super) fn pointers(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().into_iter().flatten();
        errors.map(|error| error["pointer"].as_str().unwrap()).collect()
    }

    #[track_caller]
    pub(super) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }
}

/// A key whose text is its id.
pub(super) fn key(id: &str, scopes: &[&str]) -> Value {
    json!({"id": id, "scopes": scopes, "hash": String::from(KeyHash::of(id))})
}
