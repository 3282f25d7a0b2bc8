//! The table of design §4, in full: every status and every failure, with every form of `Retry-After`, at every attempt
//! and several ages.

use super::*;
use crate::outcome::{RetryAfter, class_of};

const NOW: u64 = 1_794_787_200_000; // Mon, 16 Nov 2026 00:00:00 GMT
const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;

/// What a row of the table says.
#[derive(Clone, Copy, Debug)]
enum Says {
    Delivered,
    Permanent,
    /// Tried again, until this age.
    Retry(u64),
}
use Says::{Delivered, Permanent, Retry};

/// The last statuses of the rows, their class as the metric's label has it, and what follows.
const STATUSES: [(u16, &str, Says); 12] = [
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

const WITHOUT_STATUS: [(&str, Says); 6] = [
    ("timeout", Retry(72 * HOUR)),
    ("connect", Retry(72 * HOUR)),
    ("dns", Retry(72 * HOUR)),
    ("tls", Retry(72 * HOUR)),
    ("malformed", Retry(72 * HOUR)),
    ("blocked_ip", Retry(24 * HOUR)),
];

/// `Retry-After` as it came, and what it asks us to wait, at most a day.
const ASKED: [(&str, u64); 15] = [
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

/// The waits of the default schedule, for the chance of one half.
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

fn expected(says: Says, asked: u64, attempt: usize, age: u64) -> Verdict {
    let until = match says {
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

/// All of a row: every form of `Retry-After`, at every attempt and several ages.
fn check(class: OutcomeClass, status: Option<u16>, says: Says) {
    for (header, asked) in ASKED {
        let retry_after = RetryAfter::parse(header);
        let outcome = Outcome { class, status, retry_after, excerpt: String::new(), duration_ms: 1 };
        for attempt in 1..=STEPS.len() + 1 {
            for age in [0, HOUR, 12 * HOUR, 23 * HOUR, 24 * HOUR, 48 * HOUR, 71 * HOUR, 72 * HOUR, 1_000 * HOUR] {
                let spent = Spent { attempts: u32::try_from(attempt).unwrap(), accepted_at: NOW - age };
                let verdict = decide(&outcome, spent, &RetryPolicy::default(), NOW, 0.5);
                let context = format!("{class} {status:?} {header:?}, attempt {attempt}, age {age}");
                assert_eq!(verdict, expected(says, asked, attempt, age), "{context}");
            }
        }
    }
}

#[test]
fn every_status_with_every_retry_after_at_every_attempt_has_the_verdict_of_the_table() {
    let mut first = 100;
    for (last, label, says) in STATUSES {
        for status in first..=last {
            assert_eq!(class_of(status).as_str(), label, "{status}");
            check(class_of(status), Some(status), says);
        }
        first = last + 1;
    }
    assert_eq!(first, 1_000, "all that three digits can be");
}

#[test]
fn every_failure_at_every_attempt_has_the_verdict_of_the_table() {
    let mut labels: Vec<_> = WITHOUT_STATUS.map(|(label, _)| label).into();
    for (label, says) in WITHOUT_STATUS {
        let class = OutcomeClass::ALL.into_iter().find(|class| class.as_str() == label).unwrap();
        check(class, None, says);
    }
    labels.extend(STATUSES.map(|(_, label, _)| label));
    for class in OutcomeClass::ALL {
        assert!(labels.contains(&class.as_str()), "{class} is in no row");
    }
}

#[test]
fn a_policy_of_ones_own_bounds_what_is_refused_too() {
    let span = |ms| schemas::Span(std::time::Duration::from_millis(ms));
    let policy = RetryPolicy { schedule: vec![span(HOUR)], max_age: span(2 * HOUR) };
    for class in OutcomeClass::ALL.into_iter().filter(|class| *class != OutcomeClass::Success) {
        let outcome = Outcome { class, status: None, retry_after: None, excerpt: String::new(), duration_ms: 1 };
        let spent = Spent { attempts: 1, accepted_at: NOW - HOUR - 1 };
        assert!(matches!(decide(&outcome, spent, &policy, NOW, 0.5), Verdict::Dead(_)), "{class}");
    }
}
