//! The conversation an event is about, as it is after the event.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Id, Opaque, User, object};

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
