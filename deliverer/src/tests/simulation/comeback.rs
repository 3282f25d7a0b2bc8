//! An endpoint that comes back after an outage while many deliveries wait for it: how fast they arrive, and what that costs.
//! Unless said otherwise it was never up before, so that the deliverers know nothing of it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    fleet::Fleet,
    receivers::{Receivers, Trouble},
};
use crate::limits::SlotCounts;

const SLOTS: SlotCounts = SlotCounts { fast: 100, slow: 400 };
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const OUTAGE: Duration = Duration::from_secs(120);
/// Deliveries a second to the endpoint for most of the outage: 15,000 in all.
const PER_SECOND: f64 = 150.0;
/// Deliveries a second to a hundred healthy endpoints, at all times.
const OTHERS_PER_SECOND: f64 = 20.0;
/// Deliveries a second that the endpoint bears: 64 at once, which take 136 ms on average.
const HEALTHY_PER_SECOND: usize = 470;

struct Outage {
    trouble: Trouble,
    deliverers: u32,
    /// The one deliverer is one of so many, and has its part of everything.
    one_of: Option<u32>,
    median_ms: f64,
    settings: Value,
    /// How long the endpoint was up before.
    up_before: Duration,
    /// The deliverers are restarted in the middle of the outage.
    restarts: bool,
}

impl Default for Outage {
    fn default() -> Self {
        let (trouble, settings) = (Trouble::Refuses, json!({}));
        let (up_before, restarts) = (Duration::ZERO, false);
        Self { trouble, deliverers: 2, one_of: None, median_ms: 120.0, settings, up_before, restarts }
    }
}

#[derive(Debug)]
struct Report {
    /// Deliveries owed at the end of the outage.
    owed: u64,
    /// Deliveries in each second from the first answer on.
    delivered: Vec<usize>,
    deferrals_each: f64,
    most_in_flight: usize,
    overflows: u64,
    /// 99th percentile of the healthy endpoints' first attempts, in ms after acceptance.
    others_p99: u64,
}

impl Outage {
    /// Runs the outage until all that waited has arrived.
    async fn run(self, name: &str) -> Report {
        let incident = (self.up_before, self.up_before + OUTAGE);
        let trouble = |nth| if nth == 0 { self.trouble } else { Trouble::None };
        let receivers = Receivers::new(101, trouble, incident, &self.settings).answering_in(self.median_ms);
        let fleet = match self.one_of {
            Some(all) => Fleet::start_one_of(receivers, all, SLOTS, 10_000),
            None => Fleet::start(receivers, self.deliverers, SLOTS),
        };
        let others = fleet.clone();
        tokio::spawn(async move { others.load(OTHERS_PER_SECOND, 60 * MINUTE, None).await });
        fleet.load(OTHERS_PER_SECOND, self.up_before, Some(0)).await;
        fleet.load(PER_SECOND, 50 * SECOND, Some(0)).await;
        if self.restarts {
            fleet.restart();
        }
        fleet.load(PER_SECOND, 50 * SECOND, Some(0)).await;
        let up = fleet.began() + incident.1;
        tokio::time::sleep_until(up).await;
        let owed = fleet.owed();
        // As many are in flight, or have just been published, at any time.
        while fleet.owed() > OTHERS_PER_SECOND as u64 {
            sleep(SECOND).await;
        }
        let totals = fleet.totals();
        let successes =
            || totals.attempts.iter().filter(|(at, is_success)| *is_success && *at >= up).map(|(at, _)| *at);
        let first = successes().min().expect("they have arrived");
        let mut delivered = vec![0; (Instant::now() - first).as_secs() as usize + 1];
        successes().for_each(|at| delivered[(at - first).as_secs() as usize] += 1);
        let mut delays = totals.delays.clone();
        delays.sort_unstable();
        let report = Report {
            owed,
            delivered,
            deferrals_each: totals.deferrals as f64 / owed as f64,
            most_in_flight: totals.most_in_flight,
            overflows: totals.overflows,
            others_p99: delays[delays.len() * 99 / 100],
        };
        println!("{name}: {report:?}");
        report
    }
}

impl Report {
    /// Asserts what holds for every endpoint with the default limits.
    fn assert_orderly(&self) {
        assert!(self.owed > 14_000 && self.overflows == 0, "{self:?}");
        assert!(self.deferrals_each <= 4.0 && self.most_in_flight <= 64, "{self:?}");
        assert_eq!(self.others_p99, 0, "the others notice nothing: {self:?}");
    }

    /// Asserts that from this second on the endpoint always gets half of what it bears at least, and mostly all of it.
    fn assert_fast_from(&self, second: usize) {
        self.assert_orderly();
        let busy = &self.delivered[second..second + 25];
        let least = busy.windows(5).map(|five| five.iter().sum::<usize>() / 5).min();
        assert!(least >= Some(HEALTHY_PER_SECOND / 2), "{least:?}: {self:?}");
        assert!(busy.iter().sum::<usize>() > 25 * HEALTHY_PER_SECOND * 4 / 5, "{self:?}");
        assert!(self.delivered.len() < second + 40, "{self:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_an_endpoint_that_was_never_up_arrives_as_fast_as_it_answers() {
    Outage::default().run("never up").await.assert_fast_from(1);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_an_endpoint_that_never_answered_in_time_arrives_as_fast_as_it_answers() {
    let outage = Outage { trouble: Trouble::BlackHole, ..Outage::default() };
    // Others are attempted when the probe would have timed out.
    outage.run("never answered in time").await.assert_fast_from(17);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_quick_endpoint_that_was_never_up_arrives_within_half_a_minute() {
    let report = Outage { median_ms: 5.0, ..Outage::default() }.run("quick").await;
    report.assert_orderly();
    assert!(report.delivered.len() < 35, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn one_deliverer_brings_back_what_waits_for_an_endpoint_that_was_never_up() {
    Outage { deliverers: 1, ..Outage::default() }.run("one deliverer").await.assert_fast_from(1);
}

#[tokio::test(start_paused = true)]
async fn deliverers_that_were_restarted_during_an_outage_bring_back_what_waits() {
    let outage = Outage { up_before: MINUTE, restarts: true, ..Outage::default() };
    outage.run("restarted").await.assert_fast_from(1);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_an_endpoint_that_was_up_before_arrives_as_fast_as_it_answers() {
    Outage { up_before: MINUTE, ..Outage::default() }.run("up before").await.assert_fast_from(3);
    let report = Outage { up_before: MINUTE, median_ms: 5.0, ..Outage::default() }.run("up before, quick").await;
    report.assert_orderly();
    assert!(report.delivered.len() < 10, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn what_waits_returns_evenly_while_more_waits_than_may_return_at_once() {
    // One of ten deliverers, to which 150 return in a second: for 15,000 a window of half a minute is too short.
    let (settings, one_of) = (json!({"max_backlog": 200_000}), Some(10));
    let outage = Outage { deliverers: 1, one_of, median_ms: 5.0, settings, ..Outage::default() };
    let report = outage.run("one of ten deliverers").await;
    report.assert_orderly();
    let in_a_minute: usize = report.delivered[..60].iter().sum();
    assert!(in_a_minute > 60 * 100 && report.delivered.iter().all(|delivered| *delivered < 400), "{report:?}");
    assert!(report.delivered.len() < 130, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_comes_back_gets_its_rate_and_no_more() {
    let settings = json!({"rate_limit": {"per_second": 100}});
    let report = Outage { settings, ..Outage::default() }.run("limited").await;
    report.assert_orderly();
    assert!(report.delivered.iter().all(|delivered| *delivered <= 100), "{report:?}");
    let in_a_minute: usize = report.delivered[..60].iter().sum();
    assert!(in_a_minute > 5_500, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_backlog_below_its_limit_loses_nothing_however_often_it_is_deferred() {
    let settings = || json!({"max_backlog": 20_000});
    for up_before in [Duration::ZERO, MINUTE] {
        let outage = Outage { settings: settings(), up_before, median_ms: 5.0, ..Outage::default() };
        outage.run("three quarters of the largest backlog").await.assert_orderly();
    }
}
