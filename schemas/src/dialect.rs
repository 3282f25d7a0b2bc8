//! The vendors' ways to say it, both ways.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the bodies of a source look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// WHAZING, channel webhook and queue integration.
    Whazing,
    /// Whaticket SaaS.
    Whaticket,
    /// Grupo Boticário Instant Message.
    Boticario,
}
