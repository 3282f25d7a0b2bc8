//! Canaries: sent through every lane and delay, counted where they come, and nothing else.

use std::time::Duration;

use broker::{Broker as _, Lane, Log, Target, memory::Memory};
use schemas::{HeaderValue, Message, Notice, Span, wire};
use serde_json::json;
use tokio::time::sleep;

use super::{
    config,
    fixture::{FAST, Fixture, SLOW, eventually},
};
use crate::DelivererConfig;

const LEVELS: [&str; 10] = ["fast", "slow", "1s", "2s", "5s", "10s", "30s", "1m", "2m", "5m"];
const MINUTE: Duration = Duration::from_secs(60);

/// A deliverer that sends a canary of each level once a minute.
fn fixture() -> Fixture {
    let config = DelivererConfig { canary: Span(MINUTE), ..config() };
    Fixture::with(&json!([{"id": "crm", "url": "https://crm.example/hook"}]), &config)
}

impl Fixture {
    fn canaries_sent(&self) -> [u64; 10] {
        LEVELS.map(|level| self.canaries.sent.with_label_values(&[level]).get())
    }

    fn canaries_arrived(&self) -> [u64; 10] {
        LEVELS.map(|level| self.canaries.seconds.with_label_values(&[level]).get_sample_count())
    }
}

fn announce_intake(memory: &Memory, open: bool) {
    memory.announce(Notice::Intake { open }.write().into());
}

#[tokio::test(start_paused = true)]
async fn canaries_of_every_level_arrive_once_a_minute_and_on_time() {
    let fixture = fixture();
    sleep(12 * MINUTE).await;
    let (sent, arrived) = (fixture.canaries_sent(), fixture.canaries_arrived());
    assert!(sent.iter().all(|sent| (11..=12).contains(sent)), "{sent:?}");
    for (level, arrived) in LEVELS.iter().zip(arrived) {
        // Those of the last minutes still wait, and the tests' broker hands some out twice.
        assert!((6..=15).contains(&arrived), "{level}: {arrived}");
        let late = fixture.canaries.seconds.with_label_values(&[level]).get_sample_sum();
        assert!(late < 0.1, "{level}: {late} s");
        let latest = fixture.canaries.arrived.with_label_values(&[level]).get();
        assert!((fixture.clock)() as f64 / 1_000.0 - latest <= 66.0, "{level}: {latest}");
    }
    assert_eq!(fixture.memory.records(Log::Parked), []);
    assert_eq!(fixture.memory.records(Log::Dead), []);
    assert_eq!(fixture.metrics.redeliveries.get(), 0);
    assert!(fixture.outbox.report((fixture.clock)()).is_empty(), "they are nobody's usage");
}

#[tokio::test(start_paused = true)]
async fn canaries_are_spread_over_the_minute_and_go_to_the_lanes_alone() {
    let mut fixture = fixture();
    let mut last = (fixture.clock)();
    for turn in 0..20 {
        let (target, message) = fixture.published().await;
        let now = (fixture.clock)();
        assert!((6_000..=12_000).contains(&(now - last)) || turn > 0 && now - last == 6_000, "{}", now - last);
        last = now;
        let level = message.headers.text(wire::CANARY).expect("a canary");
        assert_eq!(level, LEVELS[turn % 10]);
        match target {
            Target::Lane(Lane::Fast, None) => assert_eq!(level, "fast"),
            Target::Lane(Lane::Slow, None) => assert_eq!(level, "slow"),
            Target::Lane(Lane::Slow, Some(due)) => assert!(due.exact, "{level}"),
            other => panic!("{level} went to {other:?}"),
        }
        assert!(message.body.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_cannot_be_read_is_dropped_and_counted() {
    let mut fixture = fixture();
    let (_, mut message) = fixture.published().await;
    message.headers.set(wire::CANARY, HeaderValue::Text("7y".into()));
    fixture.publish(&message).await;
    message.headers.set(wire::CANARY, HeaderValue::Int(7));
    fixture.publish(&message).await;
    eventually(|| fixture.canaries.unreadable.get() >= 2).await;
    fixture.empty(FAST).await;
    assert_eq!(fixture.memory.records(Log::Parked), []);
    assert!(fixture.nothing_published());
}

#[tokio::test(start_paused = true)]
async fn canaries_do_not_pile_up_while_the_broker_is_away() {
    let mut fixture = fixture();
    let _ = fixture.published().await;
    fixture.memory.go_away("on purpose");
    let before = fixture.canaries_sent();
    sleep(60 * MINUTE).await;
    assert_eq!(fixture.canaries_sent(), before);
    fixture.memory.come_back();
    sleep(MINUTE).await;
    let after: u64 = fixture.canaries_sent().iter().sum::<u64>() - before.iter().sum::<u64>();
    assert!((9..=11).contains(&after), "{after} in a minute");
}

#[tokio::test(start_paused = true)]
async fn canaries_are_not_sent_while_the_intake_is_closed() {
    let mut fixture = fixture();
    let _ = fixture.published().await;
    announce_intake(&fixture.memory, false);
    fixture.empty(FAST).await;
    let before = fixture.canaries_sent();
    sleep(10 * MINUTE).await;
    assert_eq!(fixture.canaries_sent(), before);
    assert_eq!((fixture.memory.depth(FAST), fixture.memory.depth(SLOW)), (0, 0), "those that were sent are gone");
    announce_intake(&fixture.memory, true);
    sleep(MINUTE).await;
    assert!(fixture.canaries_sent() > before);
}

#[tokio::test(start_paused = true)]
async fn canaries_of_other_processes_are_counted_although_none_are_sent() {
    let mut fixture = Fixture::of(&json!([]));
    sleep(60 * MINUTE).await;
    assert!(fixture.nothing_published());
    let mut message = Message::default();
    message.headers.set(wire::CANARY, HeaderValue::Text("2s".into()));
    message.headers.set(wire::ACCEPTED_AT, HeaderValue::Int(((fixture.clock)() - 5_000).cast_signed()));
    fixture.publish(&message).await;
    eventually(|| fixture.canaries_arrived()[3] > 0).await;
    let late = fixture.canaries.seconds.with_label_values(&["2s"]).get_sample_sum();
    assert!(late >= 3.0, "{late}");
}
