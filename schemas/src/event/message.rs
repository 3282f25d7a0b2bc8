//! What was said, and the file that came with it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Id, Opaque, User, object};

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
#[schemars(rename = "Message")]
pub struct ChatMessage {
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
