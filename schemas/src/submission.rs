//! The body of a request to the intake: one event, or `{"events":[…]}`. This type only splits it; each event is then
//! decoded as an [`Envelope`](crate::Envelope).

use serde::Deserialize;

use crate::{EventId, Refusal, envelope::object_text, json_text};

#[derive(Debug, PartialEq, Eq)]
pub enum Submission<'a> {
    One(&'a str),
    Batch(Vec<&'a str>),
}

impl<'a> Submission<'a> {
    /// Splits a body into events. Fails when it is not a JSON object, or `events` is not a list.
    pub fn of(body: &'a [u8]) -> Result<Self, Refusal> {
        let text = object_text(body)?;
        serde_json::from_str::<serde::de::IgnoredAny>(text)
            .map_err(|error| Refusal::malformed(format!("not JSON: {error}")))?;
        let events = json_text::members(text).find(|(key, _)| json_text::is_key(key, "events"));
        match events {
            None => Ok(Self::One(text)),
            Some((_, list)) if list.starts_with('[') => Ok(Self::Batch(json_text::elements(list).collect())),
            Some(_) => Err(Refusal::invalid("/events", "expected a list of events")),
        }
    }

    /// The events, each with its JSON pointer for [`Refusal::within`]: empty, or `/events/3`.
    pub fn events(&self) -> impl Iterator<Item = (String, &'a str)> {
        let (list, is_batch) = match self {
            Self::One(event) => (std::slice::from_ref(event), false),
            Self::Batch(events) => (events.as_slice(), true),
        };
        let prefix = move |at| if is_batch { format!("/events/{at}") } else { String::new() };
        list.iter().enumerate().map(move |(at, event)| (prefix(at), *event))
    }
}

/// Reads the id of a canonical event and nothing else. Fails when the body is not a JSON object, or `id` is not an
/// event id.
pub fn peek_id(body: &[u8]) -> Result<Option<EventId>, Refusal> {
    #[derive(Deserialize)]
    struct Peek {
        #[serde(default, deserialize_with = "crate::event::event_id")]
        id: Option<String>,
    }
    let text = object_text(body)?;
    let peek: Peek = serde_json::from_str(text).map_err(|error| Refusal::locate::<Peek>(text, &error))?;
    let id = peek.id.map(EventId::try_from).transpose();
    id.map_err(|error| Refusal::invalid("/id", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RefusalKind;

    #[test]
    fn a_batch_is_split_into_its_events_as_they_are() {
        let body = br#" {"note": "x", "events": [ {"type": "a.b", "n": 1.0} , {"events": []}, 3 ]} "#;
        let submission = Submission::of(body).unwrap();
        let expected = vec![r#"{"type": "a.b", "n": 1.0}"#, r#"{"events": []}"#, "3"];
        assert_eq!(submission, Submission::Batch(expected));
        assert_eq!(submission.events().nth(1).unwrap().0, "/events/1");
    }

    #[test]
    fn any_other_object_is_one_event() {
        let submission = Submission::of(br#"{"type":"a.b"}"#).unwrap();
        assert_eq!(submission.events().collect::<Vec<_>>(), [(String::new(), r#"{"type":"a.b"}"#)]);
    }

    #[test]
    fn a_body_that_cannot_be_split_is_refused() {
        let table: [(&[u8], RefusalKind, &str); 6] = [
            (b"", RefusalKind::Malformed, ""),
            (b"[]", RefusalKind::Malformed, ""),
            (b"{\"events\":[1}", RefusalKind::Malformed, ""),
            (b"{} {}", RefusalKind::Malformed, ""),
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
}
