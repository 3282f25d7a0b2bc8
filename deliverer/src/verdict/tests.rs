//! Single rules of the verdict, and what holds for every schedule.

use proptest::prelude::*;
use schemas::Span;

use super::*;
use crate::outcome::RetryAfter;

const NOW: u64 = 1_800_000_000_000;
const HOUR: u64 = 3_600_000;

fn outcome(class: OutcomeClass, retry_after: Option<RetryAfter>) -> Outcome {
    Outcome { class, status: None, retry_after, excerpt: String::new(), duration_ms: 1 }
}

fn policy(steps: &[u64], max_age: u64) -> RetryPolicy {
    let span = |ms: u64| Span(std::time::Duration::from_millis(ms));
    RetryPolicy { schedule: steps.iter().map(|ms| span(*ms)).collect(), max_age: span(max_age) }
}

fn first(class: OutcomeClass) -> Verdict {
    decide(&outcome(class, None), Spent { attempts: 1, accepted_at: NOW }, &RetryPolicy::default(), NOW, 0.5)
}

#[test]
fn every_class_has_its_verdict() {
    for class in OutcomeClass::ALL {
        let expected = match class {
            OutcomeClass::Success => Verdict::Delivered,
            OutcomeClass::Gone => Verdict::Dead(DeadReason::Permanent),
            _ => Verdict::Retry(Due { at: NOW + 5_000, exact: false }),
        };
        assert_eq!(first(class), expected, "{class}");
    }
}

#[test]
fn a_schedule_without_a_further_step_is_exhausted() {
    let spent = Spent { attempts: 3, accepted_at: NOW };
    let verdict = decide(&outcome(OutcomeClass::ServerError, None), spent, &policy(&[1_000, 1_000], HOUR), NOW, 0.5);
    assert_eq!(verdict, Verdict::Dead(DeadReason::Exhausted));
}

#[test]
fn a_delivery_that_would_be_tried_beyond_its_maximum_age_has_expired() {
    let spent = Spent { attempts: 1, accepted_at: NOW - HOUR };
    let verdict = decide(&outcome(OutcomeClass::Timeout, None), spent, &policy(&[1_000], HOUR), NOW, 0.5);
    assert_eq!(verdict, Verdict::Dead(DeadReason::Expired));
}

#[test]
fn a_refusal_is_repeated_for_a_day_at_most() {
    let policy = policy(&[HOUR], 72 * HOUR);
    let spent = Spent { attempts: 1, accepted_at: NOW - 24 * HOUR };
    for class in [OutcomeClass::ClientError, OutcomeClass::Redirect, OutcomeClass::BlockedIp] {
        assert_eq!(decide(&outcome(class, None), spent, &policy, NOW, 0.5), Verdict::Dead(DeadReason::Expired));
    }
    assert!(matches!(decide(&outcome(OutcomeClass::TooMany, None), spent, &policy, NOW, 0.5), Verdict::Retry(_)));
}

#[test]
fn a_longer_retry_after_is_honoured_exactly_and_a_day_at_most() {
    let spent = Spent { attempts: 1, accepted_at: NOW };
    let asked = |delay| outcome(OutcomeClass::ServerError, Some(RetryAfter::Delay(delay)));
    let verdict = |delay| decide(&asked(delay), spent, &RetryPolicy::default(), NOW, 0.5);
    assert_eq!(verdict(60_000), Verdict::Retry(Due { at: NOW + 60_000, exact: true }));
    assert_eq!(verdict(1_000), Verdict::Retry(Due { at: NOW + 5_000, exact: false }));
    assert_eq!(verdict(u64::MAX), Verdict::Retry(Due { at: NOW + 24 * HOUR, exact: true }));
}

proptest! {
    #[test]
    fn a_wait_stays_within_a_fifth_of_its_step(step in 0_usize..10, chance in 0.0..1.0_f64) {
        let policy = RetryPolicy::default();
        let spent = Spent { attempts: u32::try_from(step).unwrap() + 1, accepted_at: NOW };
        let scheduled = policy.schedule[step].millis() as f64;
        match decide(&outcome(OutcomeClass::Connect, None), spent, &policy, NOW, chance) {
            Verdict::Retry(due) => {
                let wait = (due.at - NOW) as f64;
                prop_assert!(wait >= 0.8 * scheduled - 1.0 && wait <= 1.2 * scheduled);
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn honouring_retry_after_only_ever_delays(delay in 0..u64::MAX, chance in 0.0..1.0_f64, attempts in 1_u32..11) {
        let spent = Spent { attempts, accepted_at: NOW };
        let due = |retry_after| match decide(
            &outcome(OutcomeClass::TooMany, retry_after), spent, &RetryPolicy::default(), NOW, chance,
        ) {
            Verdict::Retry(due) => due.at,
            _ => u64::MAX,
        };
        prop_assert!(due(Some(RetryAfter::Delay(delay))) >= due(None));
    }

    #[test]
    fn nothing_is_tried_beyond_its_maximum_age(age in 0..200 * HOUR, attempts in 1_u32..11, chance in 0.0..1.0_f64) {
        let spent = Spent { attempts, accepted_at: NOW - age };
        let verdict = decide(&outcome(OutcomeClass::Dns, None), spent, &RetryPolicy::default(), NOW, chance);
        if let Verdict::Retry(due) = verdict {
            prop_assert!(due.at <= NOW - age + 72 * HOUR);
        }
    }
}
