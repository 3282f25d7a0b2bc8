//! What kind of event: `<entity>.<action>`.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// An event's type: `<entity>.<action>`, each `[a-z][a-z0-9_]*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventType(Cow<'static, str>);

/// Why a text is no event type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event type is `<entity>.<action>`, each a lower-case letter followed by lower-case letters, digits or `_`")]
pub struct InvalidEventType;

impl EventType {
    /// A ticket came to be.
    pub const TICKET_CREATED: Self = Self(Cow::Borrowed("ticket.created"));
    /// A ticket is being worked on.
    pub const TICKET_OPENED: Self = Self(Cow::Borrowed("ticket.opened"));
    /// A ticket went to another queue or attendant.
    pub const TICKET_TRANSFERRED: Self = Self(Cow::Borrowed("ticket.transferred"));
    /// A ticket was finished.
    pub const TICKET_CLOSED: Self = Self(Cow::Borrowed("ticket.closed"));
    /// A ticket's tags were changed.
    pub const TICKET_TAGS_CHANGED: Self = Self(Cow::Borrowed("ticket.tags_changed"));
    /// A message came in.
    pub const MESSAGE_RECEIVED: Self = Self(Cow::Borrowed("message.received"));
    /// A message went out.
    pub const MESSAGE_SENT: Self = Self(Cow::Borrowed("message.sent"));
    /// A message of ours was sent, delivered or read.
    pub const MESSAGE_STATUS_CHANGED: Self = Self(Cow::Borrowed("message.status_changed"));
    /// The test button.
    pub const WEBHOOK_TEST: Self = Self(Cow::Borrowed("webhook.test"));
    /// An endpoint is posted to no more.
    pub const ENDPOINT_DISABLED: Self = Self(Cow::Borrowed("endpoint.disabled"));
    /// A tenant came to the end of what it may use.
    pub const QUOTA_REACHED: Self = Self(Cow::Borrowed("quota.reached"));
    /// A vendor's body of a kind we do not know; goes to `original` endpoints only.
    pub const VENDOR_UNKNOWN: Self = Self(Cow::Borrowed("vendor.unknown"));

    /// `<entity>.<action>`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the dot.
    pub fn entity(&self) -> &str {
        self.0.split_once('.').map_or(&*self.0, |(entity, _)| entity)
    }

    /// Whether it is a message (`message.*`).
    pub fn is_message(&self) -> bool {
        self.entity() == "message"
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

impl TryFrom<String> for EventType {
    type Error = InvalidEventType;

    fn try_from(text: String) -> Result<Self, InvalidEventType> {
        match text.split_once('.') {
            Some((entity, action)) if is_word(entity) && is_word(action) => Ok(Self(Cow::Owned(text))),
            _ => Err(InvalidEventType),
        }
    }
}

impl From<EventType> for String {
    fn from(event_type: EventType) -> Self {
        event_type.0.into_owned()
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for EventType {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "EventType".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[a-z][a-z0-9_]*\\.[a-z][a-z0-9_]*$"})
    }
}
