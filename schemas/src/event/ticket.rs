//! The conversation an event is about, as it is after the event.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Id, Opaque, User, object};

/// A support conversation.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Ticket {
    /// Id on the platform.
    #[serde(default)]
    pub id: Option<Id>,
    /// UUID, if the platform has one.
    #[serde(default)]
    pub uuid: Option<String>,
    /// Status: `pending`, `open` or `closed`.
    #[serde(default)]
    pub status: Option<String>,
    /// Reference number that the customer is given.
    #[serde(default)]
    pub protocol: Option<String>,
    /// Key that was given when the ticket was created through the platform's API.
    #[serde(default)]
    pub external_key: Option<String>,
    /// The platform's API configuration. No rendered format has its secrets `token` and `authToken`.
    #[serde(default)]
    pub api_config: Option<Opaque>,
    /// True for a conversation of a group.
    #[serde(default)]
    pub is_group: bool,
    /// Number of unread messages.
    #[serde(default)]
    pub unread_messages: Option<i64>,
    /// Text of the last message.
    #[serde(default)]
    pub last_message: Option<String>,
    /// True when a bot answers.
    #[serde(default)]
    pub chatbot: Option<bool>,
    /// Id on the platform.
    #[serde(default)]
    pub queue_option_id: Option<Id>,
    /// Id on the platform.
    #[serde(default)]
    pub closing_reason_id: Option<Id>,
    /// Department of the ticket after the event; `queue_ids` of subscriptions refer to it.
    #[serde(default, deserialize_with = "object::optional")]
    pub queue: Option<Department>,
    /// Attendant who owns the ticket (not who wrote a message or caused the event).
    #[serde(default, deserialize_with = "object::optional")]
    pub assignee: Option<User>,
    /// Labels of the ticket.
    #[serde(default, deserialize_with = "object::list")]
    pub tags: Vec<Tag>,
    /// Time of creation, RFC 3339.
    #[serde(default)]
    pub created_at: Option<String>,
    /// Time of the last change, RFC 3339.
    #[serde(default)]
    pub updated_at: Option<String>,
}

/// A department, which the platforms call queue, fila or setor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Queue")]
pub struct Department {
    /// Id on the platform.
    #[serde(default)]
    pub id: Option<Id>,
    /// Display name.
    #[serde(default)]
    pub name: Option<String>,
    /// Color, `#rrggbb`, in the case it was typed in.
    #[serde(default)]
    pub color: Option<String>,
}

/// A label on a ticket.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Tag {
    /// Id on the platform.
    #[serde(default)]
    pub id: Option<Id>,
    /// Display name.
    #[serde(default)]
    pub name: Option<String>,
    /// Color, `#rrggbb`, in the case it was typed in.
    #[serde(default)]
    pub color: Option<String>,
    /// When the label was put on this ticket.
    #[serde(default, deserialize_with = "object::optional")]
    pub link: Option<TagLink>,
}

/// When a label was put on a ticket.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TagLink {
    /// Time of creation, RFC 3339.
    #[serde(default)]
    pub created_at: Option<String>,
    /// Time of the last change, RFC 3339.
    #[serde(default)]
    pub updated_at: Option<String>,
}
