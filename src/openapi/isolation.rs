//! Every call of the document, with every key that is not allowed to make it: no answer is a 2xx or a 500, or has a word of
//! another tenant's.

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicU8, Ordering},
};

use axum::{Router, body::Body, http::Request};
use broker::{Broker as _, Log, Target, memory::Memory};
use control::{Control, ControlConfig, ControlMetrics, Rules};
use history::{Batch, EventRecord, History as _, OwedDelivery, Recorder, SqliteHistory, tenant_scope};
use producer::{IntakeDependencies, Producer, ProducerConfig, ProducerMetrics};
use schemas::{DeadLetter, EventId, EventType, Headers, KeyHash, Message, Tenant, wire};
use serde_json::{Value, json};
use store::{MemoryStore, Outbox, Store as _, UsageAndAudit as _, UsageReport};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use uuid::Uuid;

const NOW: u64 = 1_767_225_600_000;
const OPERATOR: &str = "the-operators";
/// The document, which all tests read.
static DOCUMENT: LazyLock<Value> = LazyLock::new(super::document);
/// A word in everything that the tenant `acme` has.
const SENTINEL: &str = "sentinel";

/// The API of all roles, and two tenants with one resource of each kind.
struct ApiFixture {
    app: Router,
    document: Value,
    _folder: TempDir,
}

fn key(id: &str, scopes: &[&str]) -> Value {
    json!({"id": id, "scopes": scopes, "hash": String::from(KeyHash::of(id))})
}

fn tenants() -> Vec<Tenant> {
    let keys = [key("acme-publish", &["publish"]), key("acme-read", &["read"]), key("acme-manage", &["manage"])];
    let things = |name: &str| {
        json!({
            "endpoints": [
                {"id": "crm", "url": format!("https://{name}.example/"), "name": name, "headers": {"x": name}},
                {"id": "channel-7", "url": format!("https://{name}.example/7")},
                {"id": "integration-bot", "url": format!("https://{name}.example/bot"), "name": name},
            ],
            "subscriptions": [
                {"id": "all", "endpoint_id": "crm", "event_types": ["*"], "name": name},
                {"id": "channel-7", "endpoint_id": "channel-7", "channel_ids": [7], "event_types": ["ticket.*"]},
                {"id": "queue-12", "endpoint_id": "integration-bot", "queue_ids": [12], "event_types": ["message.*"]},
            ],
            "sources": [{"id": "main", "dialect": "whazing", "token": format!("{name}-token"), "name": name}],
        })
    };
    let mut acme = things(SENTINEL);
    (acme["id"], acme["name"], acme["keys"]) = ("acme".into(), SENTINEL.into(), json!(keys));
    let mut zeta = things("zeta");
    (zeta["id"], zeta["keys"]) = ("zeta".into(), json!([key("zeta-all", &["publish", "read", "manage"])]));
    serde_json::from_value(json!([acme, zeta])).expect("tenants")
}

impl ApiFixture {
    async fn new() -> Self {
        let store = Arc::new(MemoryStore::new(tenants()));
        let report = UsageReport {
            process: "p".into(),
            sequence: 1,
            tenant: "acme".into(),
            endpoint_id: Some(SENTINEL.into()),
            day: schemas::time::rfc3339(NOW)[..10].into(),
            counts: Default::default(),
        };
        store.record_usage(vec![report]).await.expect("kept");
        let broker = Memory::calm(Arc::new(|| NOW));
        publish_records(&broker).await;
        let folder = tempfile::tempdir().expect("a folder");
        let history = SqliteHistory::open(folder.path(), u64::MAX).expect("it opens");
        let created = store.snapshot().and_then(|snapshot| Some(snapshot.tenant("acme")?.created()));
        record_event(&history, &tenant_scope("acme", created.expect("a tenant"))).await;
        let shutdown = CancellationToken::new();
        let secrets = AtomicU8::new(1);
        let (operator, outbox) = (Some(KeyHash::of(OPERATOR)), Arc::new(Outbox::new("p")));
        let deps = control::ControlDependencies {
            broker: Arc::new(broker.clone()),
            store: store.clone(),
            outbox: outbox.clone(),
            history: Some(Arc::new(history)),
            recorder: Recorder::off(),
            operator,
            clock: Arc::new(|| NOW),
            chance: Arc::new(|| 0.5),
            secrets: Arc::new(move || Ok([secrets.fetch_add(1, Ordering::Relaxed); 32])),
            rules: Rules { networks: vec![], max_fan_out: 1_000, quota: Default::default() },
            retry: schemas::RetryPolicy::default(),
            audit_age: std::time::Duration::MAX,
            usage_age: std::time::Duration::MAX,
            stop: shutdown.clone(),
        };
        let config = crate::config::load(&Default::default(), []).expect("the defaults").config;
        let controls = ControlConfig { max_replays: 1_000, ..config.control };
        let control = Control::new(&controls, deps, ControlMetrics::register(&Default::default()).expect("metrics"));
        let app = producer_routes(&config.producer, &broker, &store, operator, outbox);
        let app = app.merge(control::routes(control)).merge(super::routes());
        let document = DOCUMENT.clone();
        Self { app: service::http::app(app), document, _folder: folder }
    }

    async fn ask(&self, key: Option<&str>, method: &str, path: &str, body: &Value) -> (u16, String) {
        let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let answer = self.app.clone().oneshot(request.body(body).expect("a request")).await.expect("an answer");
        let status = answer.status().as_u16();
        self.assert_described(method, path, status);
        if answer.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream") {
            // It has no end.
            return (status, String::new());
        }
        let body = axum::body::to_bytes(answer.into_body(), 1 << 24).await.expect("a body");
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    /// Every status that a call answers is in the document.
    fn assert_described(&self, method: &str, path: &str, status: u16) {
        let is_path = |template: &str| {
            let (parts, templates) = (path.split('/'), template.split('/'));
            parts.clone().count() == templates.clone().count()
                && parts.zip(templates).all(|(part, template)| template.starts_with('{') || part == template)
        };
        let paths = self.document["paths"].as_object().expect("paths");
        let item = paths.iter().find(|(template, _)| is_path(template)).map(|(_, item)| item);
        let operation = &item.unwrap_or_else(|| panic!("{path} is not described"))[method.to_lowercase()];
        let described = operation["responses"].as_object().expect("responses");
        assert!(
            described.contains_key(&status.to_string()),
            "{method} {path} answers {status}, which is not described"
        );
    }

    /// All calls that need a key: method, path of a resource of `acme`, example body, and the right that it needs.
    fn calls(&self) -> Vec<(String, String, Value, RequiredRight)> {
        let mut calls = Vec::new();
        for (path, item) in self.document["paths"].as_object().expect("paths") {
            for (method, operation) in
                item.as_object().expect("an item").iter().filter(|(name, _)| *name != "parameters")
            {
                if operation["security"] == json!([{}]) {
                    continue;
                }
                let content = &operation["requestBody"]["content"]["application/json"];
                let needs = RequiredRight::of(operation["description"].as_str().unwrap_or_default());
                calls.push((method.to_uppercase(), concrete(path), content["example"].clone(), needs));
            }
        }
        assert!(!calls.is_empty(), "the document has no calls");
        calls
    }
}

fn producer_routes(
    config: &ProducerConfig,
    broker: &Memory,
    store: &Arc<MemoryStore>,
    operator: Option<KeyHash>,
    outbox: Arc<Outbox>,
) -> Router {
    let metrics = ProducerMetrics::register(&Default::default()).expect("metrics");
    let deps: (service::Clock, service::Chance) = (Arc::new(|| NOW), Arc::new(|| 0.5));
    let producer = Producer::new(config, Arc::new(broker.clone()), None, metrics.clone(), deps);
    let (broker, event_shares) = (Arc::new(broker.clone()), Arc::default());
    let deps = IntakeDependencies { broker, store: store.clone(), operator, event_shares, outbox };
    producer::routes(config, producer, deps, metrics)
}

/// Publishes a dead letter of `acme`, and a parked message.
async fn publish_records(broker: &Memory) {
    let letter = json!({"delivery_id": "00000000-0000-0000-0000-000000000001", "event_id": SENTINEL,
        "event_type": "ticket.created", "tenant": "acme", "endpoint_id": "crm", "reason": "exhausted", "attempts": 1,
        "last": null, "accepted_at": "2026-01-01T00:00:00.000Z", "dead_at": "2026-01-01T00:00:00.000Z"});
    serde_json::from_value::<DeadLetter>(letter.clone()).expect("a dead letter");
    let mut headers = Headers::default();
    headers.set(wire::RECORD, schemas::HeaderValue::Text(letter.to_string().into()));
    let message = Message { id: SENTINEL.into(), kind: "ticket.created".into(), headers, body: SENTINEL.into() };
    for (log, key) in [(Log::Dead, "exhausted.acme"), (Log::Parked, "tenant.acme")] {
        broker.publish(&Target::Log(log, key.to_owned()), &message).await.expect("kept");
    }
}

/// Id of the delivery of `acme`.
const DELIVERY: Uuid = Uuid::from_u128(1);

/// Records an event of a tenant, and its delivery.
async fn record_event(history: &SqliteHistory, tenant: &str) {
    let delivery = OwedDelivery {
        id: DELIVERY,
        endpoint_id: "crm".into(),
        part: String::new(),
        subscriptions: vec!["all".into()],
        body: 0,
        run_began: NOW,
    };
    let event = EventRecord {
        tenant: tenant.to_owned(),
        id: EventId::try_from(SENTINEL.to_owned()).expect("an id"),
        event_type: EventType::TICKET_CREATED,
        source: SENTINEL.into(),
        accepted_at: NOW - 1_000,
        occurred_at: NOW - 1_000,
        channel_id: None,
        queue_id: None,
        ticket_id: Some(SENTINEL.into()),
        protocol: None,
        contact: None,
        deliveries: vec![delivery],
        unmatched: Vec::new(),
        bodies: vec![json!({"type": "ticket.created", "ticket": {"id": SENTINEL}}).to_string().into()],
    };
    let records = vec![history::Record::Event(Box::new(event))];
    history.write(Batch { records, ..Batch::default() }, None, 0).await.expect("written");
}

/// The right that a call needs, by the sentence in its description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequiredRight {
    Scope(&'static str),
    Operator,
    AnyKey,
}

impl RequiredRight {
    fn of(description: &str) -> Self {
        let scope =
            ["publish", "read", "manage"].into_iter().find(|scope| description.contains(&format!("scope `{scope}`")));
        match scope {
            Some(scope) => Self::Scope(scope),
            None if description.contains("operator's key") => Self::Operator,
            None if description.contains("any valid key") => Self::AnyKey,
            None => panic!("who may? {description}"),
        }
    }
}

/// The path with the ids of a resource that `acme` has.
fn concrete(path: &str) -> String {
    let id = match path {
        _ if path.contains("/subscriptions/") => "all",
        _ if path.contains("/sources/") => "main",
        _ if path.contains("/keys/") => "acme-read",
        _ if path.contains("/integrations/") => "bot",
        _ if path.contains("/events/") => SENTINEL,
        _ if path.contains("/deliveries/") => "00000000-0000-0000-0000-000000000001",
        _ if path.contains("/dead-letters/") || path.contains("/parked/") => "0",
        _ => "crm",
    };
    let parts = [("{tenant}", "acme"), ("{id}", id), ("{channel_id}", "7"), ("{queue_id}", "12")];
    parts.iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value))
}

fn assert_no_sentinel(body: &str, call: &str) {
    assert!(!body.contains(SENTINEL), "{call}: {body}");
}

#[tokio::test]
async fn every_call_without_a_key_or_with_a_wrong_one_is_401() {
    let site = ApiFixture::new().await;
    for (method, path, body, _) in site.calls() {
        for key in [None, Some("wrong"), Some("")] {
            let (status, body) = site.ask(key, &method, &path, &body).await;
            assert_eq!(status, 401, "{method} {path}: {body}");
            assert_no_sentinel(&body, &path);
        }
    }
}

#[tokio::test]
async fn every_call_with_another_tenants_key_is_404_or_403() {
    let site = ApiFixture::new().await;
    for (method, path, body, needs) in site.calls() {
        let (status, body) = site.ask(Some("zeta-all"), &method, &path, &body).await;
        // That the operator has other resources is no secret.
        let expected = match needs {
            RequiredRight::AnyKey => 200,
            _ if path.contains("/acme") => 404,
            _ => 403,
        };
        assert_eq!(status, expected, "{method} {path} ({needs:?}): {body}");
        assert_no_sentinel(&body, &path);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_without_the_scope_is_403_and_one_with_it_is_not() {
    let site = ApiFixture::new().await;
    for (method, path, body, needs) in site.calls().into_iter().filter(|call| call.3 != RequiredRight::AnyKey) {
        for scope in ["publish", "read", "manage"].into_iter().filter(|scope| needs != RequiredRight::Scope(scope)) {
            let (status, answer) = site.ask(Some(&format!("acme-{scope}")), &method, &path, &body).await;
            assert_eq!(status, 403, "{method} {path} with {scope}: {answer}");
            assert_no_sentinel(&answer, &path);
        }
    }
    let mut shown = Vec::new();
    for (method, path, body, needs) in site.calls() {
        // A deletion would hide the resource from the next call.
        if let (RequiredRight::Scope(scope), false) = (needs, method == "DELETE") {
            let site = ApiFixture::new().await;
            let (status, answer) = site.ask(Some(&format!("acme-{scope}")), &method, &path, &body).await;
            if answer.contains(SENTINEL) {
                shown.push(format!("{method} {path}"));
            }
            let own_scopes = path.ends_with("/keys") || path.contains("/keys/");
            let refused = status == 403 && own_scopes && method != "GET";
            assert!(refused || !matches!(status, 401 | 403 | 500..), "{method} {path} with {scope}: {status} {answer}");
        }
    }
    // The sentinel is where it would be found, had it leaked.
    for path in [
        "",
        "/endpoints",
        "/endpoints/crm",
        "/subscriptions/all",
        "/sources/main",
        "/dead-letters",
        "/events",
        "/deliveries",
    ] {
        let call = format!("GET /v1/tenants/acme{path}");
        assert!(shown.contains(&call), "{call} does not show the sentinel to its owner: {shown:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_example_is_accepted_from_the_operator() {
    for (method, path, body, _) in ApiFixture::new().await.calls() {
        let site = ApiFixture::new().await;
        let (status, answer) = site.ask(Some(OPERATOR), &method, &path, &body).await;
        let expected = match (method.as_str(), path.as_str()) {
            // There is no such replay or erasure; a queue is bound to the integration; the parked message has no routing key; the
            // tenant exists.
            ("GET" | "DELETE", path) if path.contains("/replays/") || path.contains("/erasures/") => 404,
            ("DELETE", path) if path.contains("/integrations/") => 409,
            ("POST", path) if path.contains("/requeue") => 409,
            ("POST", "/v1/tenants") => 409,
            _ => 200,
        };
        assert_eq!(if status < 300 { 200 } else { status }, expected, "{method} {path}: {status} {answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_invalid_request_is_answered_500() {
    let site = ApiFixture::new().await;
    for (method, path, _, _) in site.calls() {
        for body in
            [json!([]), json!({"id": 7}), json!({"url": [], "tenants": 5, "filter": 1, "events": {}}), json!(null)]
        {
            let (status, answer) = site.ask(Some(OPERATOR), &method, &path, &body).await;
            assert!(status < 500, "{method} {path} {body}: {status} {answer}");
        }
        let strange = path.replace("acme", "%00%ff").replace("crm", "..%2f");
        let (status, answer) = site.ask(Some(OPERATOR), &method, &strange, &json!({})).await;
        assert!(status < 500, "{method} {strange}: {status} {answer}");
    }
}
