//! The configuration in force, and showing it: TOML, secrets masked, each value with where it came from.

use std::fmt;

use figment::Figment;
use schemas::MASK;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{error::ConfigError, mask::mask_url};

/// A configuration that was loaded. It remembers where each value came from.
pub struct Loaded<C> {
    /// What is in force.
    pub config: C,
    figment: Figment,
    secrets: &'static [&'static str],
}

impl<C> Loaded<C> {
    pub(super) fn new(config: C, figment: Figment, secrets: &'static [&'static str]) -> Self {
        Self { config, figment, secrets }
    }

    /// Where the value of the dotted `key` came from: `default`, a file's path, a variable's name, the command line.
    pub fn origin(&self, key: &str) -> Option<&str> {
        self.figment.find_metadata(key).map(|metadata| metadata.name.as_ref())
    }

    /// A complaint about the value of `key` that no type could make, with where it came from.
    pub fn complain(&self, key: &str, reason: impl fmt::Display) -> ConfigError {
        let error = ConfigError::new(key, reason);
        match self.origin(key) {
            Some(origin) => error.in_source(origin),
            None => error,
        }
    }
}

impl<C: Serialize> Loaded<C> {
    /// What is in force, as TOML. Keys that are not set are left out.
    ///
    /// Fails when the struct cannot be written, which is a mistake in the struct.
    pub fn show(&self) -> Result<String, ConfigError> {
        let config = serde_json::to_value(&self.config).map_err(|why| ConfigError::new("config", why))?;
        let mut text = String::new();
        if let Value::Object(values) = &config {
            self.section("", values, &mut text);
        }
        Ok(text)
    }

    /// Values first, then the sections below: in TOML whatever follows a header belongs to it.
    fn section(&self, path: &str, values: &Map<String, Value>, text: &mut String) {
        let key = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let (below, here): (Vec<_>, Vec<_>) =
            values.iter().filter(|(_, value)| !value.is_null()).partition(|(_, value)| value.is_object());
        if !path.is_empty() && (!here.is_empty() || below.is_empty()) {
            text.push_str(&format!("\n[{path}]\n"));
        }
        for (name, value) in here {
            let origin = self.origin(&key(name)).unwrap_or("default");
            text.push_str(&format!("{name} = {}  # {origin}\n", self.value(&key(name), value)));
        }
        for (name, value) in below {
            if let Value::Object(values) = value {
                self.section(&key(name), values, text);
            }
        }
    }

    fn value(&self, key: &str, value: &Value) -> String {
        if self.secrets.contains(&key) { quoted(MASK) } else { inline(value) }
    }
}

/// A value on one line.
fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(&mask_url(text)),
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let entries: Vec<_> = entries.iter().map(|(name, item)| format!("{name} = {}", inline(item))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

/// A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
fn quoted(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}
