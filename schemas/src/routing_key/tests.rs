//! What keys look like, and that no id can pretend to be another.

use proptest::prelude::*;

use super::*;
use crate::Event;

fn key(channel: &str, queue: &str) -> Option<String> {
    let (channel, queue) = (serde_json::to_string(channel).unwrap(), serde_json::to_string(queue).unwrap());
    let text =
        format!(r#"{{"type":"ticket.closed","channel":{{"id":{channel}}},"ticket":{{"queue":{{"id":{queue}}}}}}}"#);
    let event: Event = serde_json::from_str(&text).unwrap();
    routing_key("acme", &EventFacts::of(&event))
}

#[test]
fn separators_wildcards_and_white_space_are_escaped() {
    let table = [
        ("7", "12", "acme.7.12.ticket.closed"),
        ("-", "-", "acme.%2D.%2D.ticket.closed"),
        ("--", "a-b", "acme.--.a-b.ticket.closed"),
        ("a.b*c#d%e", "x y\tz", "acme.a%2Eb%2Ac%23d%25e.x%20y%09z.ticket.closed"),
        ("é/~", "\u{a0}\u{7f}", "acme.é/~.%C2%A0%7F.ticket.closed"),
    ];
    for (channel, queue, expected) in table {
        assert_eq!(key(channel, queue).as_deref(), Some(expected));
    }
}

#[test]
fn an_absent_part_is_a_hyphen() {
    let event: Event = serde_json::from_str(r#"{"type":"a.b"}"#).unwrap();
    assert_eq!(routing_key("t", &EventFacts::of(&event)).as_deref(), Some("t.-.-.a.b"));
}

#[test]
fn a_key_is_at_most_255_bytes() {
    let rest = "acme..12.ticket.closed".len();
    assert_eq!(key(&"x".repeat(255 - rest), "12").unwrap().len(), 255);
    assert_eq!(key(&"x".repeat(256 - rest), "12"), None);
}

#[test]
fn the_tenant_is_the_first_part() {
    assert_eq!(tenant_of("acme.7.12.a.b").as_deref(), Some("acme"));
    assert_eq!(tenant_of("a%2Eb.7").as_deref(), Some("a.b"));
    for wrong in ["", "acme", ".7.12.a.b", "%ff.7"] {
        assert_eq!(tenant_of(wrong), None, "{wrong}");
    }
}

proptest! {
    #[test]
    fn different_ids_have_different_keys_of_five_parts(a in "[.*#%\\- é7a\\x00]{1,4}", b in "[.*#%\\- é7a\\x00]{1,4}") {
        let (of_a, of_b) = (key(&a, "12").unwrap(), key(&b, "12").unwrap());
        prop_assert_eq!(of_a.split('.').count(), 5);
        prop_assert_eq!(a == b, of_a == of_b);
        let part = of_a.split('.').nth(1).unwrap();
        prop_assert_ne!(part, "-");
        prop_assert_eq!(percent_decode_str(part).decode_utf8().unwrap(), a);
    }
}
