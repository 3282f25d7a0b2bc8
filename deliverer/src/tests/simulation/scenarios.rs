//! A steady load over many endpoints, of which some are in trouble for a while: nobody else may notice. A fifth of the
//! load by which the design was chosen, with a fifth of its slots.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::{
    fleet::Fleet,
    town::{Town, Trouble},
};
use crate::limits::SlotCounts;

const PER_SECOND: f64 = 200.0;
const ENDPOINTS: usize = 20_000;
const DELIVERERS: u32 = 2;
/// Together a fifth of 500 and 2,000.
const LIMITS: SlotCounts = SlotCounts { fast: 50, slow: 200 };
const WARM_UP: Duration = Duration::from_secs(20);
const INCIDENT: Duration = Duration::from_secs(120);

/// How it went for healthy endpoints.
#[derive(Debug)]
struct Story {
    p50: u64,
    p99: u64,
    longest: u64,
    parks_each: f64,
    cut_short: u64,
}

fn begin(trouble: impl Fn(usize) -> Trouble) -> Arc<Fleet> {
    let town = Town::new(ENDPOINTS, trouble, (WARM_UP, WARM_UP + INCIDENT), &json!({}));
    Fleet::start(town, DELIVERERS, LIMITS)
}

async fn tell(name: &str, fleet: &Fleet) -> Story {
    fleet.load(PER_SECOND, WARM_UP + INCIDENT + WARM_UP, None).await;
    let mut totals = fleet.totals();
    totals.delays.sort_unstable();
    let at = |share: f64| totals.delays[(totals.delays.len() as f64 * share) as usize];
    let parks_each = totals.deferrals as f64 / totals.parcels as f64;
    let longest = *totals.delays.last().expect("some");
    let story = Story { p50: at(0.5), p99: at(0.99), longest, parks_each, cut_short: totals.cut_short };
    println!("{name}: {story:?}");
    story
}

#[tokio::test(start_paused = true)]
async fn the_hottest_endpoint_is_dead() {
    let fleet = begin(|nth| if nth == 0 { Trouble::BlackHole } else { Trouble::None });
    let story = tell("the hottest dead", &fleet).await;
    assert!(story.p50 == 0 && story.p99 == 0 && story.longest < 1_500 && story.parks_each < 1.0, "{story:?}");
}

#[tokio::test(start_paused = true)]
async fn one_endpoint_in_twenty_is_dead() {
    let fleet = begin(|nth| if nth % 20 == 7 { Trouble::BlackHole } else { Trouble::None });
    let story = tell("5 % dead", &fleet).await;
    assert!(story.p50 == 0 && story.p99 == 0 && story.parks_each < 1.0, "{story:?}");
}

#[tokio::test(start_paused = true)]
async fn one_endpoint_in_five_is_dead() {
    let fleet = begin(|nth| if nth % 5 == 2 { Trouble::BlackHole } else { Trouble::None });
    let story = tell("20 % dead", &fleet).await;
    assert!(story.p50 == 0 && story.p99 < 250 && story.parks_each < 1.0, "{story:?}");
    assert!(story.cut_short > 0, "there are not slots enough for all of them to time out: {story:?}");
}

#[tokio::test(start_paused = true)]
async fn one_endpoint_in_fifty_is_slow() {
    let fleet = begin(|nth| if nth % 50 == 0 { Trouble::Slow } else { Trouble::None });
    let story = tell("2 % slow", &fleet).await;
    assert!(story.p50 == 0 && story.p99 == 0 && story.parks_each < 1.0, "{story:?}");
}

#[tokio::test(start_paused = true)]
async fn twenty_thousand_at_once_go_to_one_endpoint() {
    // It is in trouble in name only: the incident is over before it begins.
    let town = Town::new(
        ENDPOINTS,
        |nth| if nth == 500 { Trouble::Slow } else { Trouble::None },
        (Duration::ZERO, Duration::ZERO),
        &json!({}),
    );
    let fleet = Fleet::start(town, DELIVERERS, LIMITS);
    fleet.load(PER_SECOND, WARM_UP, None).await;
    (0..20_000).for_each(|_| fleet.publish(Some(500)));
    let story = tell("a burst to one", &fleet).await;
    assert!(story.p50 == 0 && story.p99 == 0 && story.longest < 1_500, "{story:?}");
    let totals = fleet.totals();
    let deferrals = totals.deferrals as f64 / 20_000.0;
    assert!(deferrals < 2.0, "{deferrals} each");
    let delivered = totals.attempts.len();
    println!("of the burst {delivered} delivered in {:?}, deferrals each {deferrals:.2}", INCIDENT + 2 * WARM_UP);
    assert!(delivered > 15_000, "it is served as fast as its window allows: {delivered}");
}
