//! What it costs to take in one canonical event, by a broker that confirms at once.
//!
//! `cargo bench --bench intake`. The socket's figure includes the client, which writes a request and reads its answer.

use std::{
    future::ready,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use broker::{Broker, BrokerLayer, PublishError, Target, memory::Memory};
use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use futures_util::{FutureExt as _, future::BoxFuture};
use producer::{EventOrigin, IntakeDependencies, Producer, ProducerConfig, ProducerMetrics, routes};
use schemas::{Key, KeyHash, Message, Scope, Strictness, Tenant};
use service::{SeenConfig, http::ServeOptions, metrics::Registry};
use store::{MemoryStore, Snapshot, TenantSnapshot};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

const EVENT: &str = include_str!("../tests/fixtures/canonical/whazing-channel-message.json");
const KEY: &str = "0190f5fe-7c00-7a00-8000-0123456789ab";
const PATH: &str = "/v1/tenants/acme/events";
/// Requests that a client of the socket sends before it reads their answers.
const PIPELINED: usize = 8;

/// A broker that keeps nothing, and confirms at once.
struct Confirming(Memory);

impl BrokerLayer for Confirming {
    fn inner(&self) -> &dyn Broker {
        &self.0
    }

    fn publish<'a>(&'a self, _: &'a Target, message: &'a Message) -> BoxFuture<'a, Result<(), PublishError>> {
        black_box(message);
        ready(Ok(())).boxed()
    }
}

struct Intake {
    producer: Arc<Producer>,
    router: Router,
}

impl Intake {
    fn new() -> Self {
        let duplicates = SeenConfig { ids: 450_000, window: Duration::from_secs(600) };
        let config = ProducerConfig {
            max_event_bytes: 1 << 20,
            max_concurrent: 1_024,
            max_in_flight_bytes: 64 << 20,
            duplicates,
        };
        let clock = service::clock::system();
        let broker: Arc<dyn Broker> = Arc::new(Confirming(Memory::calm(clock.clone())));
        let store = Arc::new(MemoryStore::without_snapshot());
        store.set_snapshot(Snapshot::new(1, [Arc::new(tenant())]));
        let metrics = ProducerMetrics::register(&Registry::default()).expect("metrics");
        let deps = (clock, service::chance::system());
        let producer = Producer::new(&config, broker.clone(), Some(store.clone()), metrics.clone(), deps);
        let deps = IntakeDependencies {
            broker,
            store,
            operator: Some(KeyHash::of("the operator's")),
            event_shares: Arc::default(),
            outbox: Arc::new(store::Outbox::new("p")),
        };
        Self { producer: producer.clone(), router: routes(&config, producer, deps, metrics) }
    }
}

fn tenant() -> TenantSnapshot {
    let key = Key {
        id: "publisher".to_owned(),
        name: None,
        scopes: vec![Scope::Publish],
        hash: KeyHash::of(KEY),
        old_hash: None,
    };
    Tenant { keys: vec![key], ..Tenant::new("acme") }.into()
}

/// Makes events that differ in their ids only.
struct Events {
    before_id: String,
    after_id: String,
    next: u64,
}

impl Events {
    fn new() -> Self {
        let event: serde_json::Value = serde_json::from_str(EVENT).expect("JSON");
        let (text, id) = (event.to_string(), event["id"].as_str().expect("an id"));
        let (before, after) = text.split_once(id).expect("the id is in the text");
        Self { before_id: before.to_owned(), after_id: after.to_owned(), next: 0 }
    }

    fn next(&mut self) -> Bytes {
        self.next += 1;
        format!("{}01981e96-4822-7a10-8c1e-{:012x}{}", self.before_id, self.next, self.after_id).into()
    }
}

fn request(event: Bytes) -> Request<Body> {
    let request = Request::post(PATH).header("content-type", "application/json").header("host", "localhost:8080");
    let request = request.header("content-length", event.len()).header("authorization", format!("Bearer {KEY}"));
    request.body(Body::from(event)).expect("a request")
}

/// Posts `count` events over one connection, some at once, and reads all of the answers.
async fn post(connection: &mut TcpStream, requests: &[u8], count: usize) {
    connection.write_all(requests).await.expect("the server reads");
    let (mut answers, mut read) = (0, Vec::with_capacity(4_096));
    while answers < count {
        assert_ne!(connection.read_buf(&mut read).await.expect("the server answers"), 0);
        answers = read.windows(9).filter(|text| *text == b" 202 Acce").count();
    }
}

fn request_bytes(event: &[u8]) -> Vec<u8> {
    let length = event.len();
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: localhost:8080\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         authorization: Bearer {KEY}\r\n\r\n"
    );
    [head.as_bytes(), event].concat()
}

fn taking_in(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let (intake, mut events) = (Intake::new(), Events::new());
    println!("an event of {} bytes", events.next().len());
    let mut group = criterion.benchmark_group("intake");
    group.bench_function("the library", |bencher| {
        let origin = EventOrigin::default();
        let publish = |event: Bytes| {
            runtime.block_on(intake.producer.publish("acme", event, &origin, Strictness::Lenient)).expect("ok")
        };
        bencher.iter_batched(|| events.next(), publish, BatchSize::SmallInput);
    });
    group.bench_function("the route", |bencher| {
        let app = service::http::app(intake.router.clone());
        let publish = |request: Request<Body>| {
            let answer = runtime.block_on(app.clone().oneshot(request)).expect("an answer");
            assert_eq!(answer.status(), StatusCode::ACCEPTED);
            answer
        };
        bencher.iter_batched(|| request(events.next()), publish, BatchSize::SmallInput);
    });
    let address = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (router, stop) = (intake.router.clone(), CancellationToken::new());
        tokio::spawn(service::http::serve(listener, router, ServeOptions::default(), stop));
        address
    });
    for at_once in [1, PIPELINED] {
        group.bench_function(format!("a kept connection, {at_once} at once"), |bencher| {
            bencher.iter_custom(|count| {
                runtime.block_on(async {
                    let mut connection = TcpStream::connect(address).await.expect("a connection");
                    let mut spent = Duration::ZERO;
                    for _ in 0..count {
                        let requests = (0..at_once).map(|_| request_bytes(&events.next())).collect::<Vec<_>>().concat();
                        let began = Instant::now();
                        post(&mut connection, &requests, at_once).await;
                        spent += began.elapsed();
                    }
                    spent
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, taking_in);
criterion_main!(benches);
