//! Quotas of dead letters: counted from the log, announced, and published to the tenant as an event.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use broker::{Broker, Log, LogBytes, Notices, Queue, memory::Memory};
use schemas::{DeadLetterRetention, Notice, RetentionLevels, Tenant};
use serde_json::json;
use service::Clock;
use store::MemoryStore;
use tokio_util::sync::CancellationToken;

use super::fixture::{DeadDelivery, Fixture, NOW, append, append_body, append_without_body, edit, tracker};
use crate::{DeadLetterFilter, Replay, ReplayProgress};

/// A control that counts, for a tenant `acme` with this quota and a tenant `free` without.
fn fixture(quota: u64) -> (Fixture, Arc<MemoryStore>, Notices) {
    let tenants = [json!({"id": "acme", "quota": {"dead_letters": quota}}), json!({"id": "free"})];
    let tenants = tenants.map(|tenant| serde_json::from_value::<Tenant>(tenant).unwrap());
    let store = Arc::new(MemoryStore::new(tenants));
    let fixture = Fixture::with(Memory::calm(Arc::new(|| NOW)), store.clone());
    let notices = fixture.broker.notices();
    (fixture, store, notices)
}

fn count(fixture: &Fixture) {
    let control = fixture.control.clone();
    tokio::spawn(async move { control.watch_dead_letters().await });
}

/// The next announcement.
async fn levels(notices: &mut Notices) -> BTreeMap<String, DeadLetterRetention> {
    loop {
        if let Some(Notice::DeadLetterRetention(levels)) = Notice::read(&notices.next().await.unwrap()) {
            return levels.by_tenant;
        }
    }
}

fn acme(level: DeadLetterRetention) -> BTreeMap<String, DeadLetterRetention> {
    BTreeMap::from([("acme".to_owned(), level)])
}

#[tokio::test(start_paused = true)]
async fn a_tenants_dead_letters_are_counted_as_they_die_and_are_replayed() {
    let (fixture, _, mut notices) = fixture(2);
    for event in ["e1", "e2", "e3"] {
        append(&fixture.broker, &DeadDelivery::default().event(event).to("free", "crm")).await;
    }
    append(&fixture.broker, &DeadDelivery::default().event("e1")).await;
    count(&fixture);
    assert_eq!(levels(&mut notices).await, BTreeMap::new());
    append(&fixture.broker, &DeadDelivery::default().event("e2")).await;
    assert_eq!(levels(&mut notices).await, acme(DeadLetterRetention::Records));
    for event in 3..21 {
        append_without_body(&fixture.broker, &DeadDelivery::default().event(&format!("e{event}"))).await;
    }
    assert_eq!(levels(&mut notices).await, acme(DeadLetterRetention::Counts));
    let (to, marker) = broker::records::ReplayMarker::of(&DeadDelivery::default().event("e1").delivery, 3, "job", NOW);
    fixture.broker.publish(&to, &marker).await.unwrap();
    assert_eq!(levels(&mut notices).await, BTreeMap::new(), "one has its body, of nineteen");
}

#[tokio::test(start_paused = true)]
async fn a_reached_quota_makes_one_event_and_is_announced_again_to_new_listeners() {
    let (fixture, _, mut notices) = fixture(1);
    append(&fixture.broker, &DeadDelivery::default()).await;
    count(&fixture);
    let control = fixture.control.clone();
    tokio::spawn(async move { control.keep_findings().await });
    levels(&mut notices).await;
    let before = tokio::time::Instant::now();
    fixture.broker.announce(Notice::Hello.write().into());
    assert_eq!(levels(&mut notices).await, acme(DeadLetterRetention::Records));
    assert!(before.elapsed() < Duration::from_secs(1), "at once");
    levels(&mut notices).await;
    let mut told = fixture.broker.consume(Queue::Ingest, 9.into());
    let event: serde_json::Value = serde_json::from_slice(&told.next().await.unwrap().message.body).unwrap();
    assert_eq!(event["quota"], json!({"name": "dead_letters", "limit": 1}));
    assert_eq!(fixture.broker.depth(Queue::Ingest), 1);
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_is_new_counts_what_died_before_it() {
    let (fixture, store, mut notices) = fixture(100);
    append(&fixture.broker, &DeadDelivery::default().to("free", "crm")).await;
    count(&fixture);
    assert_eq!(levels(&mut notices).await, BTreeMap::new());
    edit(&*store, "operator", NOW, |draft| {
        draft.tenant("free")?.quota.get_or_insert_default().dead_letters = Some(1);
        Ok(())
    })
    .await;
    assert_eq!(levels(&mut notices).await, BTreeMap::from([("free".to_owned(), DeadLetterRetention::Records)]));
}

/// A control with a log of so many bytes, for tenants `acme` and `zeta`.
fn sized_fixture(dead: u64) -> (Fixture, Notices) {
    let store = Arc::new(MemoryStore::new(["acme", "zeta"].map(Tenant::new)));
    let fixture = Fixture::with(Memory::calm(Arc::new(|| NOW)), store);
    fixture.broker.set_max_log_bytes(LogBytes { dead, ..LogBytes::default() });
    let notices = fixture.broker.notices();
    (fixture, notices)
}

async fn announced(notices: &mut Notices) -> RetentionLevels {
    loop {
        if let Some(Notice::DeadLetterRetention(levels)) = Notice::read(&notices.next().await.unwrap()) {
            return levels;
        }
    }
}

/// Appends dead letters of a tenant, with bodies of 1,000 bytes. Returns the bytes of one record.
async fn die(fixture: &Fixture, tenant: &str, events: std::ops::Range<usize>) -> u64 {
    for event in events {
        append_body(
            &fixture.broker,
            &DeadDelivery::default().event(&format!("e{event}")).to(tenant, "crm"),
            vec![b' '; 1_000].into(),
        )
        .await;
    }
    fixture.broker.records(Log::Dead).last().unwrap().message.size() as u64
}

#[tokio::test(start_paused = true)]
async fn a_tenant_alone_may_fill_the_log_and_beside_another_one_it_keeps_its_share() {
    let (fixture, mut notices) = sized_fixture(320_000);
    let size = die(&fixture, "acme", 0..400).await;
    count(&fixture);
    let alone = RetentionLevels {
        allowance: Some(10_000),
        allowances: BTreeMap::from([("acme".to_owned(), 80_000)]),
        ..RetentionLevels::default()
    };
    assert_eq!(announced(&mut notices).await, alone, "it has filled more than the log");

    die(&fixture, "zeta", 0..1).await;
    let (mut levels, mut left, mut next) = (announced(&mut notices).await, vec![], 400);
    let mut die_until = async |level: Option<DeadLetterRetention>| {
        while levels.by_tenant.get("acme").copied() != level {
            left.extend(levels.allowances.get("acme").copied());
            die(&fixture, "acme", next..next + 1).await;
            (levels, next) = (announced(&mut notices).await, next + 1);
        }
        (next - 400) as u64 * size
    };
    let kept = die_until(Some(DeadLetterRetention::Records)).await;
    assert!((90_000..110_000).contains(&kept), "a third of the log: {kept}");
    let mut told = fixture.broker.consume(Queue::Ingest, 9.into());
    let event: serde_json::Value = serde_json::from_slice(&told.next().await.unwrap().message.body).unwrap();
    assert_eq!(event["quota"], json!({"name": "dead_letter_bytes", "limit": 106_666}));

    let kept = die_until(Some(DeadLetterRetention::Counts)).await;
    assert!((140_000..165_000).contains(&kept), "half of the log: {kept}");
    assert!(!left.is_empty() && left.is_sorted_by(|more, less| more > less) && left[0] < 10_000, "{left:?}");
    assert_eq!(fixture.broker.depth(Queue::Ingest), 1, "it was told once");
    let (to, marker) = broker::records::ReplayMarker::of(
        &DeadDelivery::default().event("e0").to("zeta", "crm").delivery,
        400,
        "job",
        NOW,
    );
    fixture.broker.publish(&to, &marker).await.unwrap();
    assert_eq!(announced(&mut notices).await.by_tenant, BTreeMap::new(), "it is alone again");
}

#[tokio::test(start_paused = true)]
async fn a_quota_of_bytes_holds_also_for_a_tenant_that_is_alone() {
    let (fixture, mut notices) = sized_fixture(1_000_000);
    let size = die(&fixture, "acme", 0..2).await;
    edit(&*fixture.control.deps.store, "operator", NOW, move |draft| {
        draft.tenant("acme")?.quota.get_or_insert_default().dead_letter_bytes = Some(2 * size + 1);
        Ok(())
    })
    .await;
    count(&fixture);
    let near = announced(&mut notices).await;
    assert_eq!((near.by_tenant, near.allowances), (BTreeMap::new(), BTreeMap::from([("acme".to_owned(), 1)])));
    die(&fixture, "acme", 2..3).await;
    assert_eq!(announced(&mut notices).await.by_tenant, acme(DeadLetterRetention::Records));
}

/// Replays all that acme has. Returns how many dead letters were replayed, and how many skipped.
async fn replayed(fixture: &Fixture) -> (u64, u64) {
    let live = crate::dead_letters::find(&fixture.broker, Some("acme"), &DeadLetterFilter::default()).await.unwrap();
    let has_room = || fixture.control.has_room_for_replays("acme");
    let (clock, so_far): (Clock, _) = (Arc::new(|| NOW), Mutex::default());
    let replay = Replay {
        broker: &fixture.broker,
        receivers: None,
        replay_id: "job",
        has_room: Some(&has_room),
        rate: None,
        clock: &clock,
        outbox: None,
        runs: None,
        metrics: None,
        stop: CancellationToken::new(),
    };
    let tracker = tracker(&live);
    replay.run(live, tracker, |progress| *so_far.lock().unwrap() = progress).await;
    let ReplayProgress { replayed, skipped, .. } = so_far.into_inner().unwrap();
    (replayed, skipped)
}

#[tokio::test(start_paused = true)]
async fn what_died_once_can_always_be_replayed_and_what_came_back_within_four_shares() {
    let (fixture, mut notices) = sized_fixture(100_000);
    edit(&*fixture.control.deps.store, "operator", NOW, |draft| {
        draft.tenant("acme")?.quota.get_or_insert_default().dead_letter_bytes = Some(0);
        Ok(())
    })
    .await;
    die(&fixture, "zeta", 0..40).await;
    die(&fixture, "acme", 0..5).await;
    count(&fixture);
    assert_eq!(announced(&mut notices).await.by_tenant, acme(DeadLetterRetention::Counts));
    assert_eq!(replayed(&fixture).await, (5, 0), "whatever the quota and others leave");
    for event in 0..5 {
        let mut dead = DeadDelivery::default().event(&format!("e{event}"));
        dead.delivery.replay = Some("job".to_owned());
        append_body(&fixture.broker, &dead, vec![b' '; 1_000].into()).await;
    }
    die(&fixture, "acme", 5..6).await;
    announced(&mut notices).await;
    assert_eq!(replayed(&fixture).await, (1, 5), "these came back, and are more than four hundredths of the log");
}
