//! The canonical event: what producers publish and every dialect is rendered from (`ticketing.event/1`).
//!
//! Keys are in wire order. A missing key reads as null, an empty list or false. Unknown keys are accepted: they are
//! kept in the event's text (see [`Envelope`](crate::Envelope)), not here.

mod change;
mod contact;
mod message;
mod ticket;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{EventId, EventType, Id, object};

pub use change::{Change, ChangedTag};
pub use contact::Contact;
pub use message::{ChatMessage, Direction, Media};
pub use ticket::{Department, Tag, TagLink, Ticket};

pub const SPEC: &str = "ticketing.event/1";

/// Something that happened, as the state after it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "ticketing.event/1")]
pub struct Event {
    /// `ticketing.event/1`. May be left out.
    #[serde(default, deserialize_with = "known_spec")]
    #[schemars(extend("enum" = [SPEC, null]))]
    pub spec: Option<String>,
    /// Id of the event: `[A-Za-z0-9-]{1,64}`. Made at acceptance when left out. A producer that sends the event again must
    /// keep it, and all other bytes: another event under the same id is refused.
    #[serde(default, deserialize_with = "event_id")]
    #[schemars(regex(pattern = crate::pattern::EVENT_ID))]
    pub id: Option<String>,
    /// Type of the event: `<entity>.<action>`. The only required key.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// Time of the event, RFC 3339. The time of acceptance when left out.
    #[serde(default, deserialize_with = "occurred_at")]
    #[schemars(regex(pattern = crate::time::SINCE_1970), extend("format" = "date-time"))]
    pub occurred_at: Option<String>,
    /// Platform that the event comes from.
    #[serde(default, deserialize_with = "object::object")]
    pub source: Source,
    /// The platform's own record of its customer. It does not decide which tenant owns the event: the path, the source's
    /// token or the routing key does.
    #[serde(default, deserialize_with = "object::object")]
    pub tenant: Company,
    /// Connected account that the event came through.
    #[serde(default, deserialize_with = "object::object")]
    pub channel: Channel,
    /// Who caused the event.
    #[serde(default, deserialize_with = "object::optional")]
    pub actor: Option<Actor>,
    /// The conversation.
    #[serde(default, deserialize_with = "object::optional")]
    pub ticket: Option<Ticket>,
    /// The contact: a person, or a group.
    #[serde(default, deserialize_with = "object::optional")]
    pub contact: Option<Contact>,
    /// Author of a message in a group.
    #[serde(default, deserialize_with = "object::optional")]
    pub participant: Option<Contact>,
    /// The message. In a transfer: the last one received.
    #[serde(default, deserialize_with = "object::optional")]
    pub message: Option<ChatMessage>,
    /// What the event changed: the state before and after it.
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
    /// An event with nothing but its type.
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

    /// Direction of the event's message: the message's own, otherwise the one that the type implies.
    pub(crate) fn message_direction(&self, message: &ChatMessage) -> Direction {
        let is_ours = matches!(self.event_type.as_str(), "message.sent" | "message.status_changed");
        message.direction.unwrap_or(if is_ours { Direction::Outbound } else { Direction::Inbound })
    }
}

/// Where an event comes from.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Source {
    /// Name of the platform: `whazing`, `whaticket`, `boticario`, `custom`, …
    #[serde(default = "custom")]
    pub platform: String,
    /// Base of the URLs of the platform's media.
    #[serde(default)]
    pub base_url: Option<String>,
    /// The vendor's own name of the event (`NewTicket`, `fila-data`, …), if the event was read from a vendor's body.
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
    /// Id on the platform.
    #[serde(default)]
    pub id: Option<Id>,
    /// Display name.
    #[serde(default)]
    pub name: Option<String>,
}

/// A connected account (a WhatsApp number, a page, …).
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Channel {
    /// Id on the platform; `channel_ids` of subscriptions refer to it.
    #[serde(default)]
    pub id: Option<Id>,
    /// Display name.
    #[serde(default)]
    pub name: Option<String>,
    /// Kind of account: `whatsapp`, `instagram`, …
    #[serde(default)]
    pub kind: Option<String>,
    /// Number or handle of the account.
    #[serde(default)]
    pub address: Option<String>,
    /// Receiver that is configured on the platform itself; Whaticket echoes it.
    #[serde(default)]
    pub webhook_url: Option<String>,
}

/// Who caused an event.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Actor {
    /// Kind: `contact`, `user`, `bot`, `api` or `system`.
    #[serde(default)]
    pub kind: Option<String>,
    /// The attendant, if an attendant caused the event.
    #[serde(default, deserialize_with = "object::optional")]
    pub user: Option<User>,
}

/// An attendant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// Id on the platform.
    #[serde(default)]
    pub id: Option<Id>,
    /// Display name.
    #[serde(default)]
    pub name: Option<String>,
    /// E-mail address.
    #[serde(default)]
    pub email: Option<String>,
}
