//! The person or group that a conversation is with.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Id, Opaque};

/// A person or a group that the platform's customer talks to.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Contact {
    /// Id on the platform.
    #[serde(default)]
    pub id: Option<Id>,
    /// Name that the platform's users gave.
    #[serde(default)]
    pub name: Option<String>,
    /// Phone number as the producer gave it; the dialects normalise it.
    #[serde(default)]
    pub number: Option<String>,
    /// E-mail address.
    #[serde(default)]
    pub email: Option<String>,
    /// URL of the profile picture.
    #[serde(default)]
    pub profile_pic_url: Option<String>,
    /// True for a group.
    #[serde(default)]
    pub is_group: bool,
    /// Name that the contact chose in WhatsApp.
    #[serde(default)]
    pub pushname: Option<String>,
    /// Privacy id that replaces the number, `…@lid`.
    #[serde(default)]
    pub lid: Option<String>,
    /// Lane of the board.
    #[serde(default)]
    pub kanban_id: Option<Id>,
    /// Nurture sequence.
    #[serde(default)]
    pub followup_id: Option<Id>,
    /// A switch of Whaticket.
    #[serde(default)]
    pub accept_audio_message: Option<bool>,
    /// A switch of Whaticket.
    #[serde(default)]
    pub active: Option<bool>,
    /// A switch of Whaticket.
    #[serde(default)]
    pub disable_bot: Option<bool>,
    /// Whaticket's own fields.
    #[serde(default)]
    pub extra_info: Option<Opaque>,
    /// Time of the last message, RFC 3339.
    #[serde(default)]
    pub last_message_at: Option<String>,
}
