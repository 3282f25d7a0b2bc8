//! Keys and contents, with a clock of the tests' own.

use std::{collections::HashMap, time::Duration};

use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn keys() -> IdempotencyKeys {
    IdempotencyKeys::new(SeenConfig { ids: 100, window: MINUTE })
}

fn claimed<'a>(keys: &'a IdempotencyKeys, key: u128, content: &str, now: Instant) -> ClaimedKey<'a> {
    match keys.claim(key, content.as_bytes(), now) {
        Claim::New(claimed) => claimed,
        other => panic!("{content} is claimed: {other:?}"),
    }
}

fn is_repeat(keys: &IdempotencyKeys, key: u128, content: &str, now: Instant) -> bool {
    matches!(keys.claim(key, content.as_bytes(), now), Claim::Repeat)
}

fn conflicts(keys: &IdempotencyKeys, key: u128, content: &str, now: Instant) -> bool {
    matches!(keys.claim(key, content.as_bytes(), now), Claim::Conflict)
}

#[test]
fn a_noted_key_tells_a_repeat_from_another_content_until_it_is_forgotten() {
    let (keys, start) = (keys(), Instant::now());
    claimed(&keys, 1, "one", start).note(start);
    for now in [start, start + MINUTE] {
        assert!(is_repeat(&keys, 1, "one", now));
        assert!(conflicts(&keys, 1, "two", now));
    }
    let later = start + 3 * MINUTE;
    claimed(&keys, 1, "two", later).note(later);
    assert!(conflicts(&keys, 1, "one", later));
}

#[test]
fn a_key_in_progress_is_taken_for_another_content_only() {
    let (keys, now) = (keys(), Instant::now());
    let first = claimed(&keys, 1, "one", now);
    let again = claimed(&keys, 1, "one", now);
    assert!(conflicts(&keys, 1, "two", now));
    first.note(now);
    assert!(conflicts(&keys, 1, "two", now));
    assert!(is_repeat(&keys, 1, "one", now));
    drop(again);
    assert!(is_repeat(&keys, 1, "one", now));
    claimed(&keys, 2, "two", now);
}

#[test]
fn a_key_whose_claims_were_dropped_is_free_for_any_content() {
    let (keys, now) = (keys(), Instant::now());
    let (first, again) = (claimed(&keys, 1, "one", now), claimed(&keys, 1, "one", now));
    drop(first);
    assert!(conflicts(&keys, 1, "two", now), "one is still in progress");
    drop(again);
    drop(claimed(&keys, 1, "two", now));
    drop(claimed(&keys, 1, "one", now));
}

#[test]
fn white_space_around_a_content_is_no_part_of_it_and_that_within_is() {
    let (keys, now) = (keys(), Instant::now());
    claimed(&keys, 1, " {\"a\": 1}\r\n", now).note(now);
    assert!(is_repeat(&keys, 1, "{\"a\": 1}", now));
    assert!(conflicts(&keys, 1, "{\"a\":1}", now));
}

#[test]
fn a_content_noted_without_a_claim_is_a_repeat_until_another_takes_its_place() {
    let (keys, now) = (keys(), Instant::now());
    assert!(!keys.is_repeat(1, b"one", now));
    keys.note(1, b"one", now);
    assert!(keys.is_repeat(1, b"one", now) && !keys.is_repeat(1, b"two", now) && !keys.is_repeat(2, b"one", now));
    keys.note(1, b"two", now);
    assert!(keys.is_repeat(1, b"two", now) && !keys.is_repeat(1, b"one", now));
}

#[test]
fn a_key_in_progress_is_taken_even_if_none_are_remembered() {
    let (keys, now) = (IdempotencyKeys::new(SeenConfig { ids: 0, window: MINUTE }), Instant::now());
    let first = claimed(&keys, 1, "one", now);
    assert!(conflicts(&keys, 1, "two", now));
    first.note(now);
    drop(claimed(&keys, 1, "two", now));
}

proptest! {
    /// Each step claims a key for a content; it is noted, dropped, or stays in progress until the end.
    #[test]
    fn one_content_at_most_is_noted_under_a_key_and_nothing_stays_claimed(
        steps in prop::collection::vec((0_u128..4, "[ab]?", 0..3_u8), 1..100),
    ) {
        let (keys, now) = (keys(), Instant::now());
        let (mut noted, mut in_progress) = (HashMap::<u128, String>::new(), Vec::new());
        for (key, content, end) in steps {
            match keys.claim(key, content.as_bytes(), now) {
                Claim::New(claimed) => {
                    prop_assert!(!noted.contains_key(&key));
                    match end {
                        0 => {
                            claimed.note(now);
                            noted.insert(key, content);
                        }
                        1 => drop(claimed),
                        _ => in_progress.push((key, content, claimed)),
                    }
                }
                Claim::Repeat => prop_assert_eq!(noted.get(&key), Some(&content)),
                Claim::Conflict => prop_assert!(
                    noted.get(&key).is_some_and(|other| *other != content)
                        || in_progress.iter().any(|(known, other, _)| *known == key && *other != content)
                ),
            }
        }
        in_progress.clear();
        prop_assert!(keys.lock().claimed.is_empty());
        prop_assert_eq!(keys.lock().noted.len(), noted.len());
    }
}
