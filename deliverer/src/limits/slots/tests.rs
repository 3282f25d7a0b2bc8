//! Requests that answer, and that do not, under paused time.

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use tokio::time::{Instant, sleep};

use super::*;
use crate::limits::{endpoint::Shared, fairness::TenantInFlight};

const START: u64 = 1_790_000_000_000;

fn slots(fast: u16, slow: u16) -> Slots {
    let started = Instant::now();
    let clock: Clock = Arc::new(move || START + u64::try_from(started.elapsed().as_millis()).unwrap());
    Slots::new(SlotCounts { fast, slow }, clock)
}

fn endpoint(id: &str) -> Arc<EndpointLimiter> {
    let shared = Arc::new(Shared::new(Arc::new(|| START)));
    Arc::new(EndpointLimiter::new("acme", id, TenantInFlight::default(), shared, crate::BreakerConfig::default()))
}

fn used(slots: &Slots) -> [i64; 2] {
    slots.in_use().map(|(used, _)| used)
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_long_frees_its_fast_slot_after_a_second() {
    let (slots, endpoint, began) = (slots(1, 4), endpoint("crm"), Instant::now());
    let hanging = slots.run(Lane::Fast, &endpoint, sleep(Duration::from_secs(15)));
    let quick = slots.run(Lane::Fast, &endpoint, async { began.elapsed() });
    let look = async {
        sleep(Duration::from_millis(900)).await;
        let early = used(&slots);
        sleep(Duration::from_millis(200)).await;
        (early, used(&slots))
    };
    let (hung, quick, looks) = tokio::join!(hanging, quick, look);
    assert_eq!((hung, quick), (Some(()), Some(Duration::from_secs(1))));
    assert_eq!(looks, ([1, 0], [0, 1]));
    assert_eq!(used(&slots), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn without_a_slow_slot_it_keeps_its_fast_one_and_a_retry_needs_a_slow_one_from_the_start() {
    let (slots, endpoint) = (slots(1, 1), endpoint("crm"));
    let retry = slots.run(Lane::Slow, &endpoint, sleep(Duration::from_secs(10)));
    let first = slots.run(Lane::Fast, &endpoint, sleep(Duration::from_secs(5)));
    let look = async {
        sleep(Duration::from_secs(4)).await;
        used(&slots)
    };
    let (_, _, used) = tokio::join!(retry, first, look);
    assert_eq!(used, [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn where_too_many_slow_slots_are_taken_the_oldest_degraded_are_cut_short_first_but_never_the_young() {
    let slots = slots(6, 20);
    let (degraded, slow, dead) = (endpoint("degraded"), endpoint("slow"), endpoint("dead"));
    degraded.change(|state| state.mark_degraded(START));
    let mut requests = FuturesUnordered::new();
    // The slow lane may have ten of them: six come on the other.
    let hang = |lane, endpoint| slots.run(lane, endpoint, sleep(Duration::from_secs(15))).boxed();
    (0..6).for_each(|_| requests.push(hang(Lane::Fast, &dead)));
    let tended = async {
        let mut cut = Vec::new();
        sleep(Duration::from_secs(1)).await;
        for _ in 0..8 {
            sleep(Duration::from_secs(1)).await;
            cut.push(slots.shorten((slots.clock)()));
        }
        cut
    };
    let later = async {
        sleep(Duration::from_secs(1)).await;
        let mut requests: FuturesUnordered<_> =
            (0..9).map(|nth| hang(Lane::Slow, if nth % 2 == 0 { &degraded } else { &slow })).collect();
        let mut survivors = 0;
        while let Some(carried) = requests.next().await {
            survivors += usize::from(carried.is_some());
        }
        survivors
    };
    let all = async {
        let mut survivors = 0;
        while let Some(carried) = requests.next().await {
            survivors += usize::from(carried.is_some());
        }
        survivors
    };
    let (cut, survivors_later, survivors) = tokio::join!(tended, later, all);
    // 15 of 20 are taken, and 13 may be: the first are five seconds old at second 5.
    assert_eq!(cut, [0, 0, 0, 2, 0, 0, 0, 0]);
    assert_eq!((survivors, survivors_later), (4, 9), "no degraded was old enough by then");
}

#[tokio::test(start_paused = true)]
async fn of_those_that_are_old_enough_degraded_go_first_and_who_is_usually_slow_is_left_alone() {
    let slots = slots(1, 20);
    let (degraded, usual, dead) = (endpoint("degraded"), endpoint("usual"), endpoint("dead"));
    degraded.change(|state| state.mark_degraded(START));
    usual.change(|state| state.measured_as(5_000.0));
    let began = |endpoint: &Arc<EndpointLimiter>, at: u64| {
        slots.enter(at, SlowRequest { endpoint: endpoint.clone(), cut: Some(oneshot::channel().0) })
    };
    let _held: Vec<_> = [(&usual, 0), (&dead, 1_000), (&dead, 2_000), (&degraded, 3_000), (&degraded, 7_000)]
        .map(|(endpoint, at)| began(endpoint, START + at))
        .into();
    let oldest =
        |most, at| slots.slow_requests().oldest(most, START + at).iter().map(|(at, _)| at - START).collect::<Vec<_>>();
    assert_eq!(oldest(3, 8_000), [3_000, 1_000, 2_000]);
    assert_eq!(oldest(1, 8_000), [3_000]);
    assert_eq!(oldest(9, 9_999), [3_000, 1_000, 2_000], "twice what is usual is not over, and the youngest is young");
    assert_eq!(oldest(9, 12_000), [3_000, 7_000, 0, 1_000, 2_000]);
}

#[test]
fn the_credit_leaves_room_for_what_moves() {
    let limits = SlotCounts { fast: 512, slow: 2_048 };
    assert_eq!((limits.prefetch(Lane::Fast), limits.prefetch(Lane::Slow)), (2_048, 1_638));
    assert_eq!(SlotCounts { fast: 1, slow: 1 }.prefetch(Lane::Slow), 1);
}
