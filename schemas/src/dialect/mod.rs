//! The vendors' dialects: [`render`] writes an event as a vendor would, [`read`] makes an event of what a vendor sent.
//!
//! Each vendor has a folder with `render.rs` and `read.rs`. Rendering is exact, byte for byte and in key order. Reading is
//! lenient: any JSON becomes an event, `vendor.unknown` if its kind is not known.

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
pub use render::{RenderedBody, render, render_test};

/// The vendor whose bodies a source receives.
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
    pub const ALL: [Self; 3] = [Self::Whazing, Self::Whaticket, Self::Boticario];

    /// True when the vendor's bodies say through which channel they came.
    pub const fn names_channels(self) -> bool {
        !matches!(self, Self::Boticario)
    }

    /// Name of the dialect, and of its platform in `source.platform`.
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
