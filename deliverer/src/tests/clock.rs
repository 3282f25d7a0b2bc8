//! A clock that is set forward or back, under paused time: it changes due times, and no limit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use broker::{Due, Lane, Target};
use schemas::{Delivery, Endpoint, Finding, Notice};
use serde_json::json;
use tokio::time::sleep;

use super::fixture::{Fixture, START, delivery, message, read};
use crate::{
    config::BreakerConfig,
    limits::{AttemptEnd, AttemptRequest, AttemptResult, DeferReason, Limiter, Permit, TurnedAway, UptimeClock},
    outcome::Outcome,
};

const HOUR: u64 = 3_600_000;

/// A deliverer with an endpoint at a forbidden address: attempts end at once and without a socket.
fn fixture() -> Fixture {
    Fixture::guarded(&json!([{"id": "crm", "url": "http://127.0.0.1:1/", "rate_limit": {"per_second": 100}}]))
}

impl Fixture {
    /// Publishes an event that is accepted now. Returns what its delivery becomes, and when that is due.
    async fn delivered_now(&mut self, event_id: &str) -> (Due, Delivery) {
        let accepted_at = (self.clock)();
        self.publish(&message(&Delivery { accepted_at, ..delivery(event_id) })).await;
        loop {
            // Earlier deliveries fail again meanwhile.
            if let (Target::Lane(Lane::Slow, Some(due)), next) = self.published().await
                && read(&next).event_id.as_str() == event_id
            {
                return (due, read(&next));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_is_attempted_at_once_whether_the_clock_was_set_back_or_forward() {
    for step in [-(HOUR as i64), HOUR as i64] {
        let mut fixture = fixture();
        fixture.delivered_now("e1").await;
        fixture.step_clock(step);
        let (due, next) = fixture.delivered_now("e2").await;
        assert_eq!((next.attempt, next.deferrals), (2, 0), "{step}: deferred until {}", due.at);
        let wait_ms = due.at - (fixture.clock)();
        assert!((4_000..=6_000).contains(&wait_ms), "{step}: a retry is due by the new time: {wait_ms} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_failed_for_an_hour_is_reported_so_although_the_clock_was_set_forward_by_days() {
    let mut fixture = fixture();
    fixture.delivered_now("e1").await;
    fixture.step_clock(6 * 24 * HOUR as i64);
    sleep(Duration::from_millis(HOUR)).await;
    fixture.delivered_now("e2").await;
    let is_failing = |finding: &Finding| match finding {
        Finding::Failing { since, .. } => Some((fixture.clock)() - since),
        _ => None,
    };
    let found = fixture.outbox.report((fixture.clock)()).into_iter().find_map(|notice| match notice {
        Notice::Findings { findings, .. } => findings.iter().find_map(is_failing),
        _ => None,
    });
    let minutes = found.expect("a finding") / 60_000;
    assert!((60..62).contains(&minutes), "since {minutes} minutes");
}

/// The limits of one process, and the clock of its machine.
struct Process {
    limiter: Limiter,
    clock: Arc<AtomicU64>,
    endpoint: Arc<Endpoint>,
}

impl Process {
    fn start() -> Self {
        let clock = Arc::new(AtomicU64::new(START));
        let read = clock.clone();
        let limiter = Limiter::new(
            Arc::new(move || read.load(Relaxed)),
            UptimeClock::start(),
            1.into(),
            BreakerConfig::default(),
        );
        let endpoint = json!({"id": "crm", "url": "https://crm.example", "max_backlog": 10});
        Self { limiter, clock, endpoint: Arc::new(serde_json::from_value(endpoint).unwrap()) }
    }

    async fn admit(&self) -> Result<Permit, TurnedAway> {
        let request = AttemptRequest {
            held: &self.limiter.hold(Lane::Fast, "acme", 0),
            endpoint: &self.endpoint,
            has_waited: false,
            slots_are_scarce: false,
        };
        self.limiter.admit(request).await
    }

    async fn fail(&self) {
        let permit = self.admit().await.unwrap_or_else(|why| panic!("{why:?}"));
        let outcome = Outcome::without_response(schemas::OutcomeClass::Connect, "refused".to_owned());
        permit.ended(AttemptEnd::of(&outcome, self.clock.load(Relaxed)), 0.0);
    }

    /// Ms until a delivery returns that the open breaker defers.
    async fn open_for_ms(&self) -> u64 {
        match self.admit().await {
            Err(TurnedAway::Deferred { wait_ms, reason: DeferReason::Breaker }) => wait_ms,
            other => panic!("{:?}", other.err()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_breaker_is_open_for_its_period_whether_the_clock_was_set_back_or_forward() {
    for now in [START - HOUR, START + HOUR] {
        let process = Process::start();
        for _ in 0..3 {
            process.fail().await;
        }
        process.clock.store(now, Relaxed);
        assert_eq!(process.open_for_ms().await, 10_000);
        sleep(Duration::from_secs(10)).await;
        assert!(process.admit().await.is_ok(), "the probe");
    }
}

#[tokio::test(start_paused = true)]
async fn a_breaker_is_announced_in_the_time_of_the_clock_and_open_for_as_long_in_another_process() {
    let early = Process::start();
    sleep(Duration::from_secs(1_000)).await;
    let late = Process::start();
    for _ in 0..3 {
        late.fail().await;
    }
    let changes = late.limiter.take_breaker_changes();
    assert_eq!(changes.iter().map(|change| change.open_until).collect::<Vec<_>>(), [Some(START + 10_000)]);
    early.limiter.apply_announced(&changes[0]);
    assert_eq!(early.open_for_ms().await, 10_000);
    let set_forward = Process::start();
    set_forward.clock.store(START + HOUR, Relaxed);
    set_forward.limiter.apply_announced(&changes[0]);
    assert!(set_forward.admit().await.is_ok(), "that time is over there");
}

#[tokio::test(start_paused = true)]
async fn retries_that_have_returned_are_no_backlog_although_the_clock_was_set_back() {
    let process = Process::start();
    for _ in 0..10 {
        let permit = process.admit().await.unwrap_or_else(|why| panic!("{why:?}"));
        let endpoint = permit.endpoint().clone();
        let outcome = Outcome::with_status(400, None, String::new());
        permit.ended(AttemptEnd::of(&outcome, START), 0.0);
        endpoint.record_result(AttemptResult::Failure {
            outcome: &outcome,
            began: START,
            ended: START,
            retry_ms: Some(5_000),
            is_operational: false,
        });
    }
    let _held: Vec<_> = [process.admit().await, process.admit().await, process.admit().await, process.admit().await]
        .map(|admitted| admitted.unwrap_or_else(|why| panic!("{why:?}")))
        .into();
    assert!(matches!(process.admit().await, Err(TurnedAway::Overflow)), "ten retries wait");
    process.clock.store(START - HOUR, Relaxed);
    sleep(Duration::from_secs(5)).await;
    assert!(matches!(process.admit().await, Err(TurnedAway::Deferred { .. })), "there is room again");
}
