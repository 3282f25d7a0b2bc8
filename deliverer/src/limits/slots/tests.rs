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
    endpoint_of("acme", id)
}

fn endpoint_of(tenant: &str, id: &str) -> Arc<EndpointLimiter> {
    let process = Arc::new(ProcessState::new(Arc::new(|| 0), UptimeClock::start()));
    Arc::new(EndpointLimiter::new(tenant, id, TenantInFlight::default(), process, BreakerConfig::default()))
}

/// A request that takes so long from its beginning.
async fn takes(ms: u64) {
    sleep(Duration::from_millis(ms)).await;
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
async fn as_many_of_the_oldest_requests_as_others_wait_for_are_cut_short_but_never_young_ones() {
    let slots = slots(6, 20);
    let (degraded, slow, dead) = (endpoint("degraded"), endpoint("slow"), endpoint("dead"));
    degraded.change(|state| state.mark_degraded(START));
    let hang = |lane, endpoint| slots.run(lane, endpoint, sleep(Duration::from_secs(15))).boxed();
    let early = survivors((0..6).map(|_| hang(Lane::Fast, &dead)).collect());
    let later = async {
        sleep(Duration::from_secs(1)).await;
        let retries = (0..14).map(|nth| hang(Lane::Slow, if nth % 2 == 0 { &degraded } else { &slow }));
        survivors(retries.chain((0..2).map(|_| hang(Lane::Fast, &slow))).collect()).await
    };
    let cut = async {
        let mut cut = Vec::new();
        sleep(Duration::from_millis(1_500)).await;
        for _ in 0..8 {
            sleep(Duration::from_secs(1)).await;
            cut.push(slots.shorten(slots.clock.now()));
        }
        cut
    };
    let (cut, later, early) = tokio::join!(cut, later, early);
    // All slow slots are in use, and two first attempts wait for some from second 2 on.
    assert_eq!(cut, [0, 0, 0, 2, 0, 0, 0, 0]);
    assert_eq!((early, later), (4, 16), "no request to the degraded endpoint was old enough by then");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_cut_short_while_nobody_waits_or_only_requests_to_the_same_endpoint_do() {
    let (slots, endpoint, other) = (slots(1, 4), endpoint("crm"), endpoint("other"));
    let hang = |endpoint| slots.run(Lane::Slow, endpoint, sleep(Duration::from_secs(15))).boxed();
    let first: FuturesUnordered<_> = (0..4).map(|_| hang(&endpoint)).collect();
    let cut = async {
        sleep(Duration::from_secs(7)).await;
        let alone = slots.shorten(slots.clock.now());
        let own = async {
            sleep(Duration::from_secs(1)).await;
            slots.shorten(slots.clock.now())
        };
        let (_, own) = tokio::join!(tokio::time::timeout(Duration::from_secs(2), hang(&endpoint)), own);
        let others = async {
            sleep(Duration::from_secs(1)).await;
            slots.shorten(slots.clock.now())
        };
        let (_, others) = tokio::join!(tokio::time::timeout(Duration::from_secs(2), hang(&other)), others);
        (alone, own, others)
    };
    let (survivors, cut) = tokio::join!(survivors(first), cut);
    assert_eq!((cut, survivors), ((0, 0, 1), 3));
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_expected_to_end_within_a_second_take_any_free_slot_from_either_lane() {
    let (slots, quick, unknown) = (slots(2, 3), endpoint("quick"), endpoint("unknown"));
    let all = async |lane, endpoint, ms| {
        let began = Instant::now();
        let requests: FuturesUnordered<_> = (0..5).map(|_| slots.run(lane, endpoint, takes(ms))).collect();
        requests.count().await;
        began.elapsed().as_millis()
    };
    for lane in Lane::ALL {
        slots.run(lane, &quick, takes(100)).await;
        assert_eq!(all(lane, &quick, 900).await, 900, "{lane:?}");
    }
    // Two begin each second while there are slow slots for them after it; as retries three, and then two.
    assert_eq!((all(Lane::Fast, &unknown, 3_000).await, all(Lane::Slow, &unknown, 3_000).await), (5_000, 6_000));
}

#[tokio::test(start_paused = true)]
async fn a_tenant_with_few_slots_starts_at_once_beside_one_whose_requests_hang_in_all_of_them() {
    let slots = slots(64, 64);
    let (acme, other) = (endpoint("crm"), endpoint_of("other", "crm"));
    let hang = |lane| slots.run(lane, &acme, sleep(Duration::from_secs(15))).boxed();
    let hanging = survivors((0..200).map(|nth| hang(Lane::ALL[nth % 2])).collect());
    let began = async {
        sleep(Duration::from_secs(3)).await;
        let began = Instant::now();
        slots.run(Lane::Fast, &other, sleep(Duration::from_millis(20))).await;
        (used(&slots), began.elapsed())
    };
    let (_, (used, took)) = tokio::join!(hanging, began);
    assert_eq!((used, took), ([62, 64], Duration::from_millis(20)), "two of the fast slots are for it");
}

#[tokio::test(start_paused = true)]
async fn whoever_holds_fewer_slots_gets_the_next_one_and_so_do_first_attempts_beside_retries() {
    let slots = slots(4, 4);
    let (acme, other) = (endpoint("crm"), endpoint_of("other", "crm"));
    let began = Instant::now();
    let retry = |endpoint, ms| slots.run(Lane::Slow, endpoint, takes(ms)).boxed();
    let flood: FuturesUnordered<_> = (0..8).map(|nth| retry(&acme, 2_000 + nth)).collect();
    let first = slots.run(Lane::Fast, &acme, takes(2_500));
    let neighbour = async {
        sleep(Duration::from_millis(500)).await;
        retry(&other, 100).await;
        began.elapsed().as_millis()
    };
    let observed = async {
        let mut observed = Vec::new();
        for ms in [1_900, 2_050] {
            tokio::time::sleep_until(began + Duration::from_millis(ms)).await;
            observed.push(used(&slots));
        }
        observed
    };
    let (_, _, neighbour, observed) = tokio::join!(flood.count(), first, neighbour, observed);
    assert_eq!((neighbour, observed), (2_100, vec![[1, 4], [0, 4]]), "the first two slow slots are for these two");
}

#[tokio::test(start_paused = true)]
async fn a_request_to_a_degraded_endpoint_is_cut_short_first_and_one_that_is_usually_slow_is_left_alone() {
    let slots = slots(1, 20);
    let (degraded, usual, dead) = (endpoint("degraded"), endpoint("usual"), endpoint("dead"));
    degraded.change(|state| state.mark_degraded(START));
    usual.change(|state| state.measured_as(5_000.0));
    let _guards = [(&usual, 0), (&dead, 1_000), (&dead, 2_000), (&degraded, 3_000), (&degraded, 7_000)]
        .map(|(endpoint, at)| enter(&slots, endpoint, at));
    let oldest = |at| {
        let requests = slots.slow_requests();
        requests.oldest(START + at).map(|((at, _), _)| at.ms_since(START)).collect::<Vec<_>>()
    };
    assert_eq!(oldest(8_000), [3_000, 1_000, 2_000]);
    assert_eq!(oldest(9_999), [3_000, 1_000, 2_000], "twice what is usual is not over, and the youngest is young");
    assert_eq!(oldest(12_000), [3_000, 7_000, 0, 1_000, 2_000]);
}

/// Notes a retry that began at this ms and holds a slow slot.
fn enter<'a>(slots: &'a Slots, endpoint: &Arc<EndpointLimiter>, at: u64) -> SlowRequestGuard<'a> {
    let request = SlowRequest { lane: Lane::Slow, endpoint: endpoint.clone(), cut: Some(oneshot::channel().0) };
    slots.enter(START + at, request)
}

/// How many requests of "large" and of "small" are cut short, which hold 6 and 3 slots and of which so many wait, while
/// so many of "new" do that holds none.
fn cut_of([large, small, new]: [usize; 3]) -> [usize; 2] {
    let slots = slots(1, 9);
    let endpoints = ["large", "small", "new"].map(|tenant| [endpoint_of(tenant, "crm"), endpoint_of(tenant, "erp")]);
    let _holding: Vec<_> = (0..9).map(|nth| enter(&slots, &endpoints[nth / 6][0], nth as u64)).collect();
    let waiting = [large, small, new].into_iter().zip(&endpoints);
    let _waiting: Vec<_> = waiting
        .flat_map(|(count, [_, erp])| (0..count).map(|_| Waiting::new(&slots, Lane::Slow, erp)).collect::<Vec<_>>())
        .collect();
    let held_by = |_, tenant: &str| match tenant {
        "large" => 6,
        "small" => 3,
        _ => 0,
    };
    let requests = slots.slow_requests();
    let cut = requests.to_cut_short(3, held_by, START + 10_000);
    let of = |tenant| cut.iter().filter(|key| requests.by_age[key].endpoint.tenant_id() == tenant).count();
    ["large", "small"].map(of)
}

#[test]
fn what_somebody_holds_beyond_its_part_is_cut_short_for_tenants_below_theirs_and_otherwise_ones_own() {
    for (waiting, cut) in
        [([0, 0, 2], [2, 0]), ([0, 0, 9], [3, 0]), ([0, 9, 0], [0, 3]), ([2, 0, 0], [2, 0]), ([2, 1, 2], [4, 1])]
    {
        assert_eq!(cut_of(waiting), cut, "{waiting:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_quick_requests_has_nothing_cut_short_and_a_request_that_needs_a_slow_slot_has() {
    let slots = slots(2, 4);
    let (slow, quick, new) = (endpoint_of("slow", "crm"), endpoint_of("quick", "crm"), endpoint_of("new", "crm"));
    slots.run(Lane::Fast, &quick, takes(100)).await;
    let hanging = survivors((0..4).map(|_| slots.run(Lane::Slow, &slow, takes(15_000))).collect());
    let flood = survivors((0..40).map(|nth| slots.run(Lane::ALL[nth % 2], &quick, takes(900))).collect());
    let cut = async {
        sleep(Duration::from_secs(6)).await;
        let quick = slots.shorten(slots.clock.now());
        let cut = async {
            sleep(Duration::from_millis(100)).await;
            slots.shorten(slots.clock.now())
        };
        let (_, cut) = tokio::join!(slots.run(Lane::Slow, &new, takes(100)), cut);
        (quick, cut)
    };
    let (hung, flood, cut) = tokio::join!(hanging, flood, cut);
    assert_eq!((cut, hung, flood), ((0, 1), 3, 40));
}

#[test]
fn the_prefetch_of_either_lane_keeps_all_slots_in_use_while_messages_are_settled() {
    assert_eq!(SlotCounts { fast: 512, slow: 2_048 }.prefetch(), 3_840);
    assert_eq!(SlotCounts { fast: 1, slow: 1 }.prefetch(), 3);
    assert_eq!(SlotCounts { fast: u16::MAX, slow: u16::MAX }.prefetch(), u16::MAX);
}
