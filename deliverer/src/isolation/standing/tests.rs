//! One endpoint, decision by decision.

use proptest::prelude::*;

use super::*;
use crate::isolation::pace::gap_of;

const NOW: u64 = 1_790_000_000_000;
const FRESH: Arrival = Arrival { has_waited: false, has_room: false };
const BACK: Arrival = Arrival { has_waited: true, has_room: false };
const TERMS: Terms = Terms { most: 64.0, gap: 0.0, soon: (64.0, 0.0), backlog: 100_000, patience: 16_000 };

fn ended(health: Health, load: Load, took: u64) -> Ended {
    Ended { health, load, took: Some(took), hold: None, was_probe: false }
}

fn fine() -> Ended {
    ended(Health::Well, Load::Bears, 100)
}

fn timed_out() -> Ended {
    ended(Health::Ill, Load::Breaks, 15_000)
}

fn start(at: u64) -> Decision {
    Decision::Start { at, is_probe: false }
}

/// Three failures at `NOW`: shut until ten seconds later.
fn down() -> Standing {
    let mut standing = Standing::default();
    for _ in 0..3 {
        assert_eq!(standing.admit(FRESH, &TERMS, NOW), start(NOW));
        standing.ended(timed_out(), &TERMS, NOW, 0.0);
    }
    standing
}

#[test]
fn what_is_over_the_window_comes_back_about_when_there_is_a_place() {
    let mut standing = Standing::default();
    for _ in 0..4 {
        assert_eq!(standing.admit(FRESH, &TERMS, NOW), start(NOW));
    }
    let deferrals: Vec<_> = (0..640).map(|_| standing.admit(FRESH, &TERMS, NOW)).collect();
    let until = |decision: &Decision| match decision {
        Decision::Park { until, why: Why::Cap } => until - NOW,
        other => panic!("{other:?}"),
    };
    assert_eq!(until(&deferrals[0]), 1_000, "no ladder is shorter");
    // 64 at once, 200 ms each, with a tenth left free.
    assert_eq!(until(&deferrals[639]) - 1_000, (639.0 * 1.1 * 200.0 / 64.0_f64).ceil() as u64);
}

#[test]
fn who_may_wait_in_the_process_does_so_if_it_is_not_for_long() {
    let mut standing = Standing::default();
    let roomy = Arrival { has_room: true, ..FRESH };
    let decisions: Vec<_> = (0..30).map(|_| standing.admit(roomy, &TERMS, NOW)).collect();
    let count = |wanted: fn(&Decision) -> bool| decisions.iter().filter(|decision| wanted(decision)).count();
    assert_eq!(count(|decision| matches!(decision, Decision::Start { .. })), 4);
    assert_eq!(count(|decision| *decision == Decision::Queue), 20, "a second's worth: 20 of 200 ms by four");
    assert_eq!(count(|decision| matches!(decision, Decision::Park { .. })), 6);
    assert_eq!(standing.grant(&TERMS, NOW), None);
    standing.ended(fine(), &TERMS, NOW + 100, 0.0);
    assert_eq!(standing.grant(&TERMS, NOW + 100), Some(NOW + 100));
    assert_eq!(standing.grant(&TERMS, NOW + 100), Some(NOW + 100), "it bears five now");
    assert_eq!(standing.grant(&TERMS, NOW + 100), None);
}

#[test]
fn what_was_put_aside_in_a_burst_keeps_nobody_from_an_endpoint_that_keeps_up() {
    let mut standing = Standing::default();
    let fresh = Arrival { has_room: true, ..FRESH };
    // Nothing is known of it yet: 1,500 are booked for the next six seconds.
    (0..1_536).for_each(|_| _ = standing.admit(fresh, &TERMS, NOW));
    while standing.grant(&TERMS, NOW).is_some() || standing.under_way > 0 {
        standing.ended(ended(Health::Well, Load::Bears, 10), &TERMS, NOW, 0.0);
    }
    for ms in 0..1_000 {
        // Six come in a millisecond, and take ten.
        (0..6).for_each(|_| {
            let decision = standing.admit(fresh, &TERMS, NOW + ms);
            assert!(matches!(decision, Decision::Start { .. } | Decision::Queue), "{ms}: {decision:?}");
        });
        (0..6).for_each(|_| _ = standing.ended(ended(Health::Well, Load::Bears, 10), &TERMS, NOW + ms, 0.0));
        while standing.grant(&TERMS, NOW + ms).is_some() {}
    }
}

#[test]
fn who_comes_back_goes_before_who_is_new() {
    let mut standing = Standing::default();
    (0..4).for_each(|_| assert_eq!(standing.admit(FRESH, &TERMS, NOW), start(NOW)));
    (0..600).for_each(|_| _ = standing.admit(FRESH, &TERMS, NOW));
    let later = NOW + 1_000;
    let (fresh, back) = (Arrival { has_room: true, ..FRESH }, Arrival { has_room: true, ..BACK });
    let queued = |standing: &mut Standing, arrival| {
        (0..20).take_while(|_| standing.admit(arrival, &TERMS, later) == Decision::Queue).count()
    };
    assert_eq!(queued(&mut standing, fresh), 10, "of 200 ms by four");
    assert_eq!(queued(&mut standing, back), 10, "there is room for them");
    // But a place that nobody has is taken by whoever comes.
    let mut standing = standing.clone();
    (standing.queued, standing.under_way) = (0, 3);
    assert_eq!(standing.admit(FRESH, &TERMS, later), start(later));
}

#[test]
fn who_comes_back_in_vain_does_not_go_to_the_end_again() {
    let mut standing = Standing::default();
    (0..100_003).for_each(|_| _ = standing.admit(FRESH, &TERMS, NOW));
    assert_eq!(standing.admit(BACK, &TERMS, NOW), Decision::Park { until: NOW + 1_000, why: Why::Cap });
}

#[test]
fn beyond_its_backlog_an_endpoint_overflows_until_some_of_it_has_come_back() {
    let terms = Terms { backlog: 10, ..TERMS };
    let mut standing = Standing::default();
    let decisions: Vec<_> = (0..15).map(|_| standing.admit(FRESH, &terms, NOW)).collect();
    assert!(matches!(decisions[13], Decision::Park { .. }));
    assert_eq!(decisions[14], Decision::Overflow);
    assert!(matches!(standing.admit(FRESH, &terms, NOW + 1_001), Decision::Park { .. }));
    let mut standing = Standing::default();
    (0..10).for_each(|_| standing.comes_back(NOW + 30_000));
    (0..4).for_each(|_| assert_eq!(standing.admit(FRESH, &terms, NOW), start(NOW)));
    assert_eq!(standing.admit(FRESH, &terms, NOW), Decision::Overflow, "retries wait too");
}

#[test]
fn while_it_is_down_one_comes_back_as_the_probe_and_the_others_once_it_should_have_told() {
    let mut standing = down();
    let park = |standing: &mut Standing| match standing.admit(FRESH, &TERMS, NOW + 1) {
        Decision::Park { until, why: Why::Breaker } => until - NOW,
        other => panic!("{other:?}"),
    };
    assert_eq!(park(&mut standing), 10_000);
    assert!((25_000..25_500).contains(&park(&mut standing)), "a probe takes fifteen seconds, as all before it");
    let probe = Decision::Start { at: NOW + 10_000, is_probe: true };
    assert_eq!(standing.admit(BACK, &TERMS, NOW + 10_000), probe);
    assert!(matches!(standing.admit(BACK, &TERMS, NOW + 10_000), Decision::Park { why: Why::Breaker, .. }));
    assert!(standing.is_suspect(NOW + 10_000));
    let change = standing.ended(Ended { was_probe: true, ..fine() }, &TERMS, NOW + 10_100, 0.0);
    assert_eq!(change, Some(Change::Closed));
    (0..2).for_each(|_| assert_eq!(standing.admit(BACK, &TERMS, NOW + 10_100), start(NOW + 10_100)));
    let Decision::Park { why: Why::Cap, .. } = standing.admit(BACK, &TERMS, NOW + 10_100) else {
        panic!("it is approached with one, then two");
    };
}

#[test]
fn what_a_newcomer_books_does_not_crawl_at_a_newcomers_pace() {
    let terms = Terms { most: 4.0, gap: 1_600.0, soon: (64.0, 100.0), ..TERMS };
    let mut standing = Standing::default();
    let decisions: Vec<_> = (0..102).map(|_| standing.admit(FRESH, &terms, NOW)).collect();
    assert_eq!(decisions[0], start(NOW));
    let Decision::Park { until, why: Why::Rate } = decisions[101] else { panic!("{:?}", decisions[101]) };
    assert!(until < NOW + 1_600 + 11_100, "{} ms", until - NOW);
}

#[test]
fn an_endpoint_that_was_changed_is_tried_at_once() {
    let mut standing = down();
    standing.forgive();
    assert_eq!(standing.admit(FRESH, &TERMS, NOW + 1), start(NOW + 1));
    assert!(!standing.is_suspect(NOW + 1));
}

#[test]
fn a_busy_endpoint_is_left_alone_for_as_long_as_it_asks_within_bounds() {
    let mut standing = Standing::default();
    assert_eq!(standing.admit(FRESH, &TERMS, NOW), start(NOW));
    let busy = Ended { hold: Some(30_000), ..ended(Health::Neither, Load::Breaks, 10) };
    standing.ended(busy, &TERMS, NOW, 0.0);
    assert_eq!(standing.admit(FRESH, &TERMS, NOW), Decision::Park { until: NOW + 30_000, why: Why::Rate });
    standing.ended(Ended { hold: Some(86_400_000), ..busy }, &TERMS, NOW, 0.0);
    assert_eq!(standing.clone().admit(FRESH, &TERMS, NOW + 300_000), start(NOW + 300_000));
}

#[test]
fn what_answers_ever_slower_is_given_less() {
    let mut standing = Standing::default();
    let attempt = |standing: &mut Standing, took, now| {
        assert_eq!(standing.admit(FRESH, &TERMS, now), start(now));
        standing.ended(ended(Health::Well, Load::Neither, took), &TERMS, now, 0.0);
    };
    let wide = || {
        let mut window = Window::default();
        (0..100).for_each(|_| window.grow(64, 64.0));
        window
    };
    standing.window = wide();
    attempt(&mut standing, 100, NOW);
    attempt(&mut standing, 900, NOW + 1_000);
    attempt(&mut standing, 100, NOW + 2_000);
    assert_eq!(standing.window.places(64.0), 51, "the second opinion of an endpoint counts much");
    (0..200).for_each(|_| attempt(&mut standing, 100, NOW + 3_000));
    standing.window = wide();
    attempt(&mut standing, 800, NOW + 4_000);
    assert_eq!(standing.window.places(64.0), 64, "one late answer is no trouble");
    attempt(&mut standing, 900, NOW + 5_000);
    assert_eq!(standing.window.places(64.0), 51);
    (0..20).for_each(|_| attempt(&mut standing, 2_500, NOW + 6_000));
    assert!(standing.is_suspect(NOW + 6_000));
}

proptest! {
    /// Whatever comes, whenever, and however it ends: never more under way than the share, and starts are spaced.
    #[test]
    fn the_rate_and_the_share_are_never_exceeded(
        steps in proptest::collection::vec((0..6_u8, 0..3_000_u64, any::<bool>()), 1..300),
        per_second in 1.0..100.0_f64,
        most in 0.2..8.0_f64,
    ) {
        let terms = Terms { most, gap: gap_of(per_second), soon: (most, gap_of(per_second)), backlog: 1_000, patience: 16_000 };
        let (mut standing, mut now, mut starts) = (Standing::default(), NOW, Vec::new());
        for (step, ms, flag) in steps {
            now += ms / 10;
            let arrival = Arrival { has_waited: flag, has_room: ms % 2 == 0 };
            match step {
                0..=2 => match standing.admit(arrival, &terms, now) {
                    Decision::Start { at, .. } => starts.push(at),
                    Decision::Park { until, .. } => prop_assert!(until >= now + 1_000),
                    Decision::Queue | Decision::Overflow => {}
                },
                3 if standing.under_way > 0 => {
                    let took = Ended { was_probe: flag, ..ended(Health::Well, Load::Bears, ms) };
                    standing.ended(took, &terms, now, 0.5);
                }
                4 if standing.under_way > 0 => {
                    let took = Ended { was_probe: flag, hold: flag.then_some(ms), ..timed_out() };
                    if matches!(standing.ended(took, &terms, now, 0.5), Some(Change::Opened { .. })) {
                        standing.queued = 0;
                    }
                }
                5 if standing.under_way > 0 => standing.abandoned(flag, now),
                _ => {}
            }
            while let Some(at) = standing.grant(&terms, now) {
                starts.push(at);
            }
            // A probe comes on top of what was under way when the breaker opened.
            prop_assert!(f64::from(standing.under_way) <= 2.0 * most.max(1.0) + 1.0);
        }
        for pair in starts.windows(2) {
            prop_assert!(pair[1] as f64 + 1.0 >= pair[0] as f64 + 1_000.0 / per_second, "{} ms", pair[1] - pair[0]);
        }
    }
}
