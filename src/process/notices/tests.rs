//! Two processes on one broker in memory, under paused time.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use broker::{Notices, memory::Memory};
use futures_util::{FutureExt as _, future::BoxFuture};
use schemas::Counts;
use service::metrics::Registry;
use store::{Snapshot, StoreError};
use tokio_util::sync::CancellationToken;

use super::*;

const NOW: u64 = 1_790_000_000_000;

/// A store whose database has some revision, which a pull brings. A database without one is away.
struct Replica {
    snapshot: Mutex<Arc<Snapshot>>,
    revision: watch::Sender<u64>,
    database: Arc<Mutex<Option<u64>>>,
    pulls: AtomicUsize,
}

impl Replica {
    fn at(revision: u64, database: &Arc<Mutex<Option<u64>>>) -> Arc<Self> {
        Arc::new(Self {
            snapshot: Mutex::new(Arc::new(Snapshot::new(revision, []))),
            revision: watch::Sender::new(revision),
            database: database.clone(),
            pulls: AtomicUsize::new(0),
        })
    }

    fn set(&self, revision: u64) {
        *self.snapshot.lock().unwrap() = Arc::new(Snapshot::new(revision, []));
        self.revision.send_replace(revision);
    }

    /// Waits until its snapshot has this revision.
    async fn until(&self, revision: u64) {
        self.revision.subscribe().wait_for(|now| *now == revision).await.unwrap();
    }
}

impl Store for Replica {
    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        Some(self.snapshot.lock().unwrap().clone())
    }

    fn revision(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    fn pull(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.pulls.fetch_add(1, Ordering::Relaxed);
        let database = *self.database.lock().unwrap();
        let pulled = database.map(|revision| self.set(revision)).ok_or_else(|| StoreError("away".to_owned()));
        std::future::ready(pulled).boxed()
    }
}

fn process(broker: &Memory, store: Arc<dyn Store>) -> (NoticeTasks, SharedDependencies) {
    let registry = Arc::new(Registry::default());
    let shutdown = CancellationToken::new();
    let shared = SharedDependencies::new(Arc::new(broker.clone()), store, registry, Arc::new(|| NOW), &shutdown);
    (NoticeTasks::start(&shared).unwrap(), shared)
}

fn broker() -> Memory {
    Memory::calm(Arc::new(|| NOW))
}

/// The next notice that is not a greeting.
async fn next(notices: &mut Notices) -> Notice {
    loop {
        match Notice::read(&notices.next().await.unwrap()) {
            None | Some(Notice::Hello) => {}
            Some(notice) => return notice,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_of_one_process_is_pulled_by_the_other_and_announced_once() {
    let (broker, database) = (broker(), Arc::new(Mutex::new(Some(1))));
    let (here, there) = (Replica::at(1, &database), Replica::at(1, &database));
    let (_here, _) = process(&broker, here.clone());
    let (_there, _) = process(&broker, there.clone());
    sleep(REPORT_INTERVAL).await;
    let mut notices = broker.notices();
    *database.lock().unwrap() = Some(2);
    here.set(2);
    there.until(2).await;
    sleep(10 * REPORT_INTERVAL).await;
    assert_eq!(next(&mut notices).await, Notice::Revision { revision: 2 });
    broker.announce("the end".into());
    assert_eq!(notices.next().await.unwrap(), "the end");
    assert_eq!(there.pulls.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_pulled_again_until_it_has_the_announced_revision() {
    let (broker, database) = (broker(), Arc::new(Mutex::new(None)));
    let replica = Replica::at(1, &database);
    let (_process, _) = process(&broker, replica.clone());
    tokio::task::yield_now().await;
    broker.announce(Notice::Revision { revision: 7 }.write().into());
    sleep(Duration::from_secs(3_600)).await;
    let pulls = replica.pulls.load(Ordering::Relaxed);
    assert!((300..400).contains(&pulls), "{pulls} in an hour");
    *database.lock().unwrap() = Some(7);
    replica.until(7).await;
}

#[tokio::test(start_paused = true)]
async fn changes_after_a_restore_to_an_older_state_are_announced_and_lost_revisions_are_not_awaited() {
    let (broker, database) = (broker(), Arc::new(Mutex::new(Some(9))));
    let (here, there) = (Replica::at(9, &database), Replica::at(9, &database));
    let (_here, _) = process(&broker, here.clone());
    let (_there, _) = process(&broker, there.clone());
    sleep(REPORT_INTERVAL).await;
    *database.lock().unwrap() = Some(4);
    here.set(4);
    there.set(4);
    sleep(REPORT_INTERVAL).await;
    let pulls = there.pulls.load(Ordering::Relaxed);
    let mut notices = broker.notices();
    *database.lock().unwrap() = Some(5);
    here.set(5);
    there.until(5).await;
    let announced = timeout(REPORT_INTERVAL, next(&mut notices)).await.expect("it is announced");
    assert_eq!(announced, Notice::Revision { revision: 5 });
    sleep(100 * REPORT_INTERVAL).await;
    assert_eq!(there.pulls.load(Ordering::Relaxed), pulls + 1);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_reaches_the_broker_again_greets_and_announces_its_revision() {
    let (broker, database) = (broker(), Arc::new(Mutex::new(Some(3))));
    let (_process, _) = process(&broker, Replica::at(3, &database));
    broker.go_away("cut");
    sleep(REPORT_INTERVAL).await;
    let mut notices = broker.notices();
    broker.come_back();
    assert_eq!(Notice::read(&notices.next().await.unwrap()), Some(Notice::Hello));
    assert_eq!(next(&mut notices).await, Notice::Revision { revision: 3 });
}

#[tokio::test(start_paused = true)]
async fn counts_are_reported_within_a_second_and_the_last_report_waits_until_it_is_noted() {
    let (broker, database) = (broker(), Arc::new(Mutex::new(Some(1))));
    let (process, shared) = process(&broker, Replica::at(1, &database));
    sleep(REPORT_INTERVAL).await;
    let mut notices = broker.notices();
    let one = Counts { attempts: 1, ..Counts::default() };
    shared.outbox.add(NOW, "acme", Some("crm"), one);
    let Notice::Findings { process: id, sequence, .. } = next(&mut notices).await else { panic!("no findings") };
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
async fn a_last_report_that_nobody_notes_delays_the_end_by_no_more_than_its_timeout() {
    let (process, shared) = process(&broker(), Replica::at(1, &Arc::new(Mutex::new(Some(1)))));
    shared.outbox.add(NOW, "acme", None, Counts { events: 1, ..Counts::default() });
    let begun = tokio::time::Instant::now();
    process.finish().await;
    assert_eq!(begun.elapsed(), LAST_REPORT_TIMEOUT);
}
