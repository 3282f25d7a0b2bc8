//! Configuration: commented defaults < file < environment < flags, merged by figment.
//!
//! The `Config` struct is the root's, and its sections belong to the crates that they configure. Its JSON Schema is the
//! list of keys: their types, which have no default, which are secret. Unknown keys are refused with the nearest known
//! one. Every error is one line with the key and the origin of its value, and all of them are found at once.

mod defaults;
mod deprecated;
mod error;
mod keys;
mod loaded;
mod loader;
#[cfg(test)]
mod tests;

pub use defaults::{keys_of, optional_keys, uncommented};
pub use deprecated::Deprecation;
pub use error::{ConfigError, ConfigErrors};
pub use loaded::{LoadedConfig, mask_url};
pub use loader::Loader;
