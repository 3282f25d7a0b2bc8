//! Merging the layers, in the order in which they are given.

use std::path::Path;

use figment::Figment;
use serde::de::DeserializeOwned;

use super::error::ConfigError;
use super::known::Known;
use super::layer::{Layer, key_of_variable};
use super::loaded::Loaded;
use super::shape::Shape;

/// Where values come from when nobody set them.
const DEFAULT: &str = "default";
/// What a flag's value is said to come from.
const COMMAND_LINE: &str = "the command line";

/// Collects the layers: later calls win. Call in the order file, environment, flags.
pub struct Loader {
    figment: Figment,
    known: Known,
    optional: Vec<&'static str>,
    secrets: &'static [&'static str],
}

impl Loader {
    /// Begins with the embedded defaults. Keys of `optional` have no default; values of `secrets` are never shown.
    pub fn new(
        default_toml: &str,
        optional: &[(&'static str, Shape)],
        secrets: &'static [&'static str],
    ) -> Result<Self, ConfigError> {
        let defaults = Layer::toml(DEFAULT, default_toml)?;
        let known = Known::new(&defaults.values, optional);
        let optional = optional.iter().map(|(key, _)| *key).collect();
        Ok(Self { figment: Figment::from(defaults), known, optional, secrets })
    }

    /// A file that must exist: the one the operator named.
    pub fn file(self, path: &Path) -> Result<Self, ConfigError> {
        let layer = Layer::file(path)?;
        self.known.check(&layer.values).map_err(|error| error.in_source(&layer.origin))?;
        Ok(self.with(layer))
    }

    /// A file that need not exist: `carteiro.toml`.
    pub fn file_if_present(self, path: &Path) -> Result<Self, ConfigError> {
        if path.exists() { self.file(path) } else { Ok(self) }
    }

    /// Variables `CARTEIRO_<SECTION>__<KEY>`; others are ignored.
    ///
    /// An optional key set to nothing counts as not set, which is what compose files make of `${KEY:-}`.
    pub fn environment(self, variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        variables.into_iter().try_fold(self, |loader, (name, text)| {
            let Some(key) = key_of_variable(&name, &loader.known) else { return Ok(loader) };
            if text.is_empty() && loader.optional.contains(&key.as_str()) {
                return Ok(loader);
            }
            let layer = Layer::text(&name, &key, &text, &loader.known)?;
            Ok(loader.with(layer))
        })
    }

    /// Flags of the command line, as dotted keys and their texts.
    pub fn flags<'a>(self, flags: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, ConfigError> {
        flags.into_iter().try_fold(self, |loader, (key, text)| {
            let layer = Layer::text(COMMAND_LINE, key, text, &loader.known)?;
            Ok(loader.with(layer))
        })
    }

    /// What is in force. Fails with the first value that does not fit its key's type.
    pub fn load<C: DeserializeOwned>(self) -> Result<Loaded<C>, ConfigError> {
        let config = self.figment.extract().map_err(|error| ConfigError::from_figment(error, self.secrets))?;
        Ok(Loaded::new(config, self.figment, self.secrets))
    }

    fn with(self, layer: Layer) -> Self {
        Self { figment: self.figment.merge(layer), ..self }
    }
}
