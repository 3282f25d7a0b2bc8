//! Findings of other processes: kept, then noted; as often as they come.

use std::sync::Arc;

use broker::{Broker, BrokerLayer, Incoming, Notices, PublishError, Queue, Target, memory::Memory};
use futures_util::{FutureExt as _, future::BoxFuture};
use schemas::{Counts, EndpointState, Finding, Message, Notice, QuotaName, Tenant, wire};
use serde_json::{Value, json};
use store::{Author, ItemKind, MemoryStore, Store};
use tokio::sync::Notify;

use super::fixture::{Fixture, NOW, edit};
use crate::{FAILING, GONE};

fn acme() -> Tenant {
    let acme = json!({"id": "acme", "endpoints": [{"id": "crm", "url": "https://crm.example/"}]});
    serde_json::from_value(acme).unwrap()
}

/// A control that keeps findings, and the notices that it announces.
struct FindingsFixture {
    fixture: Fixture,
    store: Arc<MemoryStore>,
    notices: Notices,
    sequence: u64,
}

impl FindingsFixture {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::new([acme()]));
        Self::on(store.clone(), Fixture::with(Memory::calm(Arc::new(|| NOW)), store))
    }

    fn on(store: Arc<MemoryStore>, fixture: Fixture) -> Self {
        let notices = fixture.broker.notices();
        let control = fixture.control.clone();
        tokio::spawn(async move { control.keep_findings().await });
        Self { fixture, store, notices, sequence: 0 }
    }

    /// Announces findings as a process would, and waits until control has handled them.
    async fn say(&mut self, findings: Vec<Finding>) {
        // Until control listens.
        tokio::task::yield_now().await;
        self.sequence += 1;
        let (process, sequence) = ("p".to_owned(), self.sequence);
        self.fixture.broker.announce(Notice::Findings { process, sequence, findings }.write().into());
    }

    async fn noted(&mut self) -> u64 {
        loop {
            if let Some(Notice::Noted { sequence, .. }) = Notice::read(&self.notices.next().await.unwrap()) {
                return sequence;
            }
        }
    }

    fn version(&self) -> Option<u64> {
        self.store.snapshot()?.tenant("acme")?.versions.of(ItemKind::Endpoint, "crm")
    }

    fn state(&self) -> (EndpointState, Option<String>) {
        let snapshot = self.store.snapshot().unwrap();
        let endpoint = snapshot.endpoint("acme", "crm").unwrap();
        (endpoint.state, endpoint.disabled_reason.clone())
    }

    /// Operational events that were published to the tenant.
    async fn await_event(&self) -> Vec<(String, Value)> {
        let published = self.published().await;
        let told = published
            .iter()
            .map(|Incoming { key, message, .. }| (key.clone(), serde_json::from_slice(&message.body).unwrap()));
        told.collect()
    }

    async fn published(&self) -> Vec<Incoming> {
        let mut consumer = self.fixture.broker.consume(Queue::Ingest, 100.into());
        let mut published = Vec::new();
        for _ in 0..self.fixture.broker.depth(Queue::Ingest) {
            published.push(consumer.next().await.unwrap());
        }
        published
    }
}

fn usage(attempts: u64) -> Finding {
    let counts = Counts { attempts, ..Counts::default() };
    Finding::Usage { tenant: "acme".into(), endpoint_id: Some("crm".into()), day: "2026-11-21".into(), counts }
}

fn gone(version: Option<u64>) -> Finding {
    Finding::Gone { tenant: "acme".into(), endpoint_id: "crm".into(), version }
}

#[tokio::test]
async fn usage_is_noted_once_it_is_stored_and_a_repetition_changes_nothing() {
    let mut findings = FindingsFixture::new();
    for attempts in [3, 3, 5] {
        findings.say(vec![usage(attempts), Finding::Unknown]).await;
        findings.noted().await;
        let kept = findings
            .store
            .usage_and_audit()
            .unwrap()
            .usage("acme", store::UsageScope::Endpoints, "2026-11-21", "2026-11-21")
            .await
            .unwrap();
        assert_eq!(kept.iter().map(|usage| usage.counts.attempts).collect::<Vec<_>>(), [attempts]);
    }
}

#[tokio::test]
async fn while_the_store_is_away_nothing_is_noted() {
    let mut findings = FindingsFixture::new();
    findings.store.set_away(true);
    findings.say(vec![usage(3)]).await;
    findings.say(vec![gone(findings.version())]).await;
    while findings.fixture.control.metrics.findings_not_kept.get() < 2 {
        tokio::task::yield_now().await;
    }
    findings.store.set_away(false);
    findings.say(vec![usage(3)]).await;
    assert_eq!(findings.noted().await, 3);
}

#[tokio::test]
async fn an_endpoint_that_answered_410_is_disabled_once_with_one_event() {
    let mut findings = FindingsFixture::new();
    for _ in 0..3 {
        findings.say(vec![gone(None)]).await;
        findings.noted().await;
    }
    assert_eq!(findings.state(), (EndpointState::Disabled, Some(GONE.to_owned())));
    assert_eq!(findings.store.usage_and_audit().unwrap().audit(None, None, 9).await.unwrap().len(), 1);
    let told = findings.await_event().await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, "acme.-.-.endpoint.disabled");
    assert_eq!(told[0].1["endpoint"], json!({"id": "crm", "reason": GONE}));
}

/// A broker that confirms no publish.
struct SilentBroker(Memory, Arc<Notify>);

impl BrokerLayer for SilentBroker {
    fn inner(&self) -> &dyn Broker {
        &self.0
    }

    fn publish<'a>(&'a self, _: &'a Target, _: &'a Message) -> BoxFuture<'a, Result<(), PublishError>> {
        self.1.notify_one();
        std::future::pending().boxed()
    }
}

#[tokio::test]
async fn an_event_that_waits_for_its_confirm_holds_up_no_edit() {
    let (memory, published) = (Memory::calm(Arc::new(|| NOW)), Arc::new(Notify::new()));
    let store = Arc::new(MemoryStore::new([acme()]));
    let broker = Arc::new(SilentBroker(memory.clone(), published.clone()));
    let mut findings = FindingsFixture::on(store.clone(), Fixture::over(broker, memory, store));
    findings.say(vec![gone(None)]).await;
    published.notified().await;
    assert_eq!(findings.state(), (EndpointState::Disabled, Some(GONE.to_owned())));
    let author = Author { name: "operator".to_owned(), address: None };
    assert!(findings.fixture.control.edit_queue.enter(&author).now_or_never().flatten().is_some());
}

#[tokio::test]
async fn an_endpoint_that_only_fails_is_disabled_once_five_days_of_usage_say_so() {
    const DAY: u64 = 86_400_000;
    let mut findings = FindingsFixture::new();
    let used = |days_ago: u64, delivered| {
        let counts = Counts { attempts: 3, delivered, ..Counts::default() };
        let day = schemas::time::day(NOW - days_ago * DAY);
        Finding::Usage { tenant: "acme".into(), endpoint_id: Some("crm".into()), day, counts }
    };
    let version = findings.version();
    let failing = |since| Finding::Failing { tenant: "acme".into(), endpoint_id: "crm".into(), version, since };
    findings.say(vec![used(20, 0), used(7, 1), used(4, 0), failing(NOW - DAY)]).await;
    findings.noted().await;
    assert_eq!(findings.state(), (EndpointState::Active, None), "there was a success, and four days are not enough");
    findings.say(vec![used(6, 0)]).await;
    findings.noted().await;
    for _ in 0..2 {
        findings.say(vec![failing(NOW - 3_600_000)]).await;
        findings.noted().await;
    }
    assert_eq!(findings.state(), (EndpointState::Disabled, Some(FAILING.to_owned())));
    let told = findings.await_event().await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].1["endpoint"], json!({"id": "crm", "reason": FAILING}));
}

#[tokio::test]
async fn a_process_that_has_itself_seen_five_days_of_failures_is_believed() {
    let mut findings = FindingsFixture::new();
    let since = NOW - 5 * 86_400_000;
    let version = findings.version();
    findings.say(vec![Finding::Failing { tenant: "acme".into(), endpoint_id: "crm".into(), version, since }]).await;
    findings.noted().await;
    assert_eq!(findings.state(), (EndpointState::Disabled, Some(FAILING.to_owned())));
}

#[tokio::test]
async fn an_endpoint_that_was_changed_since_it_answered_410_is_left_alone() {
    let mut findings = FindingsFixture::new();
    let old = findings.version();
    edit(&*findings.store, "operator", NOW, |draft| {
        draft.tenant("acme")?.endpoints[0].url = "https://new.example/".into();
        Ok(())
    })
    .await;
    assert_ne!(findings.version(), old);
    findings.say(vec![gone(old)]).await;
    findings.noted().await;
    assert_eq!(findings.state(), (EndpointState::Active, None));
    assert!(findings.await_event().await.is_empty());
}

#[tokio::test]
async fn an_endpoint_that_was_paused_is_disabled_by_a_410_to_that_version_and_by_no_finding_from_before() {
    let mut findings = FindingsFixture::new();
    let old = findings.version();
    edit(&*findings.store, "operator", NOW, |draft| {
        draft.tenant("acme")?.endpoints[0].state = EndpointState::Paused;
        Ok(())
    })
    .await;
    let since = NOW - 9 * 86_400_000;
    let failing = Finding::Failing { tenant: "acme".into(), endpoint_id: "crm".into(), version: old, since };
    findings.say(vec![gone(old), failing]).await;
    findings.noted().await;
    assert_eq!(findings.state(), (EndpointState::Paused, None));
    findings.say(vec![gone(findings.version())]).await;
    findings.noted().await;
    assert_eq!(findings.state(), (EndpointState::Disabled, Some(GONE.to_owned())));
}

#[tokio::test]
async fn findings_about_an_unknown_tenant_are_noted_and_dropped() {
    let mut findings = FindingsFixture::new();
    findings.say(vec![Finding::Gone { tenant: "nobody".into(), endpoint_id: "crm".into(), version: Some(1) }]).await;
    assert_eq!(findings.noted().await, 1);
}

#[tokio::test]
async fn a_store_without_usage_notes_findings_at_once() {
    let store = Arc::new(MemoryStore::default());
    let mut findings = FindingsFixture::on(store, Fixture::new());
    findings.say(vec![usage(3), gone(None)]).await;
    assert_eq!(findings.noted().await, 1);
}

#[tokio::test]
async fn a_reached_quota_makes_one_event_an_hour() {
    let mut findings = FindingsFixture::new();
    let reached =
        |at| Finding::QuotaReached { tenant: "acme".into(), quota: QuotaName::EventsPerSecond, limit: 5.0, at };
    for at in [NOW, NOW + 1, NOW + 3_600_000] {
        findings.say(vec![reached(at)]).await;
        findings.noted().await;
    }
    let told = findings.await_event().await;
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0].0, "acme.-.-.quota.reached");
    assert_eq!(told[0].1["quota"], json!({"name": "events_per_second", "limit": 5}));
}

#[tokio::test]
async fn a_loop_makes_one_event_an_hour_that_names_its_source() {
    let mut findings = FindingsFixture::new();
    let looping = |at| Finding::EventLoop { tenant: "acme".into(), source_id: Some("main".into()), at };
    for at in [NOW, NOW + 1, NOW + 3_600_000] {
        findings.say(vec![looping(at)]).await;
        findings.noted().await;
    }
    let published = findings.published().await;
    assert_eq!(published.len(), 2);
    let Incoming { key, message, .. } = &published[0];
    assert_eq!(key, "acme.-.-.event.loop");
    let body: Value = serde_json::from_slice(&message.body).unwrap();
    assert_eq!(body["loop"], json!({"source_id": "main", "max_hops": 3}));
    assert_eq!(message.headers.int(wire::HOPS), Some(3), "an endpoint that posts it back is refused at once");
}
