//! The shapes in which an event can be posted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The shape of what an endpoint gets.
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

/// Fine points of the vendors' shapes; each concerns one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FormatOptions {
    /// WHAZING: which version's message fields.
    pub shape: Shape,
    /// WHAZING: how `timestamp` is written.
    pub timestamp: Timestamp,
    /// Whaticket: which of the two bodies of a media message.
    pub media: MediaBodies,
    /// Whaticket: the ticket's status before or after a change.
    pub status_snapshot: StatusSnapshot,
    /// Whaticket: how the receiver's own URL is echoed.
    pub webhook_echo: WebhookEcho,
}

/// WHAZING's version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Shape {
    /// 2.10 to 2.15.
    #[default]
    #[serde(rename = "2.15")]
    V2_15,
    /// 2.16: adds `mediaBase64`, `dataJson`, `ticket.isGroup`, `contactmessage`.
    #[serde(rename = "2.16")]
    V2_16,
}

/// WHAZING's `timestamp`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Timestamp {
    /// Seconds, a number.
    #[default]
    S,
    /// Milliseconds, a number.
    Ms,
    /// Seconds, in quotes.
    String,
}

/// Whaticket's bodies of a media message.
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

/// Whaticket's ticket status in `open` and `closed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StatusSnapshot {
    /// As the vendor sends it.
    #[default]
    Before,
    /// The new one.
    After,
}

/// Whaticket's echo of the receiver's URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WebhookEcho {
    /// User info and fragment removed, a query becomes `?***`.
    #[default]
    Mask,
    /// As configured.
    Full,
    /// Null.
    Null,
}
