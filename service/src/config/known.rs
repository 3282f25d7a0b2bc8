//! The keys that exist, and what was probably meant by one that does not.

use std::collections::{BTreeMap, BTreeSet};

use figment::value::{Dict, Value};

use super::error::ConfigError;
use super::shape::Shape;
use crate::suggest;

/// All dotted keys with their shapes.
pub(super) struct Known(BTreeMap<String, Shape>);

impl Known {
    /// The keys of the defaults, and the optional ones that have none.
    pub(super) fn new(defaults: &Dict, optional: &[(&str, Shape)]) -> Self {
        let mut known = BTreeMap::new();
        collect(defaults, "", &mut known);
        known.extend(optional.iter().map(|(key, shape)| ((*key).to_owned(), *shape)));
        Self(known)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// What `key` holds; a name below a map holds text.
    pub(super) fn shape(&self, key: &str) -> Option<Shape> {
        let below_a_map = || parents(key).any(|parent| self.0.get(parent) == Some(&Shape::Map)).then_some(Shape::Text);
        self.0.get(key).copied().or_else(below_a_map)
    }

    /// Fails for the first key of `values` that does not exist.
    pub(super) fn check(&self, values: &Dict) -> Result<(), ConfigError> {
        self.check_below("", values)
    }

    fn check_below(&self, prefix: &str, values: &Dict) -> Result<(), ConfigError> {
        for (name, value) in values {
            let key = join(prefix, name);
            match value {
                _ if self.has(&key) => {}
                Value::Dict(_, below) if self.is_section(&key) => self.check_below(&key, below)?,
                _ if self.is_section(&key) => return Err(ConfigError::new(key, "is a section, not a value")),
                _ => return Err(self.unknown(&key)),
            }
        }
        Ok(())
    }

    /// The refusal of `key`, with the nearest known one.
    pub(super) fn unknown(&self, key: &str) -> ConfigError {
        match self.nearest(key) {
            Some(near) => ConfigError::new(key, format_args!("unknown key, did you mean {near}?")),
            None => ConfigError::new(key, "unknown key"),
        }
    }

    /// The key or section with the fewest edits between; else the key of the same name in another section.
    fn nearest(&self, key: &str) -> Option<&str> {
        let sections: BTreeSet<&str> = self.0.keys().flat_map(|known| parents(known)).collect();
        let all = self.0.keys().map(String::as_str).chain(sections);
        let same_name = || self.0.keys().map(String::as_str).find(|known| last(known) == last(key));
        suggest::nearest(key, all).or_else(same_name)
    }

    fn is_section(&self, key: &str) -> bool {
        self.0.keys().any(|known| parents(known).any(|parent| parent == key))
    }
}

fn collect(values: &Dict, prefix: &str, known: &mut BTreeMap<String, Shape>) {
    for (name, value) in values {
        let key = join(prefix, name);
        match value {
            Value::Dict(_, below) if !below.is_empty() => collect(below, &key, known),
            _ => _ = known.insert(key, Shape::of(value)),
        }
    }
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

/// `a` and `a.b` for `a.b.c`.
fn parents(key: &str) -> impl Iterator<Item = &str> {
    key.match_indices('.').map(|(dot, _)| &key[..dot])
}

fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}
