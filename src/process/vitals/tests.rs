//! A process' broker and store, lost and found again under paused time.

use std::sync::Arc;

use broker::memory::Memory;
use service::metrics::Registry;
use store::{MemoryStore, Store as _};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::*;

/// Unix ms when the test begins.
const START: u64 = 1_790_000_000_000;

struct Fixture {
    broker: Memory,
    store: Arc<MemoryStore>,
    vitals: Vitals,
    _running: CancellationToken,
}

fn world() -> Fixture {
    let begun = Instant::now();
    let clock: service::Clock = Arc::new(move || START + begun.elapsed().as_millis() as u64);
    let (broker, store) = (Memory::calm(clock.clone()), Arc::new(MemoryStore::default()));
    let registry = Arc::new(Registry::default());
    let shutdown = CancellationToken::new();
    let running = shutdown.clone();
    let shared = SharedDependencies::new(Arc::new(broker.clone()), store.clone(), registry.clone(), clock, &shutdown);
    watch(&Ops::new(registry.clone(), shutdown), &shared).unwrap();
    Fixture { broker, store, vitals: Vitals::register(&registry).unwrap(), _running: running }
}

/// Long enough to be noticed.
async fn noticed() {
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_stands_again_after_a_loss_is_a_reconnect_and_the_first_one_or_an_alarm_is_none() {
    let Fixture { broker, vitals, _running, .. } = world();
    let mut seen = Vec::new();
    let mut look = async || {
        noticed().await;
        seen.push((vitals.connected.get(), vitals.blocked.get(), vitals.reconnects.get()));
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
async fn how_new_the_snapshot_is_stays_what_it_was_while_the_store_is_away() {
    let Fixture { store, vitals, _running, .. } = world();
    let confirmed = || (vitals.confirmed.get() - START as f64 / 1_000.0).round();
    sleep(Duration::from_secs(60)).await;
    assert_eq!((confirmed(), vitals.revision.get()), (0.0, 1), "nobody has looked since");
    store.pull().await.unwrap();
    sleep(2 * LOOK).await;
    assert_eq!(confirmed(), 60.0);
    store.set_away(true);
    for failures in 1..4 {
        store.pull().await.unwrap_err();
        sleep(2 * LOOK).await;
        assert_eq!((confirmed(), vitals.reload_failures.get()), (60.0, failures));
    }
}

#[test]
fn each_reason_of_an_absence_is_said_once_and_again_after_the_next() {
    let away = |why: &str| ConnectionState::Away(why.to_owned());
    let mut said = Said::default();
    let heard: Vec<_> = [
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
    .map(|link| said.is_new(link))
    .collect();
    assert_eq!(heard, [true, true, false, true, false, true, true, true]);
    assert_eq!((0..100).filter(|nth| said.is_new(&away(&nth.to_string()))).count(), REASONS);
    assert!(
        said.is_new(&ConnectionState::Blocked("alarm".to_owned())) && said.is_new(&ConnectionState::Ready),
        "it stands again"
    );
}
