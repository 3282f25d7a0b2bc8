//! Publishes on the broker in memory, under paused time.

use std::time::Duration;

use broker::{Due, Lane, memory::Memory};
use futures_util::poll;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

struct Fixture {
    memory: Memory,
    measured: MeasuredBroker,
    intake: Arc<Intake>,
    metrics: PublishMetrics,
}

fn fixture() -> Fixture {
    let registry = Registry::default();
    let memory = Memory::calm(Arc::new(|| 0));
    let intake = Arc::new(Intake::default());
    let measured = MeasuredBroker::new(Arc::new(memory.clone()), intake.clone(), &registry).unwrap();
    Fixture { memory, measured, intake, metrics: PublishMetrics::register(&registry).unwrap() }
}

fn lane() -> Target {
    Target::Lane(Lane::Fast, None)
}

impl Fixture {
    async fn publish(&self, to: &Target) -> Result<(), PublishError> {
        Broker::publish(&self.measured, to, &Message::default()).await
    }

    /// The number of confirms, of nacks, and of unconfirmed publishes.
    fn counted(&self, target: &str) -> (u64, u64, i64) {
        let PublishMetrics { confirm, nacks, unconfirmed } = &self.metrics;
        let label = &[target];
        let confirms = confirm.with_label_values(label).get_sample_count();
        (confirms, nacks.with_label_values(label).get(), unconfirmed.with_label_values(label).get())
    }
}

#[tokio::test(start_paused = true)]
async fn each_publish_is_timed_until_its_confirm_by_target() {
    let fixture = fixture();
    fixture.memory.delay_confirms(SECOND);
    let due = Due { at: 1, exact: false };
    for (target, to) in [
        (INGEST, Target::Ingest { key: "acme.-.-.ticket.created".to_owned() }),
        (DELIVER, lane()),
        (DELAY, Target::Lane(Lane::Slow, Some(due))),
        (DEAD, Target::Log(Log::Dead, "expired.acme".to_owned())),
        (PARK, Target::Log(Log::Parked, "decode.acme".to_owned())),
    ] {
        fixture.publish(&to).await.unwrap();
        assert_eq!(fixture.counted(target), (1, 0, 0), "{target}");
        let took = fixture.metrics.confirm.with_label_values(&[target]).get_sample_sum();
        assert!((1.0..1.1).contains(&took), "{target} took {took}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_or_lost_publish_is_counted_and_one_that_was_not_sent_is_not() {
    let fixture = fixture();
    fixture.memory.nack_confirm(1);
    fixture.memory.lose_confirm(2);
    assert_eq!(fixture.publish(&lane()).await, Err(PublishError::Nacked));
    assert!(matches!(fixture.publish(&lane()).await, Err(PublishError::Lost(_))));
    fixture.memory.block("alarm");
    assert!(matches!(fixture.publish(&lane()).await, Err(PublishError::Blocked(_))));
    fixture.memory.go_away("cut");
    assert!(matches!(fixture.publish(&lane()).await, Err(PublishError::Away(_))));
    assert_eq!(fixture.counted(DELIVER), (0, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn events_are_refused_while_the_intake_is_closed_and_all_else_goes_on() {
    let fixture = fixture();
    let event = Target::Ingest { key: "acme.-.-.ticket.created".to_owned() };
    fixture.intake.note_probe(false, Instant::now());
    assert_eq!(fixture.publish(&event).await, Err(PublishError::Unroutable));
    fixture.publish(&lane()).await.unwrap();
    fixture.intake.note_probe(true, Instant::now());
    fixture.publish(&event).await.unwrap();
    assert_eq!((fixture.counted(INGEST), fixture.counted(DELIVER)), ((1, 0, 0), (1, 0, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_publish_dropped_before_its_confirm_is_no_longer_unconfirmed() {
    let fixture = fixture();
    fixture.memory.delay_confirms(SECOND);
    let (to, message) = (lane(), Message::default());
    let mut publish = Broker::publish(&fixture.measured, &to, &message);
    assert!(poll!(&mut publish).is_pending());
    assert_eq!(fixture.counted(DELIVER), (0, 0, 1));
    drop(publish);
    assert_eq!(fixture.counted(DELIVER), (0, 0, 0));
}
