//! The table of verdicts in full: every status and every failure, with every form of `Retry-After`, at every attempt and at
//! several ages.

use super::*;
use crate::outcome::{RetryAfter, class_of};

const NOW: u64 = 1_794_787_200_000; // Mon, 16 Nov 2026 00:00:00 GMT
const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;

/// The verdict of a row of the table.
#[derive(Clone, Copy, Debug)]
enum Row {
    Delivered,
    Permanent,
    /// Attempted again up to this age in ms.
    Retry(u64),
}
use Row::{Delivered, Permanent, Retry};

/// The last status of each row, the class as the metric's label has it, and the verdict.
const STATUSES: [(u16, &str, Row); 12] = [
    (199, "malformed", Retry(72 * HOUR)),
    (299, "2xx", Delivered),
    (399, "3xx", Retry(24 * HOUR)),
    (409, "4xx", Retry(24 * HOUR)),
    (410, "410", Permanent),
    (428, "4xx", Retry(24 * HOUR)),
    (429, "429", Retry(72 * HOUR)),
    (499, "4xx", Retry(24 * HOUR)),
    (501, "5xx", Retry(72 * HOUR)),
    (504, "5xx", Retry(72 * HOUR)),
    (599, "5xx", Retry(72 * HOUR)),
    (999, "malformed", Retry(72 * HOUR)),
];

const WITHOUT_STATUS: [(&str, Row); 6] = [
    ("timeout", Retry(72 * HOUR)),
    ("connect", Retry(72 * HOUR)),
    ("dns", Retry(72 * HOUR)),
    ("tls", Retry(72 * HOUR)),
    ("malformed", Retry(72 * HOUR)),
    ("blocked_ip", Retry(24 * HOUR)),
];

/// Texts of `Retry-After`, and the wait in ms that they ask for, a day at most.
const RETRY_AFTER: [(&str, u64); 15] = [
    ("", 0),
    ("0", 0),
    ("1", SECOND),
    ("120", 120 * SECOND),
    (" 7200 ", 2 * HOUR),
    ("86400", 24 * HOUR),
    ("86401", 24 * HOUR),
    ("31536000", 24 * HOUR),
    ("99999999999999999999999999", 24 * HOUR),
    ("Mon, 16 Nov 2026 03:00:00 GMT", 3 * HOUR),
    ("Monday, 16-Nov-26 03:00:00 GMT", 3 * HOUR),
    ("Fri, 31 Dec 9999 23:59:59 GMT", 24 * HOUR),
    ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
    ("soon", 0),
    ("-120", 0),
];

/// The waits of the default schedule in ms, for a chance of one half.
const STEPS: [u64; 10] = [
    5 * SECOND,
    30 * SECOND,
    120 * SECOND,
    600 * SECOND,
    1_800 * SECOND,
    2 * HOUR,
    6 * HOUR,
    12 * HOUR,
    12 * HOUR,
    24 * HOUR,
];

fn expected(row: Row, asked: u64, attempt: usize, age: u64) -> Verdict {
    let until = match row {
        Delivered => return Verdict::Delivered,
        Permanent => return Verdict::Dead(DeadReason::Permanent),
        Retry(until) => until,
    };
    match STEPS.get(attempt - 1) {
        None => Verdict::Dead(DeadReason::Exhausted),
        Some(step) if age + asked.max(*step) > until => Verdict::Dead(DeadReason::Expired),
        Some(step) => Verdict::Retry(Due { at: NOW + asked.max(*step), exact: asked > *step }),
    }
}

/// Checks a row with every form of `Retry-After`, at every attempt and at several ages.
fn check(class: OutcomeClass, status: Option<u16>, row: Row) {
    for (header, asked) in RETRY_AFTER {
        let retry_after = RetryAfter::parse(header);
        let outcome = Outcome { class, status, retry_after, excerpt: String::new(), duration_ms: 1 };
        for attempt in 1..=STEPS.len() + 1 {
            for age in [0, HOUR, 12 * HOUR, 23 * HOUR, 24 * HOUR, 48 * HOUR, 71 * HOUR, 72 * HOUR, 1_000 * HOUR] {
                let spent = Spent { attempts: u32::try_from(attempt).unwrap(), accepted_at: NOW - age };
                let verdict = decide(&outcome, spent, &RetryPolicy::default(), NOW, 0.5);
                let context = format!("{class} {status:?} {header:?}, attempt {attempt}, age {age}");
                assert_eq!(verdict, expected(row, asked, attempt, age), "{context}");
            }
        }
    }
}

#[test]
fn every_status_with_every_retry_after_at_every_attempt_has_the_verdict_of_the_table() {
    let mut first = 100;
    for (last, label, row) in STATUSES {
        for status in first..=last {
            assert_eq!(class_of(status).as_str(), label, "{status}");
            check(class_of(status), Some(status), row);
        }
        first = last + 1;
    }
    assert_eq!(first, 1_000, "the rows cover all numbers of three digits");
}

#[test]
fn every_failure_at_every_attempt_has_the_verdict_of_the_table() {
    let mut labels: Vec<_> = WITHOUT_STATUS.map(|(label, _)| label).into();
    for (label, row) in WITHOUT_STATUS {
        let class = OutcomeClass::ALL.into_iter().find(|class| class.as_str() == label).unwrap();
        check(class, None, row);
    }
    labels.extend(STATUSES.map(|(_, label, _)| label));
    for class in OutcomeClass::ALL {
        assert!(labels.contains(&class.as_str()), "{class} is in no row");
    }
}

#[test]
fn an_endpoints_own_policy_bounds_what_is_refused_too() {
    let span = |ms| schemas::Span(std::time::Duration::from_millis(ms));
    let policy = RetryPolicy { schedule: vec![span(HOUR)], max_age: span(2 * HOUR) };
    for class in OutcomeClass::ALL.into_iter().filter(|class| *class != OutcomeClass::Success) {
        let outcome = Outcome { class, status: None, retry_after: None, excerpt: String::new(), duration_ms: 1 };
        let spent = Spent { attempts: 1, accepted_at: NOW - HOUR - 1 };
        assert!(matches!(decide(&outcome, spent, &policy, NOW, 0.5), Verdict::Dead(_)), "{class}");
    }
}
