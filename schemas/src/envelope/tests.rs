//! What is refused and where, what is filled in, and what the two verbatim formats keep.

use proptest::{collection::vec, prelude::*};
use serde_json::{Map, Value};

use super::*;

const NOW: u64 = 1_760_000_000_000;

fn acceptance() -> Acceptance {
    Acceptance::new(EventId::try_from("made-1".to_owned()).unwrap(), NOW, "acme")
}

fn decode(text: &str) -> Result<Envelope<'_>, Refusal> {
    Envelope::decode(text.as_bytes(), &acceptance())
}

fn canonical(text: &str) -> String {
    decode(text).unwrap().canonical()
}

#[test]
fn only_the_type_is_required_and_the_rest_is_filled_in() {
    let envelope = decode(r#"{"type":"order.paid"}"#).unwrap();
    let event = &envelope.event;
    assert_eq!(event.id.as_deref(), Some("made-1"));
    assert_eq!(event.occurred_at.as_deref(), Some("2025-10-09T08:53:20.000Z"));
    assert_eq!(envelope.occurred_at_ms, NOW);
    assert_eq!(event.source.platform, "custom");
    assert_eq!(event.tenant.id.as_ref().unwrap().text(), "acme");
    assert!(event.ticket.is_none() && event.message.is_none() && event.change.is_none());
}

#[test]
fn values_of_the_producer_are_kept() {
    let text = r#"{"type":"a.b","id":"made-1","occurred_at":"2025-07-18T14:30:22.1149-03:00","tenant":{"id":7},"source":{"platform":"izing"}}"#;
    let event = decode(text).unwrap().event;
    assert_eq!(event.occurred_at.as_deref(), Some("2025-07-18T17:30:22.114Z"), "in UTC, for the dialects");
    assert_eq!(event.tenant.id.as_ref().unwrap().text(), "7");
    assert_eq!(event.source.platform, "izing");
    assert!(canonical(text).contains("14:30:22.1149-03:00"), "as given");
}

#[test]
fn a_body_that_is_no_json_object_is_malformed() {
    let bodies: [&[u8]; 9] = [
        b"",
        b"null",
        b"[]",
        b"\"{}\"",
        b"{\"type\":",
        b"{\"type\":\"a.b\"} x",
        b"{\"type\":5,",
        b"{\"a\":\"\xff\"}",
        b"\xef\xbb\xbf{}",
    ];
    for body in bodies {
        let refusal = Envelope::decode(body, &acceptance()).unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Malformed, "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn a_value_of_the_wrong_type_or_form_is_refused_with_its_place() {
    let table = [
        (r#"{}"#, "/type"),
        (r#"{"type":null}"#, "/type"),
        (r#"{"type":"ticket"}"#, "/type"),
        (r#"{"type":"Ticket.created"}"#, "/type"),
        (r#"{"type":"a.b","spec":"ticketing.event/2"}"#, "/spec"),
        (r#"{"type":"a.b","id":7}"#, "/id"),
        (r#"{"type":"a.b","id":"a b"}"#, "/id"),
        (r#"{"type":"a.b","id":""}"#, "/id"),
        (r#"{"type":"a.b","occurred_at":"yesterday"}"#, "/occurred_at"),
        (r#"{"type":"a.b","occurred_at":1752859822}"#, "/occurred_at"),
        (r#"{"type":"a.b","ticket":[]}"#, "/ticket"),
        (r#"{"type":"a.b","ticket":{"id":true}}"#, "/ticket/id"),
        (r#"{"type":"a.b","ticket":{"id":1.0}}"#, "/ticket/id"),
        (r#"{"type":"a.b","ticket":{"id":""}}"#, "/ticket/id"),
        (r#"{"type":"a.b","ticket":{"is_group":"no"}}"#, "/ticket/is_group"),
        (r#"{"type":"a.b","ticket":{"queue":{"id":{}}}}"#, "/ticket/queue/id"),
        (r#"{"type":"a.b","ticket":{"tags":{}}}"#, "/ticket/tags"),
        (r#"{"type":"a.b","ticket":{"tags":[{"id":1},[]]}}"#, "/ticket/tags/1"),
        (r#"{"type":"a.b","channel":{"id":""}}"#, "/channel/id"),
        (r#"{"type":"a.b","message":{"direction":"up"}}"#, "/message/direction"),
        (r#"{"type":"a.b","message":{"media":"x"}}"#, "/message/media"),
        (r#"{"type":"a.b","change":{"kind":"colour"}}"#, "/change"),
        (r#"{"type":"a.b","change":{"kind":"status","to":5}}"#, "/change"),
        (r#"{"type":"a.b","original":{}}"#, "/original"),
        (r#"{"type":"a.b","original":"\ud800"}"#, "/original"),
    ];
    for (text, pointer) in table {
        let refusal = decode(text).unwrap_err();
        assert_eq!((refusal.kind, refusal.pointer.as_str()), (RefusalKind::Invalid, pointer), "{text}: {refusal}");
        assert!(!refusal.message.is_empty() && !refusal.message.contains(" column "), "{refusal}");
        assert_eq!(refusal.within("/events/3").pointer, format!("/events/3{pointer}"));
    }
}

#[test]
fn an_id_that_contradicts_the_one_it_came_under_is_refused() {
    let refusal = decode(r#"{"type":"a.b","id":"other"}"#).unwrap_err();
    assert_eq!((refusal.kind, refusal.pointer.as_str()), (RefusalKind::Identity, "/id"));
    assert_eq!(refusal.kind.park_reason(), crate::ParkReason::Identity);
}

#[test]
fn nesting_is_bounded_also_in_unknown_keys() {
    let nested =
        |depth: usize| format!("{{\"type\":\"a.b\",\"x/y\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    assert!(decode(&nested(MAX_DEPTH)).is_ok());
    let refusal = decode(&nested(MAX_DEPTH + 1)).unwrap_err();
    assert_eq!((refusal.kind, refusal.pointer.as_str()), (RefusalKind::Invalid, "/x~1y"));
    assert!(decode(&nested(500_000)).is_err());
}

#[test]
fn canonical_keeps_keys_order_and_spelling_and_drops_white_space() {
    let table = [
        (
            " {\"z\" : 1.0,\n\"type\":\"a.b\", \"n\":[12345678901234567890, 1e2, -0], \"\\u0061\":\"\\u00e9 \\/\"} ",
            r#"{"id":"made-1","occurred_at":"2025-10-09T08:53:20.000Z","z":1.0,"type":"a.b","n":[12345678901234567890,1e2,-0],"\u0061":"\u00e9 \/"}"#,
        ),
        (
            r#"{"type":"a.b","occurred_at":null,"id":null}"#,
            r#"{"type":"a.b","occurred_at":"2025-10-09T08:53:20.000Z","id":"made-1"}"#,
        ),
        (
            r#"{"occurred_at":"2020-01-01T00:00:00Z","type":"a.b","original":"x","ticket":null}"#,
            r#"{"id":"made-1","occurred_at":"2020-01-01T00:00:00Z","type":"a.b","ticket":null}"#,
        ),
        (
            r#"{"id":"made-1","occurred_at":"2020-01-01T00:00:00Z","type":"a.b","\u006friginal":"x"}"#,
            r#"{"id":"made-1","occurred_at":"2020-01-01T00:00:00Z","type":"a.b"}"#,
        ),
    ];
    for (text, expected) in table {
        assert_eq!(canonical(text), expected);
    }
}

#[test]
fn canonical_and_the_event_lose_the_secrets_of_api_config_and_nothing_else() {
    let text = r#"{"id":"made-1","occurred_at":"2020-01-01T00:00:00Z","type":"a.b","token":"kept",
        "ticket":{"token":"kept","new":1.0,"api_config":{"b":2.50,"TOKEN":"S3CRET","a":[{"auth\u0054oken":"S3CRET","c":1}]}}}"#;
    let envelope = decode(text).unwrap();
    let expected = r#"{"id":"made-1","occurred_at":"2020-01-01T00:00:00Z","type":"a.b","token":"kept","ticket":{"token":"kept","new":1.0,"api_config":{"b":2.50,"a":[{"c":1}]}}}"#;
    assert_eq!(envelope.canonical(), expected);
    assert_eq!(
        envelope.event.ticket.as_ref().unwrap().api_config.as_ref().unwrap().json(),
        r#"{"b":2.50,"a":[{"c":1}]}"#
    );
    assert_eq!(envelope.original().unwrap(), text.as_bytes(), "what the platform sent itself");
}

#[test]
fn the_original_is_the_vendors_body_or_the_envelope_as_sent_or_withheld() {
    let original =
        |text: &str| decode(text).unwrap().original().map(|body| String::from_utf8(body.into_owned()).unwrap());
    assert_eq!(original(r#"{"type":"a.b","original":"{\"Type\":\"x\u00e9\"}"}"#).as_deref(), Some("{\"Type\":\"xé\"}"));
    assert_eq!(original(r#" {"type":"a.b"} "#).as_deref(), Some(r#" {"type":"a.b"} "#));
    assert_eq!(original(r#"{"type":"a.b","original":null}"#), None);
}

#[test]
fn every_sample_decodes_as_its_type() {
    for (event_type, json) in crate::samples() {
        let id = crate::peek_id(json.as_bytes()).unwrap().unwrap();
        let envelope = Envelope::decode(json.as_bytes(), &Acceptance { id, ..acceptance() }).unwrap();
        assert_eq!(envelope.event.event_type.as_str(), *event_type);
    }
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    let key = prop_oneof!["\\PC{0,6}", "[tT][oO][kK][eE][nN]", "[aA]uth[tT]oken", Just("original".to_owned())];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((key.clone(), inner), 0..5).prop_map(|members| members.into_iter().collect::<Value>()),
        ]
    })
}

/// What `redact` must come to, said in another way.
fn without_secrets(value: &Value) -> Value {
    let is_secret = |key: &str| ["token", "authtoken"].contains(&key.to_lowercase().as_str());
    match value {
        Value::Array(elements) => elements.iter().map(without_secrets).collect(),
        Value::Object(members) => members
            .iter()
            .filter(|(key, _)| !is_secret(key))
            .map(|(key, value)| (key.clone(), without_secrets(value)))
            .collect(),
        other => other.clone(),
    }
}

proptest! {
    #[test]
    fn canonical_is_the_envelope_with_id_and_time_and_without_secrets(
        unknown in vec(("x\\PC{0,6}", json()), 0..4), api_config in json(), pretty in any::<bool>(),
    ) {
        let mut sent = Map::from_iter(unknown);
        sent.insert("type".into(), "a.b".into());
        sent.insert("original".into(), "the body".into());
        sent.insert("ticket".into(), Map::from_iter([("api_config".to_owned(), api_config.clone())]).into());
        let text = if pretty { serde_json::to_string_pretty(&sent) } else { serde_json::to_string(&sent) }.unwrap();

        let mut expected = Map::new();
        expected.insert("id".into(), "made-1".into());
        expected.insert("occurred_at".into(), "2025-10-09T08:53:20.000Z".into());
        sent.shift_remove("original");
        sent["ticket"]["api_config"] = without_secrets(&api_config);
        expected.extend(sent);
        let envelope = decode(&text).unwrap();
        prop_assert_eq!(envelope.canonical(), serde_json::to_string(&expected).unwrap());
        let kept = envelope.event.ticket.unwrap().api_config.map_or("null".to_owned(), |kept| kept.json().to_owned());
        prop_assert_eq!(kept, serde_json::to_string(&without_secrets(&api_config)).unwrap());
    }
}
