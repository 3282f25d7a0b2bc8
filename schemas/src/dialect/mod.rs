//! The vendors' ways to say it, both ways: [`render`] writes an event as a vendor would, [`read`] understands what a
//! vendor sent.
//!
//! One folder a vendor, each with `render.rs` and `read.rs`. Rendering is exact, byte for byte and in key order;
//! reading is lenient: whatever is JSON becomes an event, if need be `vendor.unknown`.

mod boticario;
mod fields;
mod media;
mod phone;
mod read;
mod render;
mod whaticket;
mod whazing;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use read::{SourceContext, VendorEvent, read};
pub use render::{Body, render, render_test};

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

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Whazing, Self::Whaticket, Self::Boticario];

    /// Its name, also the platform's in `source.platform`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Whazing => "whazing",
            Self::Whaticket => "whaticket",
            Self::Boticario => "boticario",
        }
    }
}

#[cfg(test)]
mod tests;
