//! RequestLimiter, with a clock of the test's own.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;

fn limit(per_second: f64, burst: u32) -> Limit {
    Limit::new(per_second, burst).unwrap()
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn a_burst_is_allowed_at_once_and_then_one_each_gap() {
    let (limit, begun, mut used) = (limit(10.0, 3), Instant::now(), Gcra::default());
    let mut take = |at: u64| used.take(&limit, 1, begun + ms(at));
    let first: Vec<_> = (0..4).map(|_| take(0)).collect();
    assert_eq!(first, [Ok(()), Ok(()), Ok(()), Err(TooSoon(ms(100)))]);
    assert_eq!((take(99), take(100), take(100)), (Err(TooSoon(ms(1))), Ok(()), Err(TooSoon(ms(100)))));
    // A long rest brings back the burst, and no more.
    let rested: Vec<_> = (0..4).map(|_| take(3_600_000).is_ok()).collect();
    assert_eq!(rested, [true, true, true, false]);
}

#[test]
fn several_at_once_are_taken_whole_or_not_at_all() {
    let (limit, now, mut used) = (limit(1.0, 5), Instant::now(), Gcra::default());
    assert_eq!(used.take(&limit, 4, now), Ok(()));
    assert_eq!(used.take(&limit, 2, now), Err(TooSoon(ms(1_000))));
    assert_eq!(used.take(&limit, 1, now), Ok(()), "what was refused took nothing");
}

#[test]
fn more_than_a_burst_is_let_through_when_rested_and_paid_for_afterwards() {
    let (limit, now, mut used) = (limit(1.0, 5), Instant::now(), Gcra::default());
    assert_eq!(used.take(&limit, 100, now), Ok(()));
    assert_eq!(used.take(&limit, 1, now), Err(TooSoon(ms(96_000))));
    assert_eq!(used.take(&limit, 100, now + ms(99_999)), Err(TooSoon(ms(1))));
    assert_eq!(used.take(&limit, 100, now + ms(100_000)), Ok(()));
}

#[test]
fn a_limit_that_is_raised_is_in_force_at_the_next_question() {
    let (now, mut used) = (Instant::now(), Gcra::default());
    assert_eq!(used.take(&limit(1.0, 1), 1, now), Ok(()));
    assert!(used.take(&limit(1.0, 1), 1, now).is_err());
    assert_eq!(used.take(&limit(10.0, 20), 1, now), Ok(()));
}

#[test]
fn what_is_owed_is_worth_less_time_under_a_higher_limit_and_no_more_under_a_lower_one() {
    let (begun, mut used) = (Instant::now(), Gcra::default());
    let mut take = |per_second: f64, n, at| used.take(&limit(per_second, per_second as u32), n, begun + ms(at));
    assert_eq!((take(1.0, 1_000, 0), take(1.0, 1, 0)), (Ok(()), Err(TooSoon(ms(1_000_000)))));
    assert_eq!(take(1_000.0, 1_000, 2_000), Err(TooSoon(ms(998))), "two are paid for");
    assert_eq!((take(1_000.0, 2, 2_000), take(1.0, 1, 2_000)), (Ok(()), Err(TooSoon(ms(1_000)))));
}

#[test]
fn what_is_given_back_can_be_taken_again() {
    let (limit, now, used) = (limit(1.0, 2), Instant::now(), Keyed::new(10));
    assert_eq!((used.take("a", &limit, 1, now), used.take("a", &limit, 1, now)), (Ok(()), Ok(())));
    used.give_back("a", &limit, 1);
    assert_eq!(used.take("a", &limit, 2, now), Err(TooSoon(ms(1_000))));
    assert_eq!(used.take("a", &limit, 1, now), Ok(()));
}

#[test]
fn numbers_that_are_no_limit_are_refused_and_extreme_ones_do_not_panic() {
    for (per_second, burst) in [(0.0, 1), (-1.0, 1), (f64::NAN, 1), (1.0, 0)] {
        assert_eq!(Limit::new(per_second, burst), Err(InvalidLimit), "{per_second} {burst}");
    }
    let now = Instant::now();
    assert_eq!(Gcra::default().take(&limit(f64::MIN_POSITIVE, u32::MAX), u32::MAX, now), Ok(()));
    assert_eq!(Gcra::default().take(&limit(f64::INFINITY, 1), u32::MAX, now), Ok(()));
}

#[test]
fn each_key_has_its_own_allowance() {
    let (limit, now, used) = (limit(1.0, 1), Instant::now(), Keyed::new(10));
    assert_eq!((used.take("a", &limit, 1, now), used.take("b", &limit, 1, now)), (Ok(()), Ok(())));
    assert!(used.take("a", &limit, 1, now).is_err());
}

#[test]
fn the_last_callers_are_remembered_and_the_memory_is_bounded() {
    let (limit, now, used) = (limit(1.0, 1), Instant::now(), Keyed::new(10));
    for key in 0..1_000 {
        assert_eq!(used.take(key, &limit, 1, now), Ok(()));
        let remembered = (key.max(9) - 9..=key).all(|recent| used.take(recent, &limit, 1, now).is_err());
        assert!(remembered, "one of the last ten was forgotten at {key}");
    }
    assert!(used.used.lock().unwrap().len() <= 20);
}

proptest! {
    /// In any period no more is allowed than the burst and the rate, and after the given wait the request is allowed.
    #[test]
    fn never_more_than_burst_and_rate_and_never_told_to_wait_too_short(
        per_second in 1_u32..1_000,
        burst in 1_u32..50,
        pauses in prop::collection::vec((0_u64..400, 1_u32..60), 1..200),
    ) {
        let (limit, begun) = (limit(per_second.into(), burst), Instant::now());
        let (mut used, mut now, mut allowed) = (Gcra::default(), begun, Vec::new());
        for (pause, n) in pauses {
            now += ms(pause);
            let n = n.min(burst);
            if let Err(TooSoon(wait)) = used.take(&limit, n, now) {
                prop_assert!(wait.as_secs_f64() <= f64::from(n.min(burst)) / f64::from(per_second) + 1e-6);
                now += wait;
                prop_assert_eq!(used.take(&limit, n, now), Ok(()));
            }
            allowed.push((now, n));
        }
        for (at, &(from, _)) in allowed.iter().enumerate() {
            let mut sum = 0;
            for (until, n) in &allowed[at..] {
                sum += n;
                let most = f64::from(burst) + (*until - from).as_secs_f64() * f64::from(per_second);
                prop_assert!(f64::from(sum) <= most + 1e-3, "{} allowed where {} may be", sum, most);
            }
        }
    }
}

#[test]
fn what_is_booked_beyond_a_burst_waits_for_its_place_until_the_wait_is_too_long() {
    let (limit, begun, mut used) = (limit(10.0, 2), Instant::now(), Gcra::default());
    let mut book = |at: u64| used.book(&limit, begun + ms(at), ms(250));
    let first: Vec<_> = (0..5).map(|_| book(0)).collect();
    assert_eq!(first, [Ok(ms(0)), Ok(ms(0)), Ok(ms(100)), Ok(ms(200)), Err(TooSoon(ms(50)))]);
    assert_eq!((book(150), book(150)), (Ok(ms(150)), Ok(ms(250))), "what was refused has booked nothing");
}
