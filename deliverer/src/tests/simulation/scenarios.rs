//! A steady load over many endpoints, of which some are in trouble for a while: the others must not notice. The load, and
//! the slots of both deliverers together, are a fifth of those by which the design was chosen.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::{
    fleet::Fleet,
    receivers::{Receivers, Trouble},
};
use crate::limits::SlotCounts;

const PER_SECOND: f64 = 200.0;
const ENDPOINTS: usize = 20_000;
const DELIVERERS: u32 = 2;
const SLOTS: SlotCounts = SlotCounts { fast: 50, slow: 200 };
const WARM_UP: Duration = Duration::from_secs(20);
const INCIDENT: Duration = Duration::from_secs(120);

/// Delays of deliveries to healthy endpoints, in ms, and what the incident took.
#[derive(Debug)]
struct Summary {
    p50: u64,
    p99: u64,
    longest: u64,
    deferrals_each: f64,
    cut_short: u64,
    handed_over: u64,
}

/// Runs the incident over the lanes, and with the direct hand-off.
async fn both_ways(name: &str, trouble: impl Fn(usize) -> Trouble + Copy) -> [Summary; 2] {
    let receivers = || Receivers::new(ENDPOINTS, trouble, (WARM_UP, WARM_UP + INCIDENT), &json!({}));
    let lanes = run(name, &Fleet::start(receivers(), DELIVERERS, SLOTS)).await;
    let fleet = Fleet::start(receivers(), DELIVERERS, SLOTS).deliver_directly(true);
    let direct = run(&format!("{name}, directly"), &fleet).await;
    assert!(direct.handed_over > 1_000, "{direct:?}");
    [lanes, direct]
}

async fn run(name: &str, fleet: &Arc<Fleet>) -> Summary {
    fleet.load(PER_SECOND, WARM_UP + INCIDENT + WARM_UP, None).await;
    let mut totals = fleet.totals();
    totals.delays.sort_unstable();
    let at = |share: f64| totals.delays[(totals.delays.len() as f64 * share) as usize];
    let longest = *totals.delays.last().expect("some");
    let (deferrals_each, cut_short, handed_over) = (totals.deferrals_each(), totals.cut_short, totals.handed_over);
    let summary = Summary { p50: at(0.5), p99: at(0.99), longest, deferrals_each, cut_short, handed_over };
    println!("{name}: {summary:?}");
    summary
}

#[tokio::test(start_paused = true)]
async fn the_hottest_endpoint_is_dead() {
    for summary in both_ways("the hottest dead", |nth| if nth == 0 { Trouble::BlackHole } else { Trouble::None }).await
    {
        assert!(summary.p50 == 0 && summary.p99 == 0, "{summary:?}");
        assert!(summary.longest < 1_500 && summary.deferrals_each < 1.0, "{summary:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_endpoint_in_twenty_is_dead() {
    for summary in both_ways("5 % dead", |nth| if nth % 20 == 7 { Trouble::BlackHole } else { Trouble::None }).await {
        assert!(summary.p50 == 0 && summary.p99 == 0 && summary.deferrals_each < 1.0, "{summary:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_endpoint_in_five_is_dead() {
    for summary in both_ways("20 % dead", |nth| if nth % 5 == 2 { Trouble::BlackHole } else { Trouble::None }).await {
        assert!(summary.p50 == 0 && summary.p99 < 250 && summary.deferrals_each < 1.0, "{summary:?}");
        assert!(summary.cut_short > 0, "there are not slots enough for all of them to time out: {summary:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_endpoint_in_fifty_is_slow() {
    for summary in both_ways("2 % slow", |nth| if nth % 50 == 0 { Trouble::Slow } else { Trouble::None }).await {
        assert!(summary.p50 == 0 && summary.p99 == 0 && summary.deferrals_each < 1.0, "{summary:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn twenty_thousand_deliveries_at_once_go_to_one_endpoint() {
    for is_direct in [false, true] {
        burst_to_one(is_direct).await;
    }
}

async fn burst_to_one(is_direct: bool) {
    // The trouble has ended before it begins, so that the endpoint works, but its attempts are recorded.
    let receivers = Receivers::new(
        ENDPOINTS,
        |nth| if nth == 500 { Trouble::Slow } else { Trouble::None },
        (Duration::ZERO, Duration::ZERO),
        &json!({}),
    );
    let fleet = Fleet::start(receivers, DELIVERERS, SLOTS).deliver_directly(is_direct);
    fleet.load(PER_SECOND, WARM_UP, None).await;
    (0..20_000).for_each(|_| fleet.publish(Some(500)));
    let summary = run("a burst to one", &fleet).await;
    assert!(summary.p50 == 0 && summary.p99 == 0 && summary.longest < 1_500, "{summary:?}");
    let totals = fleet.totals();
    let deferrals = totals.deferrals as f64 / 20_000.0;
    assert!(deferrals < 2.0, "{deferrals} each");
    let delivered = totals.attempts.len();
    println!("of the burst {delivered} delivered in {:?}, deferrals each {deferrals:.2}", INCIDENT + 2 * WARM_UP);
    assert!(delivered > 15_000, "it is served as fast as its concurrency limit allows: {delivered}");
}
