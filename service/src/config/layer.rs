//! One source of values: the defaults, the file, a variable, a flag.

use std::path::Path;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider, util};

use super::error::ConfigError;
use super::known::Known;

/// The beginning of the names of our environment variables.
const PREFIX: &str = "CARTEIRO_";

/// Values, and where they came from. figment keeps the origin with each value.
pub(super) struct Layer {
    pub(super) origin: String,
    pub(super) values: Dict,
}

impl Layer {
    /// The values of a TOML text.
    pub(super) fn toml(origin: impl Into<String>, text: &str) -> Result<Self, ConfigError> {
        let origin = origin.into();
        let values = Toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            ConfigError::new(format!("{origin}:{line}"), error.message())
        })?;
        Ok(Self { origin, values })
    }

    /// The values of a TOML file.
    pub(super) fn file(path: &Path) -> Result<Self, ConfigError> {
        let origin = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|why| ConfigError::new(&origin, why))?;
        Self::toml(origin, &text)
    }

    /// One dotted key, whose text becomes what the key holds.
    pub(super) fn text(origin: &str, key: &str, text: &str, known: &Known) -> Result<Self, ConfigError> {
        let read = match known.shape(key) {
            Some(shape) => shape.read(text).map_err(|why| ConfigError::new(key, why)),
            None => Err(known.unknown(key)),
        };
        let value = read.map_err(|error| error.in_source(origin))?;
        let values = match util::nest(key, value) {
            Value::Dict(_, values) => values,
            _ => Dict::new(),
        };
        Ok(Self { origin: origin.to_owned(), values })
    }
}

/// The dotted key that a variable's name means; `None` = it is not ours.
///
/// Without `__` only top-level keys are: Kubernetes sets `CARTEIRO_PORT` and the like for a service of our name.
pub(super) fn key_of_variable(name: &str, known: &Known) -> Option<String> {
    let rest = name.strip_prefix(PREFIX)?;
    let key = rest.to_lowercase().replace("__", ".");
    (rest.contains("__") || known.has(&key)).then_some(key)
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}
