//! Merges the sources of values, in the order in which they are given.

use std::{collections::BTreeSet, marker::PhantomData, path::Path};

use figment::{
    Figment, Metadata, Profile, Provider,
    providers::{Format, Toml},
    util,
    value::{Dict, Map, Value},
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::{
    deprecated::{Deprecation, OldKey},
    error::ConfigError,
    keys::Keys,
    loaded::LoadedConfig,
};

const DEFAULT: &str = "default";
const COMMAND_LINE: &str = "the command line";
/// Prefix of all environment variables of the configuration.
const PREFIX: &str = "CARTEIRO_";

/// Collects the values of a configuration `C`; later calls win. Call it in the order file, environment, flags.
pub struct Loader<C> {
    figment: Figment,
    keys: Keys,
    optional: BTreeSet<String>,
    old_keys: Vec<OldKey>,
    deprecations: Vec<Deprecation>,
    config: PhantomData<C>,
}

impl<C: JsonSchema> Loader<C> {
    pub fn new(default_toml: &str) -> Result<Self, ConfigError> {
        let defaults = Layer::toml(DEFAULT, default_toml)?;
        let keys = Keys::of::<C>();
        let values = Value::from(defaults.values.clone());
        let optional = keys.all().filter(|key| values.find_ref(key).is_none()).map(str::to_owned).collect();
        Ok(Self {
            keys,
            optional,
            figment: Figment::from(defaults),
            old_keys: Vec::new(),
            deprecations: Vec::new(),
            config: PhantomData,
        })
    }
}

impl<C> Loader<C> {
    /// Accepts the removed key `old` with a warning, and uses its value for `new`.
    #[must_use]
    pub fn renamed(mut self, old: &'static str, new: &'static str) -> Self {
        self.old_keys.push(OldKey { key: old, successor: Some(new) });
        self
    }

    /// Accepts the removed key `old` with a warning, and ignores its value.
    #[must_use]
    pub fn removed(mut self, old: &'static str) -> Self {
        self.old_keys.push(OldKey { key: old, successor: None });
        self
    }

    /// Adds a file, which must exist.
    pub fn file(mut self, path: &Path) -> Result<Self, ConfigError> {
        let mut source = Layer::file(path)?;
        for old in &self.old_keys {
            if old.take_from(&mut source.values) {
                self.deprecations.push(old.used_in(&source.origin));
            }
        }
        self.keys.check(&source.values).map_err(|error| error.in_source(&source.origin))?;
        Ok(self.merge(source))
    }

    /// Adds a file if it exists.
    pub fn file_if_present(self, path: &Path) -> Result<Self, ConfigError> {
        if path.exists() { self.file(path) } else { Ok(self) }
    }

    /// Adds the variables `CARTEIRO_<SECTION>__<KEY>`; others are ignored.
    ///
    /// An empty variable of a key without a default counts as not set: compose files write `${KEY:-}`.
    pub fn environment(self, variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let variables: Vec<_> =
            variables.into_iter().filter_map(|(name, text)| Some((self.key_of(&name)?, name, text))).collect();
        let is_set = |key: &str| variables.iter().any(|(set, ..)| set == key);
        variables.iter().try_fold(self, |mut loader, (key, name, text)| {
            let mut key = key.as_str();
            if let Some(old) = loader.old_keys.iter().find(|old| old.key == key) {
                loader.deprecations.push(old.used_in(name));
                match old.successor {
                    Some(successor) if !is_set(successor) => key = successor,
                    _ => return Ok(loader),
                }
            }
            if text.is_empty() && loader.optional.contains(key) {
                return Ok(loader);
            }
            let source = Layer::text(name, key, text, &loader.keys)?;
            Ok(loader.merge(source))
        })
    }

    /// Adds flags of the command line: dotted keys with their texts.
    pub fn flags<'a>(self, flags: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, ConfigError> {
        flags.into_iter().try_fold(self, |loader, (key, text)| {
            let source = Layer::text(COMMAND_LINE, key, text, &loader.keys)?;
            Ok(loader.merge(source))
        })
    }

    /// The dotted key that a variable sets, or none. Without `__`, only top-level keys are accepted, because Kubernetes
    /// sets variables such as `CARTEIRO_PORT` for a service of that name.
    fn key_of(&self, variable: &str) -> Option<String> {
        let rest = variable.strip_prefix(PREFIX)?;
        let key = rest.to_lowercase().replace("__", ".");
        (rest.contains("__") || self.keys.has(&key)).then_some(key)
    }

    fn merge(self, source: Layer) -> Self {
        Self { figment: self.figment.merge(source), ..self }
    }
}

impl<C: DeserializeOwned> Loader<C> {
    /// The merged configuration, or an error for the first value that does not fit its key's type.
    pub fn load(self) -> Result<LoadedConfig<C>, ConfigError> {
        let Self { figment, keys, deprecations, .. } = self;
        let config = figment.extract().map_err(|error| ConfigError::from_figment(error, |key| keys.is_secret(key)))?;
        Ok(LoadedConfig::new(config, figment, keys, deprecations))
    }
}

/// One layer of values: the defaults, the file, a variable or a flag. figment keeps the origin with each value.
struct Layer {
    origin: String,
    values: Dict,
}

impl Layer {
    fn toml(origin: impl Into<String>, text: &str) -> Result<Self, ConfigError> {
        let origin = origin.into();
        let values = values_of(text).map_err(|(line, why)| ConfigError::new(format!("{origin}:{line}"), why))?;
        Ok(Self { origin, values })
    }

    fn file(path: &Path) -> Result<Self, ConfigError> {
        let origin = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|why| ConfigError::new(&origin, why))?;
        Self::toml(origin, &text)
    }

    fn text(origin: &str, key: &str, text: &str, keys: &Keys) -> Result<Self, ConfigError> {
        let parsed = match keys.kind(key) {
            Some(kind) => kind.parse(text).map_err(|why| ConfigError::new(key, why)),
            None => Err(keys.unknown(key)),
        };
        let value = parsed.map_err(|error| error.in_source(origin))?;
        let values = match util::nest(key, value) {
            Value::Dict(_, values) => values,
            _ => Dict::new(),
        };
        Ok(Self { origin: origin.to_owned(), values })
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// Parses TOML. The error has the number of the unreadable line, and the reason.
pub(super) fn values_of(text: &str) -> Result<Dict, (usize, String)> {
    Toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
        (line, error.message().to_owned())
    })
}
