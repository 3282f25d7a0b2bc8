//! How a body is split, and that one parse of an event comes to what several came to.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{Acceptance, Envelope, RefusalKind};

#[test]
fn a_batch_is_split_into_its_events_as_they_are() {
    let body = br#" {"note": "x", "events": [ {"type": "a.b", "n": 1.0} , {"events": []}, 3 ]} "#;
    let submission = Submission::of(body).unwrap();
    let expected = vec![r#"{"type": "a.b", "n": 1.0}"#, r#"{"events": []}"#, "3"];
    assert_eq!(submission, Submission::Batch(expected));
}

#[test]
fn any_other_object_is_one_event() {
    for event in [r#"{"type":"a.b"}"#, r#"{"type":"a.b","ticket":{"events":[]}}"#, " {} {}"] {
        assert_eq!(Submission::of(event.as_bytes()), Ok(Submission::One(event)));
    }
}

#[test]
fn a_body_that_cannot_be_split_is_refused() {
    let table: [(&[u8], RefusalKind, &str); 6] = [
        (b"", RefusalKind::Malformed, ""),
        (b"[]", RefusalKind::Malformed, ""),
        (b"{\"events\":[1}", RefusalKind::Malformed, ""),
        (b"{\"events\":[]} {}", RefusalKind::Malformed, ""),
        (b"{\"a\":\"\xff\"}", RefusalKind::Malformed, ""),
        (b"{\"events\":{}}", RefusalKind::Invalid, "/events"),
    ];
    for (body, kind, pointer) in table {
        let refusal = Submission::of(body).unwrap_err();
        assert_eq!((refusal.kind, refusal.pointer.as_str()), (kind, pointer), "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn an_id_is_found_before_the_event_is_read() {
    let id = |body: &str| peek_id(body.as_bytes());
    assert_eq!(id(r#"{"type":5,"id":"A-1"}"#).unwrap().unwrap().as_str(), "A-1");
    assert_eq!(id(r#"{"type":"a.b"}"#).unwrap(), None);
    assert_eq!(id(r#"{"id":null}"#).unwrap(), None);
    for wrong in [r#"{"id":7}"#, r#"{"id":""}"#, r#"{"id":"a b"}"#] {
        let refusal = id(wrong).unwrap_err();
        assert_eq!((refusal.kind, refusal.pointer.as_str()), (RefusalKind::Invalid, "/id"), "{wrong}");
    }
    assert_eq!(id("{\"id\":7").unwrap_err().kind, RefusalKind::Malformed);
}

/// The id, event and warnings of a text, found with a parse for each. The event is as it was sent.
fn read_step_by_step(text: &str) -> Result<(Option<EventId>, Value, Vec<Warning>), Refusal> {
    let id = peek_id(text.as_bytes())?;
    let made = EventId::try_from("made-1".to_owned()).unwrap();
    let acceptance = Acceptance::new(id.clone().unwrap_or(made), 1_760_000_000_000, "acme");
    let warnings = Envelope::decode(text.as_bytes(), &acceptance)?.warnings();
    Ok((id, json!(serde_json::from_str::<Event>(text).unwrap()), warnings))
}

fn read_at_once(text: &str) -> Result<(Option<EventId>, Value, Vec<Warning>), Refusal> {
    SubmittedEvent::read(text).map(|SubmittedEvent { id, event, warnings }| (id, json!(event), warnings))
}

/// Values that are right in some places and wrong in others.
fn value() -> impl Strategy<Value = Value> {
    let deep = (0..140).fold(json!(1), |inner, _| json!([inner]));
    prop::sample::select(vec![
        json!(null),
        json!(true),
        json!(7),
        json!(7.5),
        json!(""),
        json!("E-1"),
        json!("a b"),
        json!("opened"),
        json!("ticket.close"),
        json!("2025-07-18T14:30:22Z"),
        json!([]),
        json!([{"id": 1}]),
        json!({}),
        json!({"id": 4, "naem": "x"}),
        json!({"kind": "tags", "to": []}),
        json!({"token": "x", "a": {"authToken": 1}}),
        deep,
    ])
}

fn key() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "id",
        "type",
        "spec",
        "occurred_at",
        "original",
        "events",
        "ticket",
        "status",
        "queue",
        "queue_id",
        "chanel",
        "channel",
        "message",
        "texts",
        "body",
        "change",
        "api_config",
        "actor",
        "kind",
        "contact",
        "deal",
        "a/b",
        "",
    ])
}

/// A change of an event's text: a member of it or of an object in it is set, or bytes are replaced.
#[derive(Clone, Debug)]
enum Edit {
    Set(Option<&'static str>, &'static str, Value),
    Remove(&'static str),
    Replace(prop::sample::Index, &'static str),
    Cut(prop::sample::Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let text =
        prop::sample::select(vec!["", "\"", "\\", "\\u0069", "\\ud800", "{", "}", ",", " ", "7", "\\u0065vents"]);
    prop_oneof![
        6 => (prop::option::of(key()), key(), value()).prop_map(|(inside, key, value)| Edit::Set(inside, key, value)),
        2 => key().prop_map(Edit::Remove),
        2 => (any::<prop::sample::Index>(), text).prop_map(|(at, text)| Edit::Replace(at, text)),
        1 => any::<prop::sample::Index>().prop_map(Edit::Cut),
    ]
}

fn edited(event: &str, edits: Vec<Edit>) -> String {
    let mut event: Value = serde_json::from_str(event).unwrap();
    let mut later = Vec::new();
    for edit in edits {
        match edit {
            Edit::Set(None, key, value) => event[key] = value,
            Edit::Set(Some(inside), key, value) if event[inside].is_object() => event[inside][key] = value,
            Edit::Set(..) => {}
            Edit::Remove(key) => _ = event.as_object_mut().unwrap().remove(key),
            Edit::Replace(..) | Edit::Cut(_) => later.push(edit),
        }
    }
    let mut text = event.to_string();
    for edit in later {
        let at = |index: &prop::sample::Index, text: &str| text.floor_char_boundary(index.index(text.len() + 1));
        match edit {
            Edit::Replace(index, with) => {
                let start = at(&index, &text);
                let end = text[start..].chars().next().map_or(start, |c| start + c.len_utf8());
                text.replace_range(start..end, with);
            }
            Edit::Cut(index) => text.truncate(at(&index, &text)),
            Edit::Set(..) | Edit::Remove(_) => {}
        }
    }
    text
}

fn sample() -> impl Strategy<Value = &'static str> {
    let samples = crate::samples().iter().map(|(_, json)| *json);
    prop::sample::select(samples.chain(["{\"type\":\"a.b\"}", "{}"]).collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn one_parse_comes_to_what_several_come_to(sample in sample(), edits in prop::collection::vec(edit(), 0..4)) {
        let text = edited(sample, edits);
        prop_assert_eq!(read_at_once(&text), read_step_by_step(&text), "{}", text);
    }

    #[test]
    fn a_body_is_split_as_if_it_were_always_parsed(sample in sample(), edits in prop::collection::vec(edit(), 0..4)) {
        let text = edited(sample, edits);
        let parsed = match serde_json::from_str::<Value>(&text) {
            Ok(body) => match body.get("events") {
                Some(Value::Array(list)) => Some(Ok(list.len())),
                Some(_) => Some(Err("/events")),
                None => None,
            },
            // What is no JSON may be left to whoever reads the one event.
            Err(_) => return Ok(()),
        };
        let split = match Submission::of(text.as_bytes()) {
            Ok(Submission::One(event)) => {
                prop_assert_eq!(event, &text);
                None
            }
            Ok(Submission::Batch(events)) => Some(Ok(events.len())),
            Err(refusal) if refusal.pointer == "/events" => Some(Err("/events")),
            Err(refusal) => return Err(TestCaseError::fail(refusal.to_string())),
        };
        prop_assert_eq!(split, parsed, "{}", text);
    }
}
