//! The canonical event: what producers publish and every dialect is rendered from (`ticketing.event/1`).
//!
//! Keys stand in wire order. A missing key reads as null, an empty list or false; unknown keys are not refused, and
//! survive in the text the event was read from (see `envelope`), not here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Change, EventId, EventType, Id, Opaque, object};

/// The only envelope version there is.
pub const SPEC: &str = "ticketing.event/1";

/// One thing that happened, as the state after it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "ticketing.event/1")]
pub struct Event {
    /// `ticketing.event/1`; may be left out.
    #[serde(default, deserialize_with = "known_spec")]
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
    pub message: Option<Message>,
    /// What was before, and what is now.
    #[serde(default)]
    pub change: Option<Change>,
}

fn known_spec<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let spec = Option::<String>::deserialize(deserializer)?;
    match spec.as_deref() {
        None | Some(SPEC) => Ok(spec),
        Some(other) => Err(serde::de::Error::custom(format!("unknown spec {other:?}, expected {SPEC:?}"))),
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
    pub fn message_direction(&self, message: &Message) -> Direction {
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

/// A support conversation.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Ticket {
    /// Opaque.
    #[serde(default)]
    pub id: Option<Id>,
    /// UUID, where the platform has one.
    #[serde(default)]
    pub uuid: Option<String>,
    /// `pending`, `open`, `closed`.
    #[serde(default)]
    pub status: Option<String>,
    /// The reference number told to the customer.
    #[serde(default)]
    pub protocol: Option<String>,
    /// The key given when the ticket was made through the platform's API.
    #[serde(default)]
    pub external_key: Option<String>,
    /// The platform's API configuration. May hold secrets: no rendered format has its `token` and `authToken`.
    #[serde(default)]
    pub api_config: Option<Opaque>,
    /// Whether it is a group's conversation.
    #[serde(default)]
    pub is_group: bool,
    /// Messages not yet read.
    #[serde(default)]
    pub unread_messages: Option<i64>,
    /// The last message's text.
    #[serde(default)]
    pub last_message: Option<String>,
    /// Whether a bot is in charge.
    #[serde(default)]
    pub chatbot: Option<bool>,
    /// Opaque.
    #[serde(default)]
    pub queue_option_id: Option<Id>,
    /// Opaque.
    #[serde(default)]
    pub closing_reason_id: Option<Id>,
    /// The department it is in after the event; what subscriptions call `queue_ids`.
    #[serde(default, deserialize_with = "object::optional")]
    pub queue: Option<Department>,
    /// The attendant who owns it (not who typed, and not who caused the event).
    #[serde(default, deserialize_with = "object::optional")]
    pub assignee: Option<User>,
    /// Its labels.
    #[serde(default, deserialize_with = "object::list")]
    pub tags: Vec<Tag>,
    /// RFC 3339.
    #[serde(default)]
    pub created_at: Option<String>,
    /// RFC 3339.
    #[serde(default)]
    pub updated_at: Option<String>,
}

/// A department, which the platforms call queue, fila or setor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Queue")]
pub struct Department {
    /// Opaque.
    #[serde(default)]
    pub id: Option<Id>,
    /// As shown.
    #[serde(default)]
    pub name: Option<String>,
    /// `#rrggbb`, case as typed.
    #[serde(default)]
    pub color: Option<String>,
}

/// A label on a ticket.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Tag {
    /// Opaque.
    #[serde(default)]
    pub id: Option<Id>,
    /// As shown.
    #[serde(default)]
    pub name: Option<String>,
    /// `#rrggbb`, case as typed.
    #[serde(default)]
    pub color: Option<String>,
    /// When it was put on this ticket.
    #[serde(default, deserialize_with = "object::optional")]
    pub link: Option<TagLink>,
}

/// When a label was put on a ticket.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TagLink {
    /// RFC 3339.
    #[serde(default)]
    pub created_at: Option<String>,
    /// RFC 3339.
    #[serde(default)]
    pub updated_at: Option<String>,
}

/// The customer's person, or a group.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Contact {
    /// Opaque.
    #[serde(default)]
    pub id: Option<Id>,
    /// As the platform's users call them.
    #[serde(default)]
    pub name: Option<String>,
    /// As the producer gave it; the dialects normalise.
    #[serde(default)]
    pub number: Option<String>,
    /// E-mail address.
    #[serde(default)]
    pub email: Option<String>,
    /// Picture.
    #[serde(default)]
    pub profile_pic_url: Option<String>,
    /// Whether this is a group.
    #[serde(default)]
    pub is_group: bool,
    /// The name they gave themselves in WhatsApp.
    #[serde(default)]
    pub pushname: Option<String>,
    /// The privacy id that replaces the number, `…@lid`.
    #[serde(default)]
    pub lid: Option<String>,
    /// Board lane.
    #[serde(default)]
    pub kanban_id: Option<Id>,
    /// Nurture sequence.
    #[serde(default)]
    pub followup_id: Option<Id>,
    /// Whaticket's switch.
    #[serde(default)]
    pub accept_audio_message: Option<bool>,
    /// Whaticket's switch.
    #[serde(default)]
    pub active: Option<bool>,
    /// Whaticket's switch.
    #[serde(default)]
    pub disable_bot: Option<bool>,
    /// Whaticket's own fields.
    #[serde(default)]
    pub extra_info: Option<Opaque>,
    /// RFC 3339.
    #[serde(default)]
    pub last_message_at: Option<String>,
}

/// Whether a message came in or went out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the contact.
    Inbound,
    /// From the platform's side.
    Outbound,
}

/// One message of a conversation.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// The platform's id.
    #[serde(default)]
    pub id: Option<Id>,
    /// The provider's id.
    #[serde(default)]
    pub provider_id: Option<Id>,
    /// Boticário's interaction.
    #[serde(default)]
    pub conversation_id: Option<Id>,
    /// The caller's own correlation.
    #[serde(default)]
    pub context_id: Option<Id>,
    /// In or out.
    #[serde(default)]
    pub direction: Option<Direction>,
    /// `text`, `chat`, `conversation` and `extendedTextMessage` are text; other values are free.
    #[serde(default)]
    pub media_type: Option<String>,
    /// Text, caption or file name.
    #[serde(default)]
    pub text: Option<String>,
    /// The file.
    #[serde(default, deserialize_with = "object::optional")]
    pub media: Option<Media>,
    /// The platform's word for how far it got.
    #[serde(default)]
    pub status: Option<String>,
    /// `manual`, `bot`, `API`, …
    #[serde(default)]
    pub send_type: Option<String>,
    /// Taken back.
    #[serde(default)]
    pub is_deleted: bool,
    /// Changed after sending.
    #[serde(default)]
    pub edited: bool,
    /// Opaque.
    #[serde(default)]
    pub reactions: Option<Opaque>,
    /// The attendant who typed it.
    #[serde(default, deserialize_with = "object::optional")]
    pub author: Option<User>,
    /// Unix milliseconds.
    #[serde(default)]
    pub sent_at_ms: Option<i64>,
    /// Number.
    #[serde(default)]
    pub to: Option<String>,
    /// Number.
    #[serde(default)]
    pub from: Option<String>,
    /// RFC 3339.
    #[serde(default)]
    pub created_at: Option<String>,
    /// RFC 3339.
    #[serde(default)]
    pub updated_at: Option<String>,
    /// The provider's own message.
    #[serde(default)]
    pub raw: Option<Opaque>,
}

/// A message's file.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Media {
    /// Where it is; no vendor's URL is durable.
    #[serde(default)]
    pub url: Option<String>,
    /// Below `source.base_url`.
    #[serde(default)]
    pub folder: Option<String>,
    /// In `folder`.
    #[serde(default)]
    pub name: Option<String>,
    /// MIME type.
    #[serde(default)]
    pub mime: Option<String>,
    /// Its own text.
    #[serde(default)]
    pub caption: Option<String>,
    /// The sender's file name.
    #[serde(default)]
    pub filename: Option<String>,
    /// The file itself.
    #[serde(default)]
    pub base64: Option<String>,
}
