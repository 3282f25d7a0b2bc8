//! Two processes on one broker in memory, under paused time.

use std::sync::Mutex;

use broker::{Notices, memory::Memory};
use schemas::{Counts, Finding};
use service::metrics::Registry;
use store::{MemoryStore, Pulled, Snapshot, StoreError};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::process::Roles;

const NOW: u64 = 1_790_000_000_000;

/// A store at a revision, whose pull brings that of the database. A database without one is away.
fn replica(revision: u64, database: &Arc<Mutex<Option<u64>>>) -> Arc<MemoryStore> {
    let store = MemoryStore::without_snapshot();
    set_revision(&store, revision);
    let database = database.clone();
    store.when_pulled(move || match *database.lock().unwrap() {
        Some(revision) => Pulled::Snapshot(Arc::new(Snapshot::new(revision, []))),
        None => Pulled::Failure(StoreError("away".to_owned())),
    });
    Arc::new(store)
}

fn set_revision(store: &MemoryStore, revision: u64) {
    store.set_snapshot(Snapshot::new(revision, []));
}

/// Waits until a store's snapshot has this revision.
async fn until(store: &MemoryStore, revision: u64) {
    store.revision().wait_for(|now| *now == revision).await.unwrap();
}

fn process(broker: &Memory, store: Arc<dyn Store>) -> (NoticeTasks, SharedDependencies) {
    let registry = Arc::new(Registry::default());
    let shutdown = CancellationToken::new();
    let shared = SharedDependencies::new(Arc::new(broker.clone()), store, registry, Arc::new(|| NOW), &shutdown);
    let config = crate::config::load(&Default::default(), []).unwrap().config;
    let ops = service::ops::Ops::new(shared.registry.clone(), shutdown.clone());
    let presence = Presence::new(&config, Roles::STANDALONE, &shared, &ops, &watch::channel(Default::default()).1);
    (NoticeTasks::start(&shared, Arc::default(), presence).unwrap(), shared)
}

fn broker() -> Memory {
    Memory::calm(Arc::new(|| NOW))
}

/// The next notice that is neither a greeting nor a process' report of itself.
async fn next(notices: &mut Notices) -> Notice {
    loop {
        match Notice::read(&notices.next().await.unwrap()) {
            None | Some(Notice::Hello | Notice::Process(_)) => {}
            Some(notice) => return notice,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_of_one_process_is_pulled_by_the_other_and_announced_once() {
    let (broker, database) = (broker(), Arc::new(Mutex::new(Some(1))));
    let (here, there) = (replica(1, &database), replica(1, &database));
    let (_here, _) = process(&broker, here.clone());
    let (_there, _) = process(&broker, there.clone());
    sleep(REPORT_INTERVAL).await;
    let mut notices = broker.notices();
    *database.lock().unwrap() = Some(2);
    set_revision(&here, 2);
    until(&there, 2).await;
    sleep(10 * REPORT_INTERVAL).await;
    assert_eq!(next(&mut notices).await, Notice::Revision { revision: 2 });
    broker.announce("the end".into());
    let is_report = |notice: &[u8]| matches!(Notice::read(notice), Some(Notice::Process(_)));
    while let Some(notice) = notices.next().await.filter(|notice| notice != "the end") {
        assert!(is_report(&notice), "{notice:?}");
    }
    assert_eq!(there.pulls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_pulled_again_until_it_has_the_announced_revision() {
    let (broker, database) = (broker(), Arc::new(Mutex::new(None)));
    let store = replica(1, &database);
    let (_process, _) = process(&broker, store.clone());
    tokio::task::yield_now().await;
    broker.announce(Notice::Revision { revision: 7 }.write().into());
    sleep(Duration::from_secs(3_600)).await;
    let pulls = store.pulls();
    assert!((300..400).contains(&pulls), "{pulls} in an hour");
    *database.lock().unwrap() = Some(7);
    until(&store, 7).await;
}

#[tokio::test(start_paused = true)]
async fn changes_after_a_restore_to_an_older_state_are_announced_and_lost_revisions_are_not_awaited() {
    let (broker, database) = (broker(), Arc::new(Mutex::new(Some(9))));
    let (here, there) = (replica(9, &database), replica(9, &database));
    let (_here, _) = process(&broker, here.clone());
    let (_there, _) = process(&broker, there.clone());
    sleep(REPORT_INTERVAL).await;
    *database.lock().unwrap() = Some(4);
    set_revision(&here, 4);
    set_revision(&there, 4);
    sleep(REPORT_INTERVAL).await;
    let pulls = there.pulls();
    let mut notices = broker.notices();
    *database.lock().unwrap() = Some(5);
    set_revision(&here, 5);
    until(&there, 5).await;
    let announced = timeout(REPORT_INTERVAL, next(&mut notices)).await.expect("it is announced");
    assert_eq!(announced, Notice::Revision { revision: 5 });
    sleep(100 * REPORT_INTERVAL).await;
    assert_eq!(there.pulls(), pulls + 1);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_reaches_the_broker_again_greets_and_announces_its_revision() {
    let (broker, database) = (broker(), Arc::new(Mutex::new(Some(3))));
    let (_process, _) = process(&broker, replica(3, &database));
    broker.go_away("cut");
    sleep(REPORT_INTERVAL).await;
    let mut notices = broker.notices();
    broker.come_back();
    assert_eq!(Notice::read(&notices.next().await.unwrap()), Some(Notice::Hello));
    assert_eq!(next(&mut notices).await, Notice::Revision { revision: 3 });
}

#[tokio::test(start_paused = true)]
async fn counts_are_reported_every_fifteen_seconds_and_the_last_report_waits_until_it_is_noted() {
    let (broker, database) = (broker(), Arc::new(Mutex::new(Some(1))));
    let (process, shared) = process(&broker, replica(1, &database));
    sleep(REPORT_INTERVAL).await;
    let mut notices = broker.notices();
    let one = Counts { attempts: 1, ..Counts::default() };
    shared.outbox.add(NOW, "acme", Some("crm"), one);
    let begun = tokio::time::Instant::now();
    let gone = Finding::Gone { tenant: "acme".into(), endpoint_id: "crm".into(), version: None };
    shared.outbox.record_finding(gone.clone());
    let Notice::Findings { process: id, sequence, findings } = next(&mut notices).await else { panic!("no findings") };
    assert!(findings == [gone] && begun.elapsed() <= REPORT_INTERVAL, "who waits for it, waits a second: {findings:?}");
    broker.announce(Notice::Noted { process: id.clone(), sequence }.write().into());
    next(&mut notices).await;
    let Notice::Findings { sequence, findings, .. } = next(&mut notices).await else { panic!("no findings") };
    assert!(matches!(findings[..], [Finding::Usage { .. }]) && begun.elapsed() > 10 * REPORT_INTERVAL, "{findings:?}");
    broker.announce(Notice::Noted { process: id.clone(), sequence }.write().into());
    next(&mut notices).await;
    shared.outbox.add(NOW, "acme", Some("crm"), one);
    let begun = tokio::time::Instant::now();
    let ending = tokio::spawn(process.finish());
    let Notice::Findings { sequence, .. } = next(&mut notices).await else { panic!("no findings") };
    broker.announce(Notice::Noted { process: id, sequence }.write().into());
    ending.await.unwrap();
    assert!(begun.elapsed() < LAST_REPORT_TIMEOUT && shared.outbox.is_settled());
}

#[tokio::test(start_paused = true)]
async fn counts_are_reported_at_once_to_a_process_that_begins_to_listen() {
    let broker = broker();
    let (_process, shared) = process(&broker, replica(1, &Arc::new(Mutex::new(Some(1)))));
    sleep(REPORT_INTERVAL).await;
    let mut notices = broker.notices();
    shared.outbox.add(NOW, "acme", None, Counts { events: 1, ..Counts::default() });
    let begun = tokio::time::Instant::now();
    broker.announce(Notice::Hello.write().into());
    assert!(matches!(next(&mut notices).await, Notice::Findings { .. }));
    assert!(begun.elapsed() < REPORT_INTERVAL);
}

#[tokio::test(start_paused = true)]
async fn an_unnoted_last_report_delays_the_end_by_no_more_than_its_timeout() {
    let (process, shared) = process(&broker(), replica(1, &Arc::new(Mutex::new(Some(1)))));
    shared.outbox.add(NOW, "acme", None, Counts { events: 1, ..Counts::default() });
    let begun = tokio::time::Instant::now();
    process.finish().await;
    assert_eq!(begun.elapsed(), LAST_REPORT_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn shares_of_events_that_a_router_announces_reach_every_process() {
    let (broker, database) = (broker(), Arc::new(Mutex::new(Some(1))));
    let (_process, shared) = process(&broker, replica(1, &database));
    sleep(REPORT_INTERVAL).await;
    let by_tenant = std::collections::BTreeMap::from([("acme".to_owned(), 2.5)]);
    broker.announce(Notice::EventShares { process: "router".to_owned(), by_tenant }.write().into());
    sleep(REPORT_INTERVAL).await;
    assert_eq!((shared.event_shares.of("acme", NOW), shared.event_shares.of("beta", NOW)), (Some(2.5), None));
}
