//! The memory broker: the contract, calm and hostile, in paused time; and the faults that can be injected.

use std::{sync::Arc, time::Duration};

use broker::{Broker, ConnectionState, Due, Lane, PublishError, Queue, Settlement, Target, memory::Memory};
use service::Clock;

use crate::{
    fixture::{Features, Fixture, clock},
    story::{FAST, SLOW, ingest, lane, message, publish, publish_all, take, take_all},
};

/// A calm or a hostile memory broker.
struct MemoryFixture<const HOSTILE: bool> {
    memory: Memory,
    clock: Clock,
}

impl<const HOSTILE: bool> Fixture for MemoryFixture<HOSTILE> {
    async fn start() -> Self {
        let clock = clock();
        let memory = if HOSTILE { Memory::hostile(clock.clone(), 7) } else { Memory::calm(clock.clone()) };
        Self { memory, clock }
    }

    fn features(&self) -> Features {
        Features { durable: false, blocks: true, precise: true }
    }

    fn broker(&self) -> Arc<dyn Broker> {
        Arc::new(self.memory.clone())
    }

    fn clock(&self) -> Clock {
        self.clock.clone()
    }

    async fn block(&mut self) {
        self.memory.block("on purpose");
    }

    async fn unblock(&mut self) {
        self.memory.unblock();
    }
}

mod calm {
    crate::suite::contract!(super::MemoryFixture<false>, start_paused = true);
}

mod hostile {
    crate::suite::contract!(super::MemoryFixture<true>, start_paused = true);
}

#[tokio::test]
async fn a_lost_confirm_means_that_the_message_is_there() {
    let memory = Memory::calm(clock());
    memory.lose_confirm(2);
    publish(&memory, &ingest(), &message(1)).await;
    let lost = memory.publish(&ingest(), &message(2)).await;
    assert!(matches!(lost, Err(PublishError::Lost(_))), "{lost:?}");
    publish(&memory, &ingest(), &message(3)).await;
    assert_eq!(memory.depth(Queue::Ingest), 3);
}

#[tokio::test]
async fn a_nacked_message_is_not_there() {
    let memory = Memory::calm(clock());
    memory.nack_confirm(1);
    assert_eq!(memory.publish(&ingest(), &message(1)).await, Err(PublishError::Nacked));
    publish(&memory, &ingest(), &message(2)).await;
    assert_eq!(memory.depth(Queue::Ingest), 1);
}

#[tokio::test(start_paused = true)]
async fn confirms_can_be_late() {
    let clock = clock();
    let memory = Memory::calm(clock.clone());
    memory.delay_confirms(Duration::from_secs(3));
    let before = clock();
    publish(&memory, &ingest(), &message(1)).await;
    assert_eq!(clock() - before, 3000);
}

#[tokio::test]
async fn consuming_goes_on_while_publishing_is_blocked() {
    let memory = Memory::calm(clock());
    publish_all(&memory, &lane(Lane::Fast), 0..10).await;
    memory.block("alarm");
    take_all(&mut memory.consume(FAST, 1.into()), 0..10).await;
}

#[tokio::test]
async fn a_lost_session_hands_out_again_what_was_out_and_ignores_its_settlement() {
    let memory = Memory::calm(clock());
    publish(&memory, &lane(Lane::Fast), &message(1)).await;
    let mut consumer = memory.consume(FAST, 1.into());
    let stale = take(&mut consumer).await;
    memory.go_away("cut");
    assert!(matches!(memory.publish(&ingest(), &message(2)).await, Err(PublishError::Away(_))));
    assert!(matches!(&*memory.connection_state().borrow(), ConnectionState::Away(_)));
    memory.come_back();
    stale.settle(Settlement::Done);
    let again = take(&mut consumer).await;
    assert_eq!((again.message.id.as_str(), again.redelivered, again.count), ("1", true, 1));
    again.settle(Settlement::Done);
    assert_eq!(memory.depth(FAST), 0);
}

#[tokio::test(start_paused = true)]
async fn a_delayed_message_comes_on_the_millisecond() {
    let clock = clock();
    let memory = Memory::calm(clock.clone());
    let mut consumer = memory.consume(SLOW, 1.into());
    for wait in [86_400_000, 1, 1234] {
        let at = clock() + wait;
        publish(&memory, &Target::Lane(Lane::Slow, Some(Due { at, exact: true })), &message(wait)).await;
        assert_eq!(memory.depth(SLOW), 1);
        // One at a time, so that each is published after the timer of the one before has ended.
        let incoming = take_late(&mut consumer).await;
        assert_eq!(clock(), at);
        incoming.settle(Settlement::Done);
    }
}

/// Takes a message, however late it comes in paused time.
async fn take_late(consumer: &mut broker::Consumer) -> broker::Incoming {
    consumer.next().await.expect("the broker is open")
}

#[tokio::test]
async fn a_hostile_broker_hands_out_some_twice_and_the_same_seed_does_the_same() {
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        let memory = Memory::hostile(clock(), seed);
        publish_all(&memory, &ingest(), 0..1000).await;
        let mut consumer = memory.consume(Queue::Ingest, 1000.into());
        let mut came = Vec::new();
        while memory.depth(Queue::Ingest) > 0 {
            let incoming = take(&mut consumer).await;
            came.push(incoming.message.id.clone());
            incoming.settle(Settlement::Done);
        }
        runs.push(came);
    }
    assert!((1001..1050).contains(&runs[0].len()), "{} came of 1000", runs[0].len());
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[tokio::test]
async fn a_hostile_broker_redelivers_in_any_order() {
    let memory = Memory::hostile(clock(), 1);
    publish_all(&memory, &ingest(), 0..50).await;
    let mut first = memory.consume(Queue::Ingest, 50.into());
    let mut held = Vec::new();
    for _ in 0..50 {
        held.push(take(&mut first).await);
    }
    drop(first);
    let published: Vec<_> = held.iter().map(|incoming| incoming.message.id.clone()).collect();
    drop(held);
    let mut second = memory.consume(Queue::Ingest, 50.into());
    let mut again = Vec::new();
    for _ in 0..50 {
        again.push(take(&mut second).await.message.id.clone());
    }
    assert_ne!(again, published);
}
