//! A control with two tenants, on the memory broker, and dead letters for its log.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, http::Request};
use broker::{Broker, memory::Memory};
use bytes::Bytes;
use history::Recorder;
use schemas::{
    Attempt, DeadLetter, DeadReason, Delivery, Endpoint, Key, KeyHash, OutcomeClass, Part, Quota, RetryPolicy, Scope,
    Tenant, delivery_id,
};
use serde_json::Value;
use store::{Author, Draft, Edit, EditRefusal, MemoryStore, Outbox, Store, TenantSelection};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::{
    Control, ControlDependencies, ControlMetrics, LiveDeadLetters, Rules,
    replay_tracker::{LetterState, ReplayPosition, ReplayTracker},
    routes,
};

/// The time of the fixture, in unix milliseconds.
pub(super) const NOW: u64 = 1_767_225_600_000;
pub(super) const OPERATOR: &str = "operator's";

pub(super) struct Fixture {
    pub(super) broker: Memory,
    pub(super) control: Arc<Control>,
    pub(super) process: CancellationToken,
    pub(super) outbox: Arc<Outbox>,
    /// What the clock shows.
    pub(super) now: Arc<AtomicU64>,
    app: Router,
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self::on(Memory::calm(Arc::new(|| NOW)))
    }

    pub(super) fn on(broker: Memory) -> Self {
        Self::with(broker, Arc::new(MemoryStore::read_only(tenants())))
    }

    pub(super) fn with(broker: Memory, store: Arc<dyn Store>) -> Self {
        Self::over(Arc::new(broker.clone()), broker, store)
    }

    /// A control whose broker is another one around the memory broker.
    pub(super) fn over(layer: Arc<dyn Broker>, broker: Memory, store: Arc<dyn Store>) -> Self {
        Self::named("control", layer, broker, store)
    }

    /// A control of this name, among several on one store.
    pub(super) fn named(name: &str, layer: Arc<dyn Broker>, broker: Memory, store: Arc<dyn Store>) -> Self {
        let config = super::config();
        let shutdown = CancellationToken::new();
        let process = shutdown.clone();
        // Controls on one store make different ids.
        let draws = AtomicU64::new(name.bytes().map(u64::from).sum());
        let now = Arc::new(AtomicU64::new(NOW));
        let clock = now.clone();
        let outbox = Arc::new(Outbox::new(name));
        let deps = ControlDependencies {
            broker: layer,
            store,
            outbox: outbox.clone(),
            history: None,
            recorder: Recorder::off(),
            operator: Some(KeyHash::of(OPERATOR)),
            clock: Arc::new(move || clock.load(Ordering::Relaxed)),
            chance: Arc::new(move || draws.fetch_add(1, Ordering::Relaxed) as f64 / 1_024.0),
            secrets: Arc::new(|| Ok([7; 32])),
            rules: Rules { networks: vec![], max_fan_out: 1_000, quota: Quota::default() },
            retry: RetryPolicy::default(),
            audit_age: Duration::from_secs(30 * 24 * 60 * 60),
            usage_age: Duration::from_secs(60 * 24 * 60 * 60),
            stop: shutdown.clone(),
        };
        let control = Control::new(&config, deps, ControlMetrics::register(&Default::default()).unwrap());
        control.start_jobs();
        let app = service::http::app(routes(control.clone()));
        Self { broker, control, process, outbox, now, app }
    }

    /// Sends a request as the tenant's manager. Returns status and body.
    pub(super) async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        self.ask_as(Some("manager's"), method, path, body).await
    }

    pub(super) async fn ask_as(&self, key: Option<&str>, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let answer = self.app.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let body = axum::body::to_bytes(answer.into_body(), 1 << 24).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Starts a replay and waits for its end.
    pub(super) async fn replay(&self, body: &str) -> Value {
        let (status, started) = self.ask("POST", "/v1/tenants/acme/replays", body).await;
        assert_eq!(status, 202, "{started}");
        self.ended(&started).await
    }

    /// Waits for the end of a replay of acme.
    pub(super) async fn ended(&self, started: &Value) -> Value {
        let path = format!("/v1/tenants/acme/replays/{}", started["id"].as_str().unwrap());
        loop {
            let (_, replay) = self.ask("GET", &path, "").await;
            if replay["state"] != "running" {
                return replay;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Appends dead letters of the tenant to the log, of the events `e0`, `e1`, …
    pub(super) async fn append(&self, count: u64) {
        for nth in 0..count {
            append(&self.broker, &DeadDelivery::default().event(&format!("e{nth}"))).await;
        }
    }
}

/// Tracks a replay of all these dead letters.
pub(super) fn tracker(live: &LiveDeadLetters) -> ReplayTracker {
    let letters = live.iter().map(|(offset, _)| (offset, LetterState::Open));
    ReplayTracker::new(ReplayPosition::default(), u64::MAX, letters.collect())
}

/// A delivery that ended as a dead letter.
#[derive(Clone)]
pub(crate) struct DeadDelivery {
    pub(super) delivery: Delivery,
    pub(super) reason: DeadReason,
    pub(super) dead_at: u64,
}

impl Default for DeadDelivery {
    fn default() -> Self {
        let event_id: schemas::EventId = "e0".to_owned().try_into().unwrap();
        let delivery = Delivery {
            event_time: 5,
            subscriptions: vec!["s".into()],
            revision: 7,
            attempt: 10,
            due: Some(8),
            first_at: Some(7),
            last: Some(attempt()),
            deferrals: 3,
            ..Delivery::owed("acme", &event_id, schemas::EventType::TICKET_CREATED, "crm", Part::Second, 6)
        };
        Self { delivery, reason: DeadReason::Exhausted, dead_at: NOW }
    }
}

impl DeadDelivery {
    pub(crate) fn event(mut self, id: &str) -> Self {
        self.delivery.event_id = id.to_owned().try_into().unwrap();
        self.named()
    }

    pub(crate) fn to(mut self, tenant: &str, endpoint: &str) -> Self {
        (self.delivery.tenant, self.delivery.endpoint_id) = (tenant.into(), endpoint.into());
        self.named()
    }

    pub(crate) fn revision(mut self, revision: u64) -> Self {
        self.delivery.revision = revision;
        self
    }

    pub(super) fn reason(self, reason: DeadReason) -> Self {
        Self { reason, ..self }
    }

    pub(super) fn dead_at(self, dead_at: u64) -> Self {
        Self { dead_at, ..self }
    }

    fn named(mut self) -> Self {
        let Delivery { tenant, event_id, endpoint_id, part, .. } = &self.delivery;
        self.delivery.id = delivery_id(tenant, event_id, endpoint_id, *part);
        self
    }
}

fn attempt() -> Attempt {
    Attempt {
        number: 10,
        at: "2026-01-01T00:00:00.000Z".into(),
        outcome: OutcomeClass::ServerError,
        status: Some(503),
        duration_ms: 4,
        response_excerpt: Some("busy".into()),
        next_due: None,
    }
}

/// Appends a dead letter to the log as deliverers do.
pub(crate) async fn append(broker: &dyn Broker, dead: &DeadDelivery) {
    let body = Bytes::from(format!("{{\"of\" : \"{}\"}}", dead.delivery.event_id));
    append_body(broker, dead, body).await;
}

/// Appends a dead letter without its body.
pub(super) async fn append_without_body(broker: &dyn Broker, dead: &DeadDelivery) {
    append_body(broker, dead, Bytes::new()).await;
}

pub(super) async fn append_body(broker: &dyn Broker, dead: &DeadDelivery, body: Bytes) {
    let DeadDelivery { delivery, reason, dead_at } = dead;
    let letter = DeadLetter::of(delivery, *reason, delivery.attempt, delivery.last.clone(), *dead_at);
    let (to, message) = broker::records::dead_letter(&letter, delivery, body);
    broker.publish(&to, &message).await.unwrap();
}

pub(super) fn tenants() -> [Tenant; 2] {
    let key = |name: &str, scope| Key {
        id: name.into(),
        name: None,
        scopes: vec![scope],
        hash: KeyHash::of(name),
        old_hash: None,
    };
    let manager = Key { scopes: vec![Scope::Read, Scope::Manage], ..key("manager's", Scope::Read) };
    let acme = vec![manager, key("reader's", Scope::Read), key("publisher's", Scope::Publish)];
    let zeta = vec![key("zeta's", Scope::Manage)];
    let endpoints: Vec<Endpoint> = serde_json::from_value(serde_json::json!([
        {"id": "crm", "url": "https://crm.example/hook"},
        {"id": "bi", "url": "https://bi.example/hook"},
        {"id": "off", "url": "https://off.example/hook", "state": "disabled"},
        {"id": "later", "url": "https://later.example/hook", "state": "paused"},
    ]))
    .unwrap();
    [("acme", acme), ("zeta", zeta)].map(|(id, keys)| Tenant { keys, endpoints: endpoints.clone(), ..Tenant::new(id) })
}

/// Changes what a store has, beside control's API. `at` is unix ms.
pub(super) async fn edit(
    store: &dyn Store,
    author: &str,
    at: u64,
    decide: impl FnOnce(&mut Draft) -> Result<(), EditRefusal> + Send + 'static,
) {
    let edit = Edit {
        selection: TenantSelection::All,
        author: Author { name: author.into(), address: None },
        at,
        dry_run: false,
        decision: Box::new(decide),
    };
    store.edit(edit).await.unwrap();
}
