//! The person, or the group, at the other end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Id, Opaque};

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
