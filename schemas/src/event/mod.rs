//! The canonical event: what producers publish and every dialect is rendered from (`ticketing.event/1`).
//!
//! Keys stand in wire order. A missing key reads as null, an empty list or false; unknown keys are not refused, and
//! survive in the text the event was read from (see `envelope`), not here.

mod contact;
mod message;
mod ticket;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Change, EventId, EventType, Id, object};

pub use contact::Contact;
pub use message::{ChatMessage, Direction, Media};
pub use ticket::{Department, Tag, TagLink, Ticket};

/// The only envelope version there is.
pub const SPEC: &str = "ticketing.event/1";

/// One thing that happened, as the state after it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "ticketing.event/1")]
pub struct Event {
    /// `ticketing.event/1`; may be left out.
    #[serde(default, deserialize_with = "known_spec")]
    #[schemars(extend("enum" = [SPEC, null]))]
    pub spec: Option<String>,
    /// `[A-Za-z0-9-]{1,64}`; made at acceptance when left out. Stable over a producer's retries.
    #[serde(default, deserialize_with = "event_id")]
    #[schemars(regex(pattern = "^[A-Za-z0-9-]{1,64}$"))]
    pub id: Option<String>,
    /// `<entity>.<action>`. The only required key.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// RFC 3339; the time of acceptance when left out.
    #[serde(default, deserialize_with = "occurred_at")]
    #[schemars(extend("format" = "date-time"))]
    pub occurred_at: Option<String>,
    /// The platform it comes from.
    #[serde(default, deserialize_with = "object::object")]
    pub source: Source,
    /// The platform's own company record. Whose event it is, is decided elsewhere: by the path, the source's token or
    /// the routing key.
    #[serde(default, deserialize_with = "object::object")]
    pub tenant: Company,
    /// The connected account it came through.
    #[serde(default, deserialize_with = "object::object")]
    pub channel: Channel,
    /// Who caused it.
    #[serde(default, deserialize_with = "object::optional")]
    pub actor: Option<Actor>,
    /// The conversation.
    #[serde(default, deserialize_with = "object::optional")]
    pub ticket: Option<Ticket>,
    /// The customer's person, or the group.
    #[serde(default, deserialize_with = "object::optional")]
    pub contact: Option<Contact>,
    /// The author inside a group.
    #[serde(default, deserialize_with = "object::optional")]
    pub participant: Option<Contact>,
    /// The message; in a transfer, the last one received.
    #[serde(default, deserialize_with = "object::optional")]
    pub message: Option<ChatMessage>,
    /// What was before, and what is now.
    #[serde(default)]
    pub change: Option<Change>,
}

fn known_spec<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let spec = Option::<String>::deserialize(deserializer)?;
    match spec.as_deref() {
        None | Some(SPEC) => Ok(spec),
        Some(_) => Err(serde::de::Error::custom(format!("unknown version: write {SPEC:?}, or leave it out"))),
    }
}

pub(crate) fn event_id<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let id = Option::<String>::deserialize(deserializer)?;
    id.map(EventId::try_from).transpose().map(|id| id.map(String::from)).map_err(serde::de::Error::custom)
}

fn occurred_at<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    match text.as_deref().map(crate::time::unix_ms) {
        Some(None) => Err(serde::de::Error::custom("expected an RFC 3339 time since 1970")),
        _ => Ok(text),
    }
}

impl Event {
    /// An event of which nothing but the type is known.
    pub fn new(event_type: EventType) -> Self {
        Self {
            spec: Some(SPEC.to_owned()),
            id: None,
            event_type,
            occurred_at: None,
            source: Source::default(),
            tenant: Company::default(),
            channel: Channel::default(),
            actor: None,
            ticket: None,
            contact: None,
            participant: None,
            message: None,
            change: None,
        }
    }

    /// Which way its message went: as the message says, else as the type does.
    pub fn message_direction(&self, message: &ChatMessage) -> Direction {
        let is_ours = matches!(self.event_type.as_str(), "message.sent" | "message.status_changed");
        message.direction.unwrap_or(if is_ours { Direction::Outbound } else { Direction::Inbound })
    }
}

/// Where an event comes from.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Source {
    /// `whazing`, `whaticket`, `boticario`, `custom`, …
    #[serde(default = "custom")]
    pub platform: String,
    /// Where the platform serves media from.
    #[serde(default)]
    pub base_url: Option<String>,
    /// The vendor's own name of the event (`NewTicket`, `fila-data`, …), where a vendor's body was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
}

fn custom() -> String {
    "custom".to_owned()
}

impl Default for Source {
    fn default() -> Self {
        Self { platform: custom(), base_url: None, event: None }
    }
}

/// The platform's customer.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Company {
    /// Opaque.
    #[serde(default)]
    pub id: Option<Id>,
    /// As shown.
    #[serde(default)]
    pub name: Option<String>,
}

/// A connected account (a WhatsApp number, a page, …).
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Channel {
    /// Opaque; what subscriptions call `channel_ids`.
    #[serde(default)]
    pub id: Option<Id>,
    /// As shown.
    #[serde(default)]
    pub name: Option<String>,
    /// `whatsapp`, `instagram`, …
    #[serde(default)]
    pub kind: Option<String>,
    /// The account's own number or handle.
    #[serde(default)]
    pub address: Option<String>,
    /// The receiver that the platform itself has configured; Whaticket echoes it.
    #[serde(default)]
    pub webhook_url: Option<String>,
}

/// Who caused an event.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Actor {
    /// `contact`, `user`, `bot`, `api`, `system`.
    #[serde(default)]
    pub kind: Option<String>,
    /// The attendant, when it was one.
    #[serde(default, deserialize_with = "object::optional")]
    pub user: Option<User>,
}

/// An attendant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// Opaque.
    #[serde(default)]
    pub id: Option<Id>,
    /// As shown.
    #[serde(default)]
    pub name: Option<String>,
    /// E-mail address.
    #[serde(default)]
    pub email: Option<String>,
}
