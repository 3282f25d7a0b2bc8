//! When a consuming loop counts as stuck, in paused time.

use std::{
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use schemas::Message;
use tokio::{
    sync::watch,
    task::{JoinHandle, yield_now},
    time::{advance, sleep},
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{Broker, ConnectionState, Deadline, Lane, Queue, Target, memory::Memory, publish_until_confirmed};

const INTAKE: Target = Target::Lane(Lane::Fast, None);
const ONWARD: Target = Target::Lane(Lane::Slow, None);
const MINUTE: Duration = Duration::from_secs(60);

type Handling = Pin<Box<dyn Future<Output = Settlement> + Send>>;

/// A handler that runs this for each message.
struct FnHandler(Box<dyn Fn() -> Handling + Send + Sync>);

impl Handler for FnHandler {
    async fn handle(&self, _: &Incoming) -> Settlement {
        (self.0)().await
    }

    async fn panicked(&self, _: &Incoming) -> Settlement {
        Settlement::Done
    }
}

/// A role that runs on the memory broker.
struct Role {
    broker: Memory,
    status: Arc<ConsumerStatus>,
    stop: CancellationToken,
    working: JoinHandle<()>,
}

impl Role {
    fn on(broker: Memory, handle: impl Fn() -> Handling + Send + Sync + 'static) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let status = ConsumerStatus::new(broker.connection_state(), Instant::now());
        let queue = Queue::Lane(Lane::Fast);
        let consumer = broker.consume(queue, 8.into());
        let working =
            tokio::spawn(run_handler(queue, consumer, Arc::new(FnHandler(Box::new(handle))), stopped, status.clone()));
        Self { broker, status, stop, working }
    }

    async fn receive_message(&self) {
        self.broker.publish(&INTAKE, &Message::default()).await.expect("taken");
    }

    fn alive(&self) -> Result<(), String> {
        self.status.alive(Instant::now())
    }

    /// Fails if the role looks stuck within this time.
    async fn stays_alive_for(&self, minutes: u32) {
        for minute in 0..minutes {
            assert_eq!(self.alive(), Ok(()), "minute {minute}");
            sleep(MINUTE).await;
        }
    }
}

fn memory() -> Memory {
    Memory::calm(Arc::new(|| 0))
}

/// A handler that publishes what follows until it is confirmed.
fn publishes(broker: &Memory) -> impl Fn() -> Handling + Send + Sync + 'static {
    let broker = broker.clone();
    move || {
        let broker = broker.clone();
        Box::pin(async move {
            let deadline = Deadline { stop: CancellationToken::new(), limit: None };
            publish_until_confirmed(&broker, &ONWARD, &Message::default(), deadline).await.expect("confirmed");
            Settlement::Done
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_never_done_with_is_reported_after_a_quarter_of_an_hour() {
    let role = Role::on(memory(), || Box::pin(std::future::pending()));
    role.receive_message().await;
    role.receive_message().await;
    role.stays_alive_for(14).await;
    sleep(2 * MINUTE).await;
    assert_eq!(role.alive(), Err("2 in hand for more than 15 min".to_owned()));
    sleep(600 * MINUTE).await;
    assert_eq!(role.alive(), Err("2 in hand for more than 15 min".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn many_messages_that_take_long_are_no_reason() {
    let role = Role::on(memory(), || {
        Box::pin(async {
            sleep(14 * MINUTE).await;
            Settlement::Done
        })
    });
    for _ in 0..200 {
        role.receive_message().await;
    }
    role.stays_alive_for(6 * 60).await;
    assert_eq!(role.broker.depth(Queue::Lane(Lane::Fast)), 0);
}

#[tokio::test(start_paused = true)]
async fn an_idle_role_is_alive() {
    let role = Role::on(memory(), || Box::pin(std::future::pending()));
    role.stays_alive_for(48 * 60).await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_away_blocked_or_refusing_for_hours_is_no_reason() {
    let broker = memory();
    let role = Role::on(broker.clone(), publishes(&broker));
    for fault in ["away", "blocked", "refusing"] {
        // The publish that follows is refused once, so that the message is in hand when the fault comes.
        broker.nack_confirm(2);
        role.receive_message().await;
        sleep(Duration::from_millis(10)).await;
        match fault {
            "away" => broker.go_away("on purpose"),
            "blocked" => broker.block("on purpose"),
            _ => (1..=2_000).for_each(|nth| broker.nack_confirm(nth)),
        }
        role.stays_alive_for(120).await;
        assert_ne!(role.broker.depth(Queue::Lane(Lane::Fast)), 0, "{fault} was not in its way");
        broker.come_back();
        role.stays_alive_for(120).await;
        assert_eq!(role.broker.depth(Queue::Lane(Lane::Fast)), 0, "{fault}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_is_never_answered_although_the_broker_flows_is_reported() {
    let broker = memory();
    broker.delay_confirms(600 * MINUTE);
    let role = Role::on(broker.clone(), publishes(&broker));
    let publisher = broker.clone();
    tokio::spawn(async move { publisher.publish(&INTAKE, &Message::default()).await });
    sleep(16 * MINUTE).await;
    assert_eq!(role.alive(), Err("1 in hand for more than 15 min".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_does_not_turn_is_reported_after_a_minute_and_one_that_has_not_begun_is_not() {
    let status = ConsumerStatus::new(watch::Sender::new(ConnectionState::Ready).subscribe(), Instant::now());
    advance(10 * MINUTE).await;
    assert_eq!(status.alive(Instant::now()), Ok(()), "it waits for a snapshot");
    status.begin(&memory().consume(Queue::Ingest, 1.into()), Instant::now());
    advance(MINUTE).await;
    assert_eq!(status.alive(Instant::now()), Ok(()));
    advance(Duration::from_secs(5)).await;
    assert_eq!(status.alive(Instant::now()), Err("its loop has not turned for 65 s".to_owned()));
    status.turn(Instant::now());
    assert_eq!(status.alive(Instant::now()), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_role_that_drains_is_alive_as_long_as_it_may() {
    let role = Role::on(memory(), || {
        Box::pin(async {
            sleep(Duration::from_secs(30)).await;
            Settlement::Done
        })
    });
    role.receive_message().await;
    yield_now().await;
    role.stop.cancel();
    for _ in 0..29 {
        sleep(Duration::from_secs(1)).await;
        assert_eq!((role.alive(), role.working.is_finished()), (Ok(()), false));
    }
    role.working.await.expect("no panic");
}

/// The most messages of a queue that a role takes while another task has one turn.
async fn most_in_one_turn(queue: Queue) -> usize {
    let (broker, taken) = (memory(), Arc::new(AtomicUsize::new(0)));
    let Queue::Lane(lane) = queue else { panic!("{queue:?} is no lane") };
    for _ in 0..100 {
        broker.publish(&Target::Lane(lane, None), &Message::default()).await.expect("taken");
    }
    let (counted, stop) = (taken.clone(), CancellationToken::new());
    let handler = FnHandler(Box::new(move || {
        counted.fetch_add(1, Relaxed);
        Box::pin(async { Settlement::Done })
    }));
    let status = ConsumerStatus::new(broker.connection_state(), Instant::now());
    tokio::spawn(run_handler(queue, broker.consume(queue, 100.into()), Arc::new(handler), stop.clone(), status));
    let (mut most, mut before) = (0, 0);
    while before < 100 {
        yield_now().await;
        let now = taken.load(Relaxed);
        (most, before) = (most.max(now - before), now);
    }
    stop.cancel();
    most
}

#[tokio::test]
async fn a_queue_that_gives_way_comes_in_a_few_messages_in_a_turn() {
    assert!(most_in_one_turn(Queue::Lane(Lane::Slow)).await <= GIVING_WAY_AT_ONCE as usize);
    assert!(
        most_in_one_turn(Queue::Lane(Lane::Fast)).await > GIVING_WAY_AT_ONCE as usize,
        "the others come as they are"
    );
}
