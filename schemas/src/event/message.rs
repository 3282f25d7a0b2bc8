//! A message of a conversation, and its file.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Id, Opaque, User, object};

/// Direction of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the contact.
    Inbound,
    /// To the contact.
    Outbound,
}

/// One message of a conversation.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Message")]
pub struct ChatMessage {
    /// Id on the platform.
    #[serde(default)]
    pub id: Option<Id>,
    /// Id at the messaging provider.
    #[serde(default)]
    pub provider_id: Option<Id>,
    /// Id of Boticário's interaction.
    #[serde(default)]
    pub conversation_id: Option<Id>,
    /// Correlation id of the caller.
    #[serde(default)]
    pub context_id: Option<Id>,
    /// Direction; left out: as the event type implies.
    #[serde(default)]
    pub direction: Option<Direction>,
    /// Kind: `text`, `chat`, `conversation` and `extendedTextMessage` are text; other values are free.
    #[serde(default)]
    pub media_type: Option<String>,
    /// Text, caption or file name.
    #[serde(default)]
    pub text: Option<String>,
    /// The file.
    #[serde(default, deserialize_with = "object::optional")]
    pub media: Option<Media>,
    /// Status in the platform's own words.
    #[serde(default)]
    pub status: Option<String>,
    /// How it was sent: `manual`, `bot`, `API`, …
    #[serde(default)]
    pub send_type: Option<String>,
    /// True when the message was deleted.
    #[serde(default)]
    pub is_deleted: bool,
    /// True when the message was edited after sending.
    #[serde(default)]
    pub edited: bool,
    /// Reactions, as the platform has them.
    #[serde(default)]
    pub reactions: Option<Opaque>,
    /// The attendant who wrote it.
    #[serde(default, deserialize_with = "object::optional")]
    pub author: Option<User>,
    /// Time of sending, in unix milliseconds.
    #[serde(default)]
    pub sent_at_ms: Option<i64>,
    /// Number of the recipient.
    #[serde(default)]
    pub to: Option<String>,
    /// Number of the sender.
    #[serde(default)]
    pub from: Option<String>,
    /// Time of creation, RFC 3339.
    #[serde(default)]
    pub created_at: Option<String>,
    /// Time of the last change, RFC 3339.
    #[serde(default)]
    pub updated_at: Option<String>,
    /// The message as the provider sent it.
    #[serde(default)]
    pub raw: Option<Opaque>,
}

/// A message's file.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Media {
    /// URL of the file. Vendors' URLs expire.
    #[serde(default)]
    pub url: Option<String>,
    /// Folder below `source.base_url`.
    #[serde(default)]
    pub folder: Option<String>,
    /// File name in `folder`.
    #[serde(default)]
    pub name: Option<String>,
    /// MIME type.
    #[serde(default)]
    pub mime: Option<String>,
    /// Caption of the file.
    #[serde(default)]
    pub caption: Option<String>,
    /// File name that the sender gave.
    #[serde(default)]
    pub filename: Option<String>,
    /// Content of the file, in base64.
    #[serde(default)]
    pub base64: Option<String>,
}
