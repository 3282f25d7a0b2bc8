//! Configuration: commented defaults < file < environment < flags, merged by figment.
//!
//! Unknown keys are refused with the nearest known one; every error is one line that names the key and where it came
//! from. The `Config` struct itself is the root's: its sections belong to the crates they configure.

mod error;
mod keys;
mod known;
mod layer;
mod loaded;
mod loader;
mod mask;
mod shape;
#[cfg(test)]
mod tests;

pub use error::ConfigError;
pub use keys::{keys, uncommented};
pub use loaded::Loaded;
pub use loader::Loader;
pub use mask::mask_url;
pub use shape::Shape;
