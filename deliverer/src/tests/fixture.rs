//! A running deliverer for the tests, with a broker whose publishes a test can await, and a store that it can change.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use broker::{Broker, BrokerLayer, Lane, Log, PublishError, Queue, Target, memory::Memory};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use history::Recorder;
use schemas::{DeadLetter, Delivery, EventId, EventType, Message, Part, Tenant, wire};
use serde_json::{Value, json};
use service::Clock;
use store::{ItemKind, ItemVersion, MemoryStore, Outbox, RetentionTable, Snapshot, Store as _, TenantSnapshot};
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{config, scripted::LONG};
use crate::{CanaryMetrics, Deliverer, DelivererConfig, DelivererDependencies, DelivererMetrics};

/// Unix ms at which the tests' clock starts.
pub(crate) const START: u64 = 1_790_000_000_000;
pub(super) const FAST: Queue = Queue::Lane(Lane::Fast);
pub(super) const SLOW: Queue = Queue::Lane(Lane::Slow);
/// A body that is not even JSON, because a deliverer does not parse it.
pub(super) const BODY: &str = "{\"é\": 1 ,\n \"x\":\t[]} ";

/// The memory broker. It sends each publish to the test as well.
struct ObservedBroker {
    memory: Memory,
    published: mpsc::UnboundedSender<(Target, Message)>,
}

impl BrokerLayer for ObservedBroker {
    fn inner(&self) -> &dyn Broker {
        &self.memory
    }

    fn publish<'a>(&'a self, to: &'a Target, message: &'a Message) -> BoxFuture<'a, Result<(), PublishError>> {
        async move {
            let confirm = Broker::publish(&self.memory, to, message).await;
            // The receiver is dropped at the end of a test.
            let _ = self.published.send((to.clone(), message.clone()));
            confirm
        }
        .boxed()
    }
}

fn acme(endpoints: &Value) -> Tenant {
    serde_json::from_value(json!({"id": "acme", "endpoints": endpoints})).expect("a tenant")
}

/// A first delivery of the event to `crm`, accepted when the clock started.
pub(crate) fn delivery(event_id: &str) -> Delivery {
    let event_id = EventId::try_from(event_id.to_owned()).unwrap();
    let event_type = EventType::try_from("message.received".to_owned()).unwrap();
    Delivery {
        event_time: START - 500,
        subscriptions: vec!["all".into()],
        revision: 1,
        ..Delivery::owed("acme", &event_id, event_type, "crm", Part::First, START)
    }
}

/// The message of a delivery.
pub(super) fn message(delivery: &Delivery) -> Message {
    delivery.to_message(Bytes::from(BODY))
}

/// The delivery of a message.
pub(super) fn read(message: &Message) -> Delivery {
    Delivery::from_message(message).expect("a delivery")
}

/// A running deliverer.
pub(super) struct Fixture {
    pub(super) deliverer: Arc<Deliverer>,
    pub(super) memory: Memory,
    pub(super) store: Arc<MemoryStore>,
    pub(super) metrics: DelivererMetrics,
    pub(super) canaries: CanaryMetrics,
    pub(super) outbox: Arc<Outbox>,
    pub(super) retention: Arc<RetentionTable>,
    pub(super) clock: Clock,
    /// Ms by which the clock was set forward, or back.
    step_ms: Arc<AtomicI64>,
    published: mpsc::UnboundedReceiver<(Target, Message)>,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Fixture {
    /// A deliverer that knows these endpoints and may connect to loopback addresses.
    pub(super) fn of(endpoints: &Value) -> Self {
        Self::with(endpoints, &config())
    }

    /// A deliverer that knows these endpoints and may connect to no private address.
    pub(super) fn guarded(endpoints: &Value) -> Self {
        Self::with(endpoints, &DelivererConfig { allow_networks: vec![], ..config() })
    }

    pub(super) fn with(endpoints: &Value, config: &DelivererConfig) -> Self {
        let fixture = Self::without_snapshot(config);
        fixture.set_endpoints(endpoints);
        fixture
    }

    /// Like [`guarded`](Self::guarded), over a broker that hands out everything once: what waits for days comes back so often
    /// that copies of copies would fill the memory.
    pub(super) fn calm(endpoints: &Value) -> Self {
        let fixture = Self::over(Memory::calm, &DelivererConfig { allow_networks: vec![], ..config() });
        fixture.set_endpoints(endpoints);
        fixture
    }

    /// A deliverer whose store has not been read yet.
    pub(super) fn without_snapshot(config: &DelivererConfig) -> Self {
        Self::over(|clock| Memory::hostile(clock, 5), config)
    }

    fn over(memory: impl FnOnce(Clock) -> Memory, config: &DelivererConfig) -> Self {
        let started = Instant::now();
        let step_ms = Arc::new(AtomicI64::new(0));
        let step = step_ms.clone();
        let clock: Clock = Arc::new(move || {
            (START + u64::try_from(started.elapsed().as_millis()).unwrap()).saturating_add_signed(step.load(Relaxed))
        });
        let memory = memory(clock.clone());
        let (sender, published) = mpsc::unbounded_channel();
        let store = Arc::new(MemoryStore::without_snapshot());
        let metrics = DelivererMetrics::register(&Default::default()).unwrap();
        let canaries = CanaryMetrics::register(&Default::default()).unwrap();
        let stop = CancellationToken::new();
        let (outbox, retention) = (Arc::new(Outbox::new("p")), Arc::new(RetentionTable::default()));
        let deps = DelivererDependencies {
            broker: Arc::new(ObservedBroker { memory: memory.clone(), published: sender }),
            store: store.clone(),
            outbox: outbox.clone(),
            retention: retention.clone(),
            recorder: Recorder::off(),
            clock: clock.clone(),
            // One half neither shortens nor lengthens a wait.
            chance: Arc::new(|| 0.5),
            stop: stop.clone(),
        };
        let deliverer = Deliverer::new(config, deps, metrics.clone(), canaries.clone()).expect("a deliverer");
        let running = tokio::spawn(deliverer.clone().run());
        Self {
            deliverer,
            memory,
            store,
            metrics,
            canaries,
            outbox,
            retention,
            clock,
            step_ms,
            published,
            stop,
            running,
        }
    }

    /// Replaces acme's endpoints, at a revision that all processes share. The endpoints are older than all deliveries.
    pub(super) fn set_endpoints_at_revision(&self, revision: u64, endpoints: &Value) {
        self.set_endpoints_created_at(0, revision, endpoints);
    }

    /// Replaces acme's endpoints by others that were created at a revision.
    pub(super) fn set_endpoints_created_at(&self, created: u64, revision: u64, endpoints: &Value) {
        let mut tenant = TenantSnapshot::from(acme(endpoints));
        for id in tenant.endpoints.keys() {
            tenant.versions.set(ItemKind::Endpoint, id, ItemVersion { changed: revision, created });
        }
        self.store.set_snapshot(Snapshot::new(revision, [Arc::new(tenant)]));
    }

    /// Replaces acme's endpoints. Revisions are those of this process alone.
    pub(super) fn set_endpoints(&self, endpoints: &Value) {
        let before = self.store.snapshot().unwrap_or_default();
        if let Some(next) = before.next(vec![acme(endpoints)]) {
            self.store.set_snapshot(next);
        }
    }

    /// Sets the clock of the machine forward, or back.
    pub(super) fn step_clock(&self, ms: i64) {
        self.step_ms.fetch_add(ms, Relaxed);
    }

    /// Publishes a message to the fast lane.
    pub(super) async fn publish(&self, message: &Message) {
        Broker::publish(&self.memory, &Target::Lane(Lane::Fast, None), message).await.expect("a confirm");
    }

    /// The deliverer's next publish, confirmed or not; fails when there is none for long.
    pub(super) async fn published(&mut self) -> (Target, Message) {
        self.published_within(LONG).await
    }

    /// The deliverer's next publish, for which a test under paused time may wait longer.
    pub(super) async fn published_within(&mut self, time: Duration) -> (Target, Message) {
        tokio::time::timeout(time, self.published.recv()).await.expect("a publish").expect("a deliverer")
    }

    /// The next publish, which must be a retry: when it is due, and its message.
    pub(super) async fn retry(&mut self) -> (broker::Due, Message) {
        match self.published().await {
            (Target::Lane(Lane::Slow, Some(due)), message) => (due, message),
            (target, _) => panic!("not a retry: {target:?}"),
        }
    }

    /// The next publish, which must be a dead letter: its record, and its message.
    pub(super) async fn dead_letter(&mut self) -> (DeadLetter, Message) {
        let (Target::Log(Log::Dead, key), message) = self.published().await else { panic!("not a dead letter") };
        let text = message.headers.text(wire::RECORD).expect("a record");
        assert!(text.len() <= 16 * 1024, "{} bytes", text.len());
        let record: DeadLetter = serde_json::from_str(text).expect("a readable record");
        assert_eq!(key, record.key());
        (record, message)
    }

    /// True when the deliverer has published nothing beyond what the test has taken.
    pub(super) fn nothing_published(&mut self) -> bool {
        self.published.try_recv().is_err()
    }

    /// Waits until no message is in a queue or under way.
    pub(super) async fn empty(&self, queue: Queue) {
        eventually(|| self.memory.depth(queue) == 0).await;
    }

    pub(super) fn ask_to_stop(&self) {
        self.stop.cancel();
    }

    /// Waits until the deliverer has stopped.
    pub(super) async fn stopped(self) -> Memory {
        tokio::time::timeout(LONG, self.running).await.expect("an end").expect("no panic");
        self.memory
    }
}

/// Waits until a condition holds; fails when it does not for long.
pub(super) async fn eventually(holds: impl Fn() -> bool) {
    let until = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < until, "the condition does not hold");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
