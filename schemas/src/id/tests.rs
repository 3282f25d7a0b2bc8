//! Ids keep their spelling, and ours never change.

use super::*;

#[test]
fn ids_keep_their_spelling_and_are_compared_by_their_text() {
    for json in
        ["7", "-7", "0", "-0", "9223372036854775808", "123456789012345678901234567890", "\"7\"", "\"a\\\"b\"", "\"é\""]
    {
        let id: Id = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), json);
    }
    let id = |json| serde_json::from_str::<Id>(json).unwrap();
    assert_eq!(id("7"), id("\"7\""));
    assert_ne!(id("7"), id("\"07\""));
    assert_eq!(Id::from(7), Id::from_text("7"));
}

#[test]
fn a_value_that_is_no_integer_or_text_is_no_id() {
    for json in ["1.0", "1e3", "true", "null", "[]", "{}", "\"\""] {
        assert!(serde_json::from_str::<Id>(json).is_err(), "{json}");
    }
}

#[test]
fn event_ids_are_letters_digits_and_hyphens() {
    let longest = "a".repeat(64);
    for good in ["A-z-0", "-", longest.as_str()] {
        assert!(EventId::try_from(good.to_owned()).is_ok(), "{good}");
    }
    for bad in ["", "a_b", "a b", "é", &"a".repeat(65)] {
        assert!(EventId::try_from(bad.to_owned()).is_err(), "{bad}");
    }
}

#[test]
fn a_fresh_id_is_a_uuid_of_version_7_that_sorts_by_time() {
    let id = |now| EventId::fresh(now, [0xff; 10]).to_string();
    assert_eq!(id(1_752_859_822_114), "01981e96-4822-7fff-bfff-ffffffffffff");
    assert!(id(1_752_859_822_114) < id(1_752_859_822_115));
}

#[test]
fn the_id_of_a_body_depends_on_all_of_tenant_source_and_bytes() {
    let id = EventId::of_body("acme", "main", b"{}");
    assert_eq!(id, EventId::of_body("acme", "main", b"{}"));
    for other in [
        EventId::of_body("acme", "main", b"{} "),
        EventId::of_body("acme", "mai", b"n{}"),
        EventId::of_body("acm", "emain", b"{}"),
    ] {
        assert_ne!(id, other);
    }
}
