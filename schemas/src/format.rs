//! The formats in which an event can be posted, and their options.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::EventType;

/// Format of the bodies that an endpoint receives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// WHAZING's channel webhook and queue integration.
    Whazing,
    /// Whaticket SaaS.
    Whaticket,
    /// Grupo Boticário Instant Message.
    Boticario,
    /// The envelope as accepted, without `original` and secrets.
    #[default]
    Canonical,
    /// What the platform itself sent, verbatim.
    Original,
}

impl Format {
    /// True when events of a type can have a body in this format.
    pub fn has(self, event_type: &EventType) -> bool {
        match (self, event_type.as_str()) {
            (Self::Original, _) => true,
            (Self::Canonical, kind) => kind != EventType::VENDOR_UNKNOWN.as_str(),
            (Self::Whazing, "ticket.created" | "ticket.transferred" | "webhook.test") => true,
            (Self::Whaticket, "ticket.opened" | "ticket.tags_changed") => true,
            (Self::Whazing | Self::Whaticket, "ticket.closed" | "message.sent") => true,
            (Self::Boticario, "message.status_changed") => true,
            (Self::Whazing | Self::Whaticket | Self::Boticario, "message.received") => true,
            (Self::Whazing | Self::Whaticket | Self::Boticario, _) => false,
        }
    }

    pub const ALL: [Self; 5] = [Self::Whazing, Self::Whaticket, Self::Boticario, Self::Canonical, Self::Original];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Whazing => "whazing",
            Self::Whaticket => "whaticket",
            Self::Boticario => "boticario",
            Self::Canonical => "canonical",
            Self::Original => "original",
        }
    }
}

/// Options of the vendors' formats; each concerns one format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FormatOptions {
    /// WHAZING: the version whose message fields are used.
    pub shape: WhazingShape,
    /// WHAZING: notation of `timestamp`.
    pub timestamp: Timestamp,
    /// Whaticket: which of the two bodies of a media message are sent.
    pub media: MediaBodies,
    /// Whaticket: which status of the ticket is shown, before or after a change.
    pub status_snapshot: StatusSnapshot,
    /// Whaticket: how the receiver's own URL is echoed.
    pub webhook_echo: WebhookEcho,
}

/// Version of WHAZING's message fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Shape")]
pub enum WhazingShape {
    /// Versions 2.10 to 2.15.
    #[default]
    #[serde(rename = "2.15")]
    V2_15,
    /// Version 2.16, which adds `mediaBase64`, `dataJson`, `ticket.isGroup`, `contactmessage`.
    #[serde(rename = "2.16")]
    V2_16,
}

/// Notation of WHAZING's `timestamp`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Timestamp {
    /// Seconds, as a number.
    #[default]
    S,
    /// Milliseconds, as a number.
    Ms,
    /// Seconds, as a string.
    String,
}

/// Which of Whaticket's bodies of a media message are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MediaBodies {
    /// `start`, then `fila-data`.
    #[default]
    Both,
    /// `fila-data` only.
    File,
    /// `start` only.
    Start,
}

/// Which status of the ticket Whaticket's `open` and `closed` show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StatusSnapshot {
    /// The status before the change, as the vendor sends it.
    #[default]
    Before,
    /// The status after the change.
    After,
}

/// How Whaticket's bodies echo the receiver's URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WebhookEcho {
    /// Without user info and fragment; a query becomes `?***`.
    #[default]
    Mask,
    /// As configured.
    Full,
    /// Null.
    Null,
}
