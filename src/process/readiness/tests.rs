//! The broker and the store of a process, lost and found again, in paused time.

use std::sync::Arc;

use broker::memory::Memory;
use service::metrics::Registry;
use store::{MemoryStore, Store as _};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::*;

/// Unix milliseconds when the test begins.
const START: u64 = 1_790_000_000_000;

struct Fixture {
    broker: Memory,
    store: Arc<MemoryStore>,
    metrics: ReadinessMetrics,
    _running: CancellationToken,
}

fn fixture() -> Fixture {
    let begun = Instant::now();
    let clock: service::Clock = Arc::new(move || START + begun.elapsed().as_millis() as u64);
    let (broker, store) = (Memory::calm(clock.clone()), Arc::new(MemoryStore::default()));
    let registry = Arc::new(Registry::default());
    let shutdown = CancellationToken::new();
    let running = shutdown.clone();
    let shared = SharedDependencies::new(Arc::new(broker.clone()), store.clone(), registry.clone(), clock, &shutdown);
    watch(&Ops::new(registry.clone(), shutdown), &shared, Arc::default()).unwrap();
    Fixture { broker, store, metrics: ReadinessMetrics::register(&registry).unwrap(), _running: running }
}

/// Long enough for the task to notice a change.
async fn noticed() {
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_after_a_lost_one_is_a_reconnect_and_the_first_one_or_one_after_an_alarm_is_none() {
    let Fixture { broker, metrics, _running, .. } = fixture();
    let mut seen = Vec::new();
    let mut look = async || {
        noticed().await;
        seen.push((metrics.connected.get(), metrics.blocked.get(), metrics.reconnects.get()));
    };
    look().await;
    broker.block("alarm");
    look().await;
    broker.unblock();
    look().await;
    for _ in 0..2 {
        broker.go_away("cut");
        look().await;
        broker.go_away("still cut");
        look().await;
        broker.come_back();
        look().await;
    }
    let twice = [(0, 0, 0), (0, 0, 0), (1, 0, 1), (0, 0, 1), (0, 0, 1), (1, 0, 2)];
    assert_eq!(seen, [&[(1, 0, 0), (1, 1, 0), (1, 0, 0)][..], &twice].concat());
}

#[tokio::test(start_paused = true)]
async fn the_confirmed_time_stays_what_it_was_while_the_store_is_away() {
    let Fixture { store, metrics, _running, .. } = fixture();
    let confirmed = || (metrics.confirmed.get() - START as f64 / 1_000.0).round();
    sleep(Duration::from_secs(60)).await;
    assert_eq!((confirmed(), metrics.revision.get()), (0.0, 1), "nobody has looked since");
    store.pull().await.unwrap();
    sleep(2 * STORE_INTERVAL).await;
    assert_eq!(confirmed(), 60.0);
    store.set_away(true);
    for failures in 1..4 {
        store.pull().await.unwrap_err();
        sleep(2 * STORE_INTERVAL).await;
        assert_eq!((confirmed(), metrics.reload_failures.get()), (60.0, failures));
    }
}

#[test]
fn each_reason_of_an_absence_is_logged_once_and_again_after_the_next() {
    let away = |why: &str| ConnectionState::Away(why.to_owned());
    let mut logged = LoggedStates::default();
    let new: Vec<_> = [
        away("a"),
        away("b"),
        away("a"),
        ConnectionState::Ready,
        ConnectionState::Ready,
        away("a"),
        ConnectionState::Ready,
        away("b"),
    ]
    .iter()
    .map(|state| logged.is_new(state))
    .collect();
    assert_eq!(new, [true, true, false, true, false, true, true, true]);
    assert_eq!((0..100).filter(|nth| logged.is_new(&away(&nth.to_string()))).count(), MAX_REASONS);
    assert!(
        logged.is_new(&ConnectionState::Blocked("alarm".to_owned())) && logged.is_new(&ConnectionState::Ready),
        "it is ready again"
    );
}
