//! Requests that answer, and requests that hang, under paused time.

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use tokio::time::{Instant, sleep};

use super::*;
use crate::{
    config::BreakerConfig,
    limits::{endpoint::ProcessState, fairness::TenantInFlight},
};

const START: Uptime = Uptime::of_ms(0);

fn slots(fast: u16, slow: u16) -> Slots {
    Slots::new(SlotCounts { fast, slow }, UptimeClock::start())
}

fn endpoint(id: &str) -> Arc<EndpointLimiter> {
    let process = Arc::new(ProcessState::new(Arc::new(|| 0), UptimeClock::start()));
    Arc::new(EndpointLimiter::new("acme", id, TenantInFlight::default(), process, BreakerConfig::default()))
}

fn used(slots: &Slots) -> [i64; 2] {
    slots.in_use().map(|(used, _)| used)
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_long_frees_its_fast_slot_after_a_second() {
    let (slots, endpoint, began) = (slots(1, 4), endpoint("crm"), Instant::now());
    let hanging = slots.run(Lane::Fast, &endpoint, sleep(Duration::from_secs(15)));
    let quick = slots.run(Lane::Fast, &endpoint, async { began.elapsed() });
    let observed = async {
        sleep(Duration::from_millis(900)).await;
        let early = used(&slots);
        sleep(Duration::from_millis(200)).await;
        (early, used(&slots))
    };
    let (hung, quick, observed) = tokio::join!(hanging, quick, observed);
    assert_eq!((hung, quick), (Some(()), Some(Duration::from_secs(1))));
    assert_eq!(observed, ([1, 0], [0, 1]));
    assert_eq!(used(&slots), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_request_keeps_its_fast_slot_while_no_slow_one_is_free_and_a_retry_holds_a_slow_one_from_the_start() {
    let (slots, endpoint) = (slots(1, 1), endpoint("crm"));
    let retry = slots.run(Lane::Slow, &endpoint, sleep(Duration::from_secs(10)));
    let first = slots.run(Lane::Fast, &endpoint, sleep(Duration::from_secs(5)));
    let observed = async {
        sleep(Duration::from_secs(4)).await;
        used(&slots)
    };
    let (_, _, observed) = tokio::join!(retry, first, observed);
    assert_eq!(observed, [1, 1]);
}

/// Counts the requests that end without being cut short.
async fn survivors(mut requests: FuturesUnordered<impl Future<Output = Option<()>>>) -> usize {
    let mut survivors = 0;
    while let Some(result) = requests.next().await {
        survivors += usize::from(result.is_some());
    }
    survivors
}

#[tokio::test(start_paused = true)]
async fn the_oldest_requests_are_cut_short_when_too_many_slow_slots_are_in_use_but_never_young_ones() {
    let slots = slots(6, 20);
    let (degraded, slow, dead) = (endpoint("degraded"), endpoint("slow"), endpoint("dead"));
    degraded.change(|state| state.mark_degraded(START));
    let hang = |lane, endpoint| slots.run(lane, endpoint, sleep(Duration::from_secs(15))).boxed();
    let early = survivors((0..6).map(|_| hang(Lane::Fast, &dead)).collect());
    // The slow lane may have ten of the slow slots.
    let later = async {
        sleep(Duration::from_secs(1)).await;
        let requests = (0..9).map(|nth| hang(Lane::Slow, if nth % 2 == 0 { &degraded } else { &slow }));
        survivors(requests.collect()).await
    };
    let cut = async {
        let mut cut = Vec::new();
        sleep(Duration::from_secs(1)).await;
        for _ in 0..8 {
            sleep(Duration::from_secs(1)).await;
            cut.push(slots.shorten(slots.clock.now()));
        }
        cut
    };
    let (cut, later, early) = tokio::join!(cut, later, early);
    // 15 of 20 are in use, and 13 may be: the first ones are five seconds old at second 5.
    assert_eq!(cut, [0, 0, 0, 2, 0, 0, 0, 0]);
    assert_eq!((early, later), (4, 9), "no request to the degraded endpoint was old enough by then");
}

#[tokio::test(start_paused = true)]
async fn a_request_to_a_degraded_endpoint_is_cut_short_first_and_one_that_is_usually_slow_is_left_alone() {
    let slots = slots(1, 20);
    let (degraded, usual, dead) = (endpoint("degraded"), endpoint("usual"), endpoint("dead"));
    degraded.change(|state| state.mark_degraded(START));
    usual.change(|state| state.measured_as(5_000.0));
    let enter = |endpoint: &Arc<EndpointLimiter>, at: Uptime| {
        slots.enter(at, SlowRequest { endpoint: endpoint.clone(), cut: Some(oneshot::channel().0) })
    };
    let _guards: Vec<_> = [(&usual, 0), (&dead, 1_000), (&dead, 2_000), (&degraded, 3_000), (&degraded, 7_000)]
        .map(|(endpoint, at)| enter(endpoint, START + at))
        .into();
    let oldest = |most, at| {
        slots.slow_requests().oldest(most, START + at).iter().map(|(at, _)| at.ms_since(START)).collect::<Vec<_>>()
    };
    assert_eq!(oldest(3, 8_000), [3_000, 1_000, 2_000]);
    assert_eq!(oldest(1, 8_000), [3_000]);
    assert_eq!(oldest(9, 9_999), [3_000, 1_000, 2_000], "twice what is usual is not over, and the youngest is young");
    assert_eq!(oldest(9, 12_000), [3_000, 7_000, 0, 1_000, 2_000]);
}

#[test]
fn the_prefetch_has_room_for_requests_that_move_to_slow_slots() {
    let counts = SlotCounts { fast: 512, slow: 2_048 };
    assert_eq!((counts.prefetch(Lane::Fast), counts.prefetch(Lane::Slow)), (2_048, 1_638));
    assert_eq!(SlotCounts { fast: 1, slow: 1 }.prefetch(Lane::Slow), 1);
}
