//! The body of a request to the intake: one event, or `{"events":[…]}`. [`Submission`] only splits it, and each event is
//! then read as a [`SubmittedEvent`]. Who processes it later decodes it as an [`Envelope`](crate::Envelope).

use serde::Deserialize;

use crate::{
    Event, EventId, Refusal, Warning,
    envelope::{check_rest, object_text, require_object},
    json_text, warning,
};

#[derive(Debug, PartialEq, Eq)]
pub enum Submission<'a> {
    One(&'a str),
    Batch(Vec<&'a str>),
}

impl<'a> Submission<'a> {
    /// Splits a body into events. Fails when it does not begin like a JSON object, a batch is not JSON, or `events` is not
    /// a list. A body that is one event may still be no JSON, which [`SubmittedEvent::read`] finds out.
    pub fn of(body: &'a [u8]) -> Result<Self, Refusal> {
        let text = object_text(body)?;
        if !json_text::may_have_key(text, "events") {
            return Ok(Self::One(text));
        }
        serde_json::from_str::<serde::de::IgnoredAny>(text)
            .map_err(|error| Refusal::malformed(format!("not JSON: {error}")))?;
        let events = json_text::members(text).find(|(key, _)| json_text::is_key(key, "events"));
        match events {
            None => Ok(Self::One(text)),
            Some((_, list)) if list.starts_with('[') => Ok(Self::Batch(json_text::elements(list).collect())),
            Some(_) => Err(Refusal::invalid("/events", "expected a list of events")),
        }
    }
}

/// A canonical event as its sender wrote it, checked before it is accepted.
#[derive(Debug)]
pub struct SubmittedEvent {
    /// The sender's id of the event, if it has one.
    pub id: Option<EventId>,
    /// The event as it was sent: nothing is filled in.
    pub event: Event,
    /// What is probably a mistake in it.
    pub warnings: Vec<Warning>,
}

impl SubmittedEvent {
    /// Reads an event like [`read`](Self::read), if its bytes are text.
    pub fn from_bytes(body: &[u8]) -> Result<Self, Refusal> {
        Self::read(object_text(body)?)
    }

    /// Reads an event with one parse. Refuses what [`peek_id`] or [`Envelope::decode`](crate::Envelope::decode) refuse,
    /// with the refusal of the first of them.
    pub fn read(text: &str) -> Result<Self, Refusal> {
        require_object(text)?;
        let event: Event = serde_json::from_str(text)
            .map_err(|error| find_id(text).err().unwrap_or_else(|| Refusal::locate::<Event>(text, &error)))?;
        check_rest(text)?;
        let id = event.id.clone().map(EventId::try_from).transpose();
        let id = id.map_err(|error| Refusal::invalid("/id", error.to_string()))?;
        let warnings = warning::of_event(text, &event);
        Ok(Self { id, event, warnings })
    }
}

/// Reads the id of a canonical event and nothing else. Fails when the body is not a JSON object, or `id` is not an
/// event id.
pub fn peek_id(body: &[u8]) -> Result<Option<EventId>, Refusal> {
    find_id(object_text(body)?)
}

fn find_id(text: &str) -> Result<Option<EventId>, Refusal> {
    #[derive(Deserialize)]
    struct Peek {
        #[serde(default, deserialize_with = "crate::event::event_id")]
        id: Option<String>,
    }
    let peek: Peek = serde_json::from_str(text).map_err(|error| Refusal::locate::<Peek>(text, &error))?;
    let id = peek.id.map(EventId::try_from).transpose();
    id.map_err(|error| Refusal::invalid("/id", error.to_string()))
}

#[cfg(test)]
mod tests;
