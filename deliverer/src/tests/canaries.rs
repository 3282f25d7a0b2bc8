//! Canaries: sent through every way, counted where they come, and nothing else.

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

/// A deliverer that sends each level once a minute.
fn fixture() -> Fixture {
    let config = DelivererConfig { canary: Span(MINUTE), ..config() };
    Fixture::with(&json!([{"id": "crm", "url": "https://crm.example/hook"}]), &config)
}

impl Fixture {
    fn sent(&self) -> [u64; 10] {
        LEVELS.map(|level| self.canaries.sent.with_label_values(&[level]).get())
    }

    fn came(&self) -> [u64; 10] {
        LEVELS.map(|level| self.canaries.seconds.with_label_values(&[level]).get_sample_count())
    }
}

fn announce(memory: &Memory, open: bool) {
    memory.announce(Notice::Intake { open }.write().into());
}

#[tokio::test(start_paused = true)]
async fn every_way_has_its_canary_once_a_minute_and_they_come_on_time() {
    let fixture = fixture();
    sleep(12 * MINUTE).await;
    let (sent, came) = (fixture.sent(), fixture.came());
    assert!(sent.iter().all(|sent| (11..=12).contains(sent)), "{sent:?}");
    for (level, came) in LEVELS.iter().zip(came) {
        // Those of the last minutes wait. The broker of the tests hands some out twice.
        assert!((6..=15).contains(&came), "{level}: {came}");
        let late = fixture.canaries.seconds.with_label_values(&[level]).get_sample_sum();
        assert!(late < 0.1, "{level}: {late} s");
        let latest = fixture.canaries.arrived.with_label_values(&[level]).get();
        assert!((fixture.clock)() as f64 / 1_000.0 - latest <= 66.0, "{level}: {latest}");
    }
    assert_eq!(fixture.memory.records(Log::Parked), []);
    assert_eq!(fixture.memory.records(Log::Dead), []);
    assert_eq!(fixture.metrics.redeliveries.get(), 0);
    assert!(fixture.outbox.report((fixture.clock)()).is_empty(), "nobody has used anything");
}

#[tokio::test(start_paused = true)]
async fn they_are_spread_over_the_minute_and_go_to_the_lanes_alone() {
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
async fn one_that_cannot_be_read_is_dropped_and_counted_wherever_it_came_from() {
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
async fn while_the_broker_is_away_none_pile_up() {
    let mut fixture = fixture();
    let _ = fixture.published().await;
    fixture.memory.go_away("on purpose");
    let before = fixture.sent();
    sleep(60 * MINUTE).await;
    assert_eq!(fixture.sent(), before);
    fixture.memory.come_back();
    sleep(MINUTE).await;
    let after: u64 = fixture.sent().iter().sum::<u64>() - before.iter().sum::<u64>();
    assert!((9..=11).contains(&after), "{after} in a minute");
}

#[tokio::test(start_paused = true)]
async fn none_are_sent_while_somebody_waits_until_nothing_is_on_its_way() {
    let mut fixture = fixture();
    let _ = fixture.published().await;
    announce(&fixture.memory, false);
    fixture.empty(FAST).await;
    let before = fixture.sent();
    sleep(10 * MINUTE).await;
    assert_eq!(fixture.sent(), before);
    assert_eq!((fixture.memory.depth(FAST), fixture.memory.depth(SLOW)), (0, 0), "those that were sent are gone");
    announce(&fixture.memory, true);
    sleep(MINUTE).await;
    assert!(fixture.sent() > before);
}

#[tokio::test(start_paused = true)]
async fn without_an_interval_none_are_sent_and_those_of_others_are_still_counted() {
    let mut fixture = Fixture::of(&json!([]));
    sleep(60 * MINUTE).await;
    assert!(fixture.nothing_published());
    let mut message = Message::default();
    message.headers.set(wire::CANARY, HeaderValue::Text("2s".into()));
    message.headers.set(wire::ACCEPTED_AT, HeaderValue::Int(((fixture.clock)() - 5_000).cast_signed()));
    fixture.publish(&message).await;
    eventually(|| fixture.came()[3] > 0).await;
    let late = fixture.canaries.seconds.with_label_values(&["2s"]).get_sample_sum();
    assert!(late >= 3.0, "{late}");
}
