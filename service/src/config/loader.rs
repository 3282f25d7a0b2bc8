//! Merges the sources of values, in the order in which they are given.

use std::{collections::BTreeSet, marker::PhantomData, path::Path};

use figment::{
    Figment, Metadata, Profile, Provider,
    providers::{Format, Toml},
    util,
    value::{Dict, Empty, Map, Tag, Value},
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::{
    deprecated::{Deprecation, OldKey},
    error::{ConfigError, ConfigErrors},
    keys::Keys,
    loaded::LoadedConfig,
};

const DEFAULT: &str = "default";
const COMMAND_LINE: &str = "the command line";
/// Prefix of all environment variables of the configuration.
const PREFIX: &str = "CARTEIRO_";

/// Collects the values of a configuration `C`; later calls win. Call it in the order file, environment, flags. What is
/// wrong is collected as well: [`load`](Self::load) fails with all of it.
pub struct Loader<C> {
    figment: Figment,
    /// The values of `default.toml`.
    defaults: Value,
    keys: Keys,
    optional: BTreeSet<String>,
    old_keys: Vec<OldKey>,
    deprecations: Vec<Deprecation>,
    errors: Vec<ConfigError>,
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
            defaults: values,
            figment: Figment::from(defaults),
            old_keys: Vec::new(),
            deprecations: Vec::new(),
            errors: Vec::new(),
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

    /// Adds a file, which must exist and be TOML.
    pub fn file(mut self, path: &Path) -> Result<Self, ConfigError> {
        let mut source = Layer::file(path)?;
        for old in &self.old_keys {
            if old.take_from(&mut source.values) {
                self.deprecations.push(old.used_in(&source.origin));
            }
        }
        let unknown = self.keys.take_unknown(&mut source.values).into_iter();
        self.errors.extend(unknown.map(|error| error.in_source(&source.origin)));
        Ok(self.merge(source))
    }

    /// Adds a file if it exists.
    pub fn file_if_present(self, path: &Path) -> Result<Self, ConfigError> {
        if path.exists() { self.file(path) } else { Ok(self) }
    }

    /// Adds the variables `CARTEIRO_<SECTION>__<KEY>`. Others are ignored, unless they nearly are a key's: those are
    /// refused.
    ///
    /// An empty variable of a key without a default counts as not set: compose files write `${KEY:-}`.
    #[must_use]
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let (mut set, mut others) = (Vec::new(), Vec::new());
        for (name, text) in variables {
            match self.key_of(&name) {
                Some(key) => set.push((key, name, text)),
                None => others.push(name),
            }
        }
        let misspelled: Vec<_> = others.iter().filter_map(|name| self.misspelled(name)).collect();
        self.errors.extend(misspelled);
        let is_set = |key: &str| set.iter().any(|(set, ..)| set == key);
        for (key, name, text) in &set {
            let mut key = key.as_str();
            if let Some(old) = self.old_keys.iter().find(|old| old.key == key) {
                self.deprecations.push(old.used_in(name));
                match old.successor {
                    Some(successor) if !is_set(successor) => key = successor,
                    _ => continue,
                }
            }
            if !text.is_empty() || !self.optional.contains(key) {
                self = self.text(name, key, text);
            }
        }
        self
    }

    /// Adds flags of the command line: dotted keys with their texts.
    #[must_use]
    pub fn flags<'a>(self, flags: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        flags.into_iter().fold(self, |loader, (key, text)| loader.text(COMMAND_LINE, key, text))
    }

    fn text(mut self, origin: &str, key: &str, text: &str) -> Self {
        match Layer::text(origin, key, text, &self.keys) {
            Ok(source) => return self.merge(source),
            Err(error) => self.errors.push(error),
        }
        self
    }

    /// The dotted key that a variable sets, or none. Without `__`, only top-level keys are accepted, because Kubernetes
    /// sets variables such as `CARTEIRO_PORT` for a service of that name.
    fn key_of(&self, variable: &str) -> Option<String> {
        let rest = variable.strip_prefix(PREFIX)?;
        let key = rest.to_lowercase().replace("__", ".");
        (rest.contains("__") || self.keys.has(&key)).then_some(key)
    }

    /// An error for a variable that sets no key and was probably meant to. Variables as Kubernetes sets them for a
    /// service are not: `CARTEIRO_HTTP_PORT`, `CARTEIRO_OPS_SERVICE_HOST`.
    fn misspelled(&self, variable: &str) -> Option<ConfigError> {
        let rest = variable.strip_prefix(PREFIX)?;
        if rest.ends_with("_PORT") || rest.contains("_PORT_") || rest.contains("_SERVICE_") {
            return None;
        }
        let meant = self.keys.meant_by(rest)?;
        Some(ConfigError::new(variable, format_args!("sets nothing, did you mean {PREFIX}{meant}?")))
    }

    fn merge(self, source: Layer) -> Self {
        Self { figment: self.figment.merge(source), ..self }
    }
}

impl<C: DeserializeOwned> Loader<C> {
    /// The merged configuration, checked by `check` as well, or all that is wrong with it: each unknown key, each value
    /// that does not fit its key's type, and what `check` finds in the others.
    pub fn load(
        self,
        check: impl FnOnce(&LoadedConfig<C>) -> Vec<ConfigError>,
    ) -> Result<LoadedConfig<C>, ConfigErrors> {
        let Self { figment, defaults, keys, deprecations, mut errors, .. } = self;
        let Some((figment, config)) = extract(figment, &defaults, &keys, &mut errors) else {
            return Err(ConfigErrors::from(errors));
        };
        let loaded = LoadedConfig::new(config, figment, keys, deprecations);
        errors.extend(check(&loaded));
        if errors.is_empty() { Ok(loaded) } else { Err(ConfigErrors::from(errors)) }
    }
}

/// Extracts the configuration. Each value that does not fit its key is an error, and its default takes its place, so
/// that all such values are found. `None` when that does not help.
fn extract<C: DeserializeOwned>(
    mut figment: Figment,
    defaults: &Value,
    keys: &Keys,
    errors: &mut Vec<ConfigError>,
) -> Option<(Figment, C)> {
    let mut replaced = BTreeSet::new();
    loop {
        let error = match figment.extract() {
            Ok(config) => return Some((figment, config)),
            Err(error) => error,
        };
        let path = error.path.join(".");
        if !replaced.insert(path.clone()) {
            return None;
        }
        let default = defaults.find_ref(&path).cloned().unwrap_or(Value::Empty(Tag::Default, Empty::None));
        figment = figment.merge((path, default));
        errors.push(ConfigError::from_figment(error, |key| keys.is_secret(key)));
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
