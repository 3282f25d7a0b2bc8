//! The state of one endpoint, decision by decision.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::limits::{rate::gap_ms, share::Allowance};

const NOW: Uptime = Uptime::of_ms(1_000);
const FIRST: WaitContext = WaitContext { has_waited: false, has_room: false, is_alone: false, slots_are_scarce: false };
const BACK: WaitContext = WaitContext { has_waited: true, ..FIRST };
const ALLOWANCE: Allowance = Allowance { in_flight: 64.0, gap_ms: 0.0 };
const SHARE: Share =
    Share { current: ALLOWANCE, settled: ALLOWANCE, max_backlog: 100_000, return_gap_ms: 0.25, attempt_ms: 16_000 };

type Decision = Result<Admission, TurnedAway>;

fn end(breaker: BreakerEffect, concurrency: ConcurrencyEffect, took_ms: u64) -> AttemptEnd {
    AttemptEnd { breaker, concurrency, took_ms: Some(took_ms), hold_ms: None }
}

fn success(took_ms: u64) -> AttemptEnd {
    end(BreakerEffect::Close, ConcurrencyEffect::Grow, took_ms)
}

fn timeout() -> AttemptEnd {
    end(BreakerEffect::Fail, ConcurrencyEffect::Halve, 15_000)
}

fn start(at: Uptime) -> Decision {
    Ok(Admission::Start { at, kind: AttemptKind::Regular })
}

impl AdmissionState {
    fn admit_at(&mut self, wait: WaitContext, now: Uptime) -> Decision {
        self.admit(wait, &SHARE, now)
    }

    fn end_at(&mut self, end: &AttemptEnd, now: Uptime) -> Option<Transition> {
        self.ended(end, AttemptKind::Regular, &SHARE, now, 0.0)
    }
}

/// An endpoint with three failures at `NOW`: its breaker is open for ten seconds.
fn down() -> AdmissionState {
    let mut state = AdmissionState::default();
    for _ in 0..3 {
        assert_eq!(state.admit_at(FIRST, NOW), start(NOW));
        state.end_at(&timeout(), NOW);
    }
    state
}

#[test]
fn a_delivery_over_the_concurrency_limit_returns_about_when_there_is_a_place() {
    let mut state = AdmissionState::default();
    for _ in 0..4 {
        assert_eq!(state.admit_at(FIRST, NOW), start(NOW));
    }
    let deferrals: Vec<_> = (0..640).map(|_| state.admit_at(FIRST, NOW)).collect();
    let delay = |decision: &Decision| match decision {
        Err(TurnedAway::Deferred { wait_ms, reason: DeferReason::Cap }) => *wait_ms,
        other => panic!("{other:?}"),
    };
    assert_eq!(delay(&deferrals[0]), 1_000, "no delay of the ladder is shorter");
    // 64 at once, 200 ms each, with a tenth left free.
    assert_eq!(delay(&deferrals[639]) - 1_000, (639.0 * 1.1 * 200.0 / 64.0_f64).ceil() as u64);
}

#[test]
fn a_delivery_waits_in_the_queue_if_there_is_room_and_it_is_not_for_long() {
    let mut state = AdmissionState::default();
    let roomy = WaitContext { has_room: true, ..FIRST };
    let decisions: Vec<_> = (0..30).map(|_| state.admit_at(roomy, NOW)).collect();
    let count = |wanted: fn(&Decision) -> bool| decisions.iter().filter(|decision| wanted(decision)).count();
    assert_eq!(count(|decision| matches!(decision, Ok(Admission::Start { .. }))), 4);
    assert_eq!(count(|decision| *decision == Ok(Admission::Queue)), 20, "a second's worth: 20 of 200 ms by four");
    assert_eq!(count(|decision| matches!(decision, Err(TurnedAway::Deferred { .. }))), 6);
    assert_eq!(state.grant(&SHARE, NOW), None);
    state.end_at(&success(100), NOW + 100);
    assert_eq!(state.grant(&SHARE, NOW + 100), Some(NOW + 100));
    assert_eq!(state.grant(&SHARE, NOW + 100), Some(NOW + 100), "the limit is five now");
    assert_eq!(state.grant(&SHARE, NOW + 100), None);
}

#[test]
fn reservations_of_a_burst_keep_no_delivery_from_an_endpoint_that_keeps_up() {
    let mut state = AdmissionState::default();
    let roomy = WaitContext { has_room: true, ..FIRST };
    // Nothing is known of the endpoint yet: 1,500 are reserved for the next six seconds.
    (0..1_536).for_each(|_| _ = state.admit_at(roomy, NOW));
    while state.grant(&SHARE, NOW).is_some() || state.in_flight > 0 {
        state.end_at(&success(10), NOW);
    }
    for ms in 0..1_000 {
        // Six come in a millisecond, and take ten.
        (0..6).for_each(|_| {
            let decision = state.admit_at(roomy, NOW + ms);
            assert!(decision.is_ok(), "{ms}: {decision:?}");
        });
        (0..6).for_each(|_| _ = state.end_at(&success(10), NOW + ms));
        while state.grant(&SHARE, NOW + ms).is_some() {}
    }
}

#[test]
fn a_delivery_that_returns_goes_before_first_attempts() {
    let mut state = AdmissionState::default();
    (0..4).for_each(|_| assert_eq!(state.admit_at(FIRST, NOW), start(NOW)));
    (0..600).for_each(|_| _ = state.admit_at(FIRST, NOW));
    let later = NOW + 1_000;
    let (first, back) = (WaitContext { has_room: true, ..FIRST }, WaitContext { has_room: true, ..BACK });
    let queued = |state: &mut AdmissionState, wait| {
        (0..20).take_while(|_| state.admit_at(wait, later) == Ok(Admission::Queue)).count()
    };
    assert_eq!(queued(&mut state, first), 10, "of 200 ms by four");
    assert_eq!(queued(&mut state, back), 10, "there is room for them");
    // A free place is given to any delivery.
    let mut state = state.clone();
    (state.queued, state.in_flight) = (0, 3);
    assert_eq!(state.admit_at(FIRST, later), start(later));
}

#[test]
fn a_delivery_that_returned_too_early_does_not_go_to_the_end_again() {
    let mut state = AdmissionState::default();
    (0..100_003).for_each(|_| _ = state.admit_at(FIRST, NOW));
    let decision = state.admit_at(BACK, NOW);
    assert_eq!(decision, Err(TurnedAway::Deferred { wait_ms: 1_000, reason: DeferReason::Cap }));
}

#[test]
fn an_endpoint_with_a_full_backlog_overflows_until_some_of_it_has_returned() {
    let share = Share { max_backlog: 10, ..SHARE };
    let mut state = AdmissionState::default();
    let decisions: Vec<_> = (0..15).map(|_| state.admit(FIRST, &share, NOW)).collect();
    assert!(matches!(decisions[13], Err(TurnedAway::Deferred { .. })));
    assert_eq!(decisions[14], Err(TurnedAway::Overflow));
    assert!(matches!(state.admit(BACK, &share, NOW), Err(TurnedAway::Deferred { .. })), "it belongs to the backlog");
    assert!(matches!(state.admit(FIRST, &share, NOW + 1_200), Err(TurnedAway::Deferred { .. })));
    let mut state = AdmissionState::default();
    (0..10).for_each(|_| state.count_backlog(NOW + 30_000, NOW));
    (0..4).for_each(|_| assert_eq!(state.admit(FIRST, &share, NOW), start(NOW)));
    assert_eq!(state.admit(FIRST, &share, NOW), Err(TurnedAway::Overflow), "retries wait too");
}

#[test]
fn an_endpoint_that_is_down_gets_one_delivery_as_the_probe_and_the_others_after_its_answer() {
    let mut state = down();
    let delay = |state: &mut AdmissionState| match state.admit_at(FIRST, NOW + 1) {
        Err(TurnedAway::Deferred { wait_ms, reason: DeferReason::Breaker }) => wait_ms + 1,
        other => panic!("{other:?}"),
    };
    assert_eq!(delay(&mut state), 10_000);
    assert!((25_000..25_500).contains(&delay(&mut state)), "a probe takes fifteen seconds, as all before it");
    let probe = Ok(Admission::Start { at: NOW + 10_000, kind: AttemptKind::Probe });
    assert_eq!(state.admit_at(BACK, NOW + 10_000), probe);
    let second = state.admit_at(BACK, NOW + 10_000);
    assert!(matches!(second, Err(TurnedAway::Deferred { reason: DeferReason::Breaker, .. })), "{second:?}");
    assert!(state.is_degraded(NOW + 10_000));
    let transition = state.ended(&success(100), AttemptKind::Probe, &SHARE, NOW + 10_100, 0.0);
    assert_eq!(transition, Some(Transition::Closed));
    (0..2).for_each(|_| assert_eq!(state.admit_at(BACK, NOW + 10_100), start(NOW + 10_100)));
    let third = state.admit_at(BACK, NOW + 10_100);
    assert!(matches!(third, Err(TurnedAway::Deferred { reason: DeferReason::Cap, .. })), "one, then two: {third:?}");
}

#[test]
fn what_waits_for_an_endpoint_returns_soon_unless_it_is_known_well_or_may_be_attempted_only_later() {
    let longest_ms = |state: &mut AdmissionState, share: &Share, now| {
        let waits = (0..10_000).map(|_| match state.admit(FIRST, share, now) {
            Err(TurnedAway::Deferred { wait_ms, .. }) => wait_ms,
            other => panic!("{other:?}"),
        });
        waits.max().expect("some")
    };
    // The breaker is open for ten seconds, and the probe may take fifteen.
    let one = Allowance { in_flight: 1.0, gap_ms: 0.0 };
    let share = |return_gap_ms| Share { settled: one, return_gap_ms, ..SHARE };
    assert_eq!(longest_ms(&mut down(), &share(0.25), NOW).div_ceil(1_000), 55);
    assert!((65_000..75_000).contains(&longest_ms(&mut down(), &share(5.0), NOW)), "no more return at once");
    let limited = Allowance { gap_ms: 100.0, ..ALLOWANCE };
    assert!(longest_ms(&mut down(), &Share { settled: limited, ..SHARE }, NOW) > 1_000_000, "as the rate asks for");
    for (seconds, expected) in [(0, 90), (10, 120), (60, 270)] {
        let mut state = AdmissionState::default();
        state.admit_at(FIRST, NOW).unwrap();
        state.end_at(&success(2_000), NOW);
        state.rate.hold(NOW + 300_000);
        let now = NOW + seconds * 1_000;
        let hold_ms = 300_000 - seconds * 1_000;
        assert_eq!((longest_ms(&mut state, &SHARE, now) - hold_ms).div_ceil(1_000), expected, "after {seconds} s");
    }
}

/// The waits of 240 deliveries to an endpoint that is down, after 2,000 others. One comes each so many ms.
fn waits_while_down(every_ms: u64, share: &Share) -> Vec<u64> {
    let mut state = down();
    (0..2_000).for_each(|_| state.count_backlog(NOW + 60_000, NOW));
    let waits = (0..240).map(|nth| match state.admit(FIRST, share, NOW + nth * every_ms) {
        Err(TurnedAway::Deferred { wait_ms, reason: DeferReason::Breaker }) => wait_ms,
        other => panic!("{other:?}"),
    });
    waits.collect()
}

#[test]
fn while_more_wait_than_may_return_soon_each_looks_again_after_a_wait_of_one_hop() {
    let one = Allowance { in_flight: 1.0, gap_ms: 0.0 };
    let share = Share { settled: one, return_gap_ms: 50.0, ..SHARE };
    let takes_one_hop = |ms: &&u64| broker::Due::ONE_HOP_MS.contains(ms);
    let waits = waits_while_down(40, &share);
    assert_eq!(waits[0], 10_000, "the probe");
    assert_eq!(waits[1..].iter().filter(takes_one_hop).count(), 239);
    let mean_ms = waits[1..].iter().sum::<u64>() / 239;
    assert!((100_000..115_000).contains(&mean_ms), "2,000 to 2,300 return at twenty a second: {mean_ms}");

    let burst = waits_while_down(0, &share);
    let spread: BTreeSet<_> = burst.iter().filter(|ms| !takes_one_hop(ms)).collect();
    assert!((110..125).contains(&spread.len()), "those of more than three seconds are spread: {}", spread.len());

    let limited = Share { settled: Allowance { gap_ms: 100.0, ..ALLOWANCE }, ..share };
    let by_chance = waits_while_down(40, &limited).iter().filter(takes_one_hop).count();
    assert!(by_chance < 5, "they are as the rate asks for: {by_chance}");
}

#[test]
fn reservations_of_a_newcomer_are_as_close_as_those_of_a_settled_deliverer() {
    let current = Allowance { in_flight: 4.0, gap_ms: 1_600.0 };
    let share = Share { current, settled: Allowance { in_flight: 64.0, gap_ms: 100.0 }, ..SHARE };
    let mut state = AdmissionState::default();
    let decisions: Vec<_> = (0..102).map(|_| state.admit(FIRST, &share, NOW)).collect();
    assert_eq!(decisions[0], start(NOW));
    let Err(TurnedAway::Deferred { wait_ms, reason: DeferReason::Rate }) = decisions[101] else {
        panic!("{:?}", decisions[101])
    };
    assert!(wait_ms < 1_600 + 11_100, "{wait_ms} ms");
}

#[test]
fn an_endpoint_that_was_changed_is_tried_at_once() {
    let mut state = down();
    state.forget_failures();
    assert_eq!(state.admit_at(FIRST, NOW + 1), start(NOW + 1));
    assert!(!state.is_degraded(NOW + 1));
}

#[test]
fn an_endpoint_is_degraded_for_a_minute_after_the_last_reason() {
    let mut state = AdmissionState::default();
    assert!(!state.is_degraded(NOW));
    state.mark_degraded(NOW + 4_000);
    state.mark_degraded(NOW);
    assert!(state.is_degraded(NOW + 63_999) && !state.is_degraded(NOW + 64_000));
}

#[test]
fn a_busy_endpoint_is_left_alone_for_as_long_as_it_asks_within_bounds() {
    let mut state = AdmissionState::default();
    assert_eq!(state.admit_at(FIRST, NOW), start(NOW));
    let busy = end(BreakerEffect::Answered, ConcurrencyEffect::Halve, 10);
    state.end_at(&AttemptEnd { hold_ms: Some(30_000), ..busy }, NOW);
    let held = Err(TurnedAway::Deferred { wait_ms: 30_000, reason: DeferReason::Rate });
    assert_eq!(state.admit_at(FIRST, NOW), held);
    state.end_at(&AttemptEnd { hold_ms: Some(86_400_000), ..busy }, NOW);
    assert_eq!(state.clone().admit_at(FIRST, NOW + 300_000), start(NOW + 300_000));
}

#[test]
fn an_endpoint_that_answers_ever_slower_is_given_less() {
    let mut state = AdmissionState::default();
    let attempt = |state: &mut AdmissionState, took, now| {
        assert_eq!(state.admit_at(FIRST, now), start(now));
        state.end_at(&end(BreakerEffect::Close, ConcurrencyEffect::None, took), now);
    };
    let wide = || {
        let mut limit = ConcurrencyLimit::default();
        (0..100).for_each(|_| limit.grow(64, 64.0));
        limit
    };
    state.concurrency = wide();
    attempt(&mut state, 100, NOW);
    attempt(&mut state, 900, NOW + 1_000);
    attempt(&mut state, 100, NOW + 2_000);
    assert_eq!(state.concurrency.places(64.0), 51, "the second latency of an endpoint counts much");
    (0..200).for_each(|_| attempt(&mut state, 100, NOW + 3_000));
    state.concurrency = wide();
    attempt(&mut state, 800, NOW + 4_000);
    assert_eq!(state.concurrency.places(64.0), 64, "one late answer is no trouble");
    attempt(&mut state, 900, NOW + 5_000);
    assert_eq!(state.concurrency.places(64.0), 51);
    (0..20).for_each(|_| attempt(&mut state, 2_500, NOW + 6_000));
    assert!(state.is_degraded(NOW + 6_000));
}

proptest! {
    /// Never more requests in flight than the share allows, and starts are spaced, whatever comes and however it ends.
    #[test]
    fn the_rate_and_the_share_are_never_exceeded(
        steps in proptest::collection::vec((0..6_u8, 0..3_000_u64, any::<bool>()), 1..300),
        per_second in 1.0..100.0_f64,
        in_flight in 0.2..8.0_f64,
    ) {
        let allowance = Allowance { in_flight, gap_ms: gap_ms(per_second) };
        let (max_backlog, return_gap_ms, attempt_ms) = (1_000, 0.25, 16_000);
        let share = Share { current: allowance, settled: allowance, max_backlog, return_gap_ms, attempt_ms };
        let (mut state, mut now, mut starts) = (AdmissionState::default(), NOW, Vec::new());
        for (step, ms, flag) in steps {
            now = now + ms / 10;
            let wait = WaitContext { has_waited: flag, has_room: ms % 2 == 0, ..FIRST };
            let kind = if flag { AttemptKind::Probe } else { AttemptKind::Regular };
            match step {
                0..=2 => match state.admit(wait, &share, now) {
                    Ok(Admission::Start { at, .. }) => starts.push(at),
                    Err(TurnedAway::Deferred { wait_ms, .. }) => prop_assert!(wait_ms >= 1_000),
                    Ok(Admission::Queue) | Err(TurnedAway::Overflow) => {}
                    Err(TurnedAway::SlowLane) => prop_assert!(false, "the state knows no lanes"),
                },
                3 if state.in_flight > 0 => _ = state.ended(&success(ms), kind, &share, now, 0.5),
                4 if state.in_flight > 0 => {
                    let end = AttemptEnd { hold_ms: flag.then_some(ms), ..timeout() };
                    if matches!(state.ended(&end, kind, &share, now, 0.5), Some(Transition::Opened { .. })) {
                        state.queued = 0;
                    }
                }
                5 if state.in_flight > 0 => state.abandoned(kind, now),
                _ => {}
            }
            while let Some(at) = state.grant(&share, now) {
                starts.push(at);
            }
            // A probe comes on top of what was in flight when the breaker opened.
            prop_assert!(f64::from(state.in_flight) <= 2.0 * in_flight.max(1.0) + 1.0);
        }
        for pair in starts.windows(2) {
            let gap_ms = pair[1].ms_since(pair[0]) as f64;
            prop_assert!(gap_ms + 1.0 >= 1_000.0 / per_second, "{gap_ms} ms");
        }
    }
}
