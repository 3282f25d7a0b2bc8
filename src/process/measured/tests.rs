//! Publishes on the broker in memory, under paused time.

use std::time::Duration;

use broker::{Due, Lane, memory::Memory};
use futures_util::poll;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

struct Fixture {
    memory: Memory,
    measured: Measured,
    metrics: PublishMetrics,
}

fn world() -> Fixture {
    let registry = Registry::default();
    let memory = Memory::calm(Arc::new(|| 0));
    let measured = Measured::new(Arc::new(memory.clone()), &registry).unwrap();
    Fixture { memory, measured, metrics: PublishMetrics::register(&registry).unwrap() }
}

fn lane() -> Target {
    Target::Lane(Lane::Fast, None)
}

impl Fixture {
    async fn publish(&self, to: &Target) -> Result<(), PublishError> {
        Broker::publish(&self.measured, to, &Message::default()).await
    }

    /// Confirms, nacks, and what waits.
    fn counted(&self, target: &str) -> (u64, u64, i64) {
        let PublishMetrics { confirm, nacks, unconfirmed } = &self.metrics;
        let label = &[target];
        let confirms = confirm.with_label_values(label).get_sample_count();
        (confirms, nacks.with_label_values(label).get(), unconfirmed.with_label_values(label).get())
    }
}

#[tokio::test(start_paused = true)]
async fn each_publish_is_timed_until_its_confirm_under_where_it_goes() {
    let world = world();
    world.memory.delay_confirms(SECOND);
    let due = Due { at: 1, exact: false };
    for (target, to) in [
        (INGEST, Target::Ingest { key: "acme.-.-.ticket.created".to_owned() }),
        (DELIVER, lane()),
        (DELAY, Target::Lane(Lane::Slow, Some(due))),
        (DEAD, Target::Log(Log::Dead, "expired.acme".to_owned())),
        (PARK, Target::Log(Log::Parked, "decode.acme".to_owned())),
    ] {
        world.publish(&to).await.unwrap();
        assert_eq!(world.counted(target), (1, 0, 0), "{target}");
        let took = world.metrics.confirm.with_label_values(&[target]).get_sample_sum();
        assert!((1.0..1.1).contains(&took), "{target} took {took}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_or_lost_is_counted_and_what_was_not_sent_is_not() {
    let world = world();
    world.memory.nack_confirm(1);
    world.memory.lose_confirm(2);
    assert_eq!(world.publish(&lane()).await, Err(PublishError::Nacked));
    assert!(matches!(world.publish(&lane()).await, Err(PublishError::Lost(_))));
    world.memory.block("alarm");
    assert!(matches!(world.publish(&lane()).await, Err(PublishError::Blocked(_))));
    world.memory.go_away("cut");
    assert!(matches!(world.publish(&lane()).await, Err(PublishError::Away(_))));
    assert_eq!(world.counted(DELIVER), (0, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_before_the_confirm_waits_for_none_any_more() {
    let world = world();
    world.memory.delay_confirms(SECOND);
    let (to, message) = (lane(), Message::default());
    let mut publish = Broker::publish(&world.measured, &to, &message);
    assert!(poll!(&mut publish).is_pending());
    assert_eq!(world.counted(DELIVER), (0, 0, 1));
    drop(publish);
    assert_eq!(world.counted(DELIVER), (0, 0, 0));
}
