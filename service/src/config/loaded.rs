//! The loaded configuration, and its display as TOML: secrets masked, each value with its origin.

use std::fmt;

use figment::Figment;
use schemas::MASK;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{deprecated::Deprecation, error::ConfigError, keys::Keys};

pub struct LoadedConfig<C> {
    pub config: C,
    pub deprecations: Vec<Deprecation>,
    figment: Figment,
    keys: Keys,
}

impl<C> LoadedConfig<C> {
    pub(super) fn new(config: C, figment: Figment, keys: Keys, deprecations: Vec<Deprecation>) -> Self {
        Self { config, deprecations, figment, keys }
    }

    /// Source of a dotted key's value: `default`, a file's path, a variable's name, or the command line.
    pub fn origin(&self, key: &str) -> Option<&str> {
        self.figment.find_metadata(key).map(|metadata| metadata.name.as_ref())
    }

    /// An error about a value that has the right type but cannot be used. It names the value's origin.
    pub fn error(&self, key: &str, reason: impl fmt::Display) -> ConfigError {
        let error = ConfigError::new(key, reason);
        match self.origin(key) {
            Some(origin) => error.in_source(origin),
            None => error,
        }
    }
}

impl<C: Serialize> LoadedConfig<C> {
    /// Writes all set keys as TOML with their origins and with secrets masked.
    pub fn show(&self) -> Result<String, ConfigError> {
        let config = serde_json::to_value(&self.config).map_err(|why| ConfigError::new("config", why))?;
        let mut text = String::new();
        if let Value::Object(values) = &config {
            self.section("", values, &mut text);
        }
        Ok(text)
    }

    /// Writes the values before the sections: in TOML, everything after a header belongs to that section.
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
        if self.keys.is_secret(key) { quoted(MASK) } else { inline(value) }
    }
}

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

/// Writes a TOML basic string: a JSON string in which DEL is escaped, too.
fn quoted(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

/// `text` with the passwords of its URLs masked: `amqp://user:***@host`. Other texts are returned unchanged.
///
/// Everything before the last `@` of a URL is masked as user and password, because a password may contain an unescaped
/// `/` or `@`.
pub fn mask_url(text: &str) -> String {
    let mut parts = text.split("://");
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for rest in parts {
        masked.push_str("://");
        masked.push_str(&mask_parameters(&mask_password(rest)));
    }
    masked
}

fn mask_password(rest: &str) -> String {
    let Some((login, host)) = rest.rsplit_once('@') else { return rest.to_owned() };
    match login.split_once(':') {
        Some((user, _)) => format!("{user}:{MASK}@{host}"),
        None => format!("{MASK}@{host}"),
    }
}

/// Masks passwords in a URL's query, as URLs of PostgreSQL may have them.
fn mask_parameters(rest: &str) -> String {
    let Some((before, query)) = rest.split_once('?') else { return rest.to_owned() };
    let parameters: Vec<String> = query
        .split('&')
        .map(|parameter| match parameter.split_once('=') {
            Some((name, _)) if name.to_lowercase().contains("password") => format!("{name}={MASK}"),
            _ => parameter.to_owned(),
        })
        .collect();
    format!("{before}?{}", parameters.join("&"))
}

#[cfg(test)]
mod tests {
    use super::mask_url;

    #[test]
    fn passwords_in_urls_are_masked_and_the_rest_stays_readable() {
        for (text, masked) in [
            ("amqp://user:pass@host:5672/vhost", "amqp://user:***@host:5672/vhost"),
            ("amqp://u:p@one,amqp://u:p@two", "amqp://u:***@one,amqp://u:***@two"),
            ("amqp://u:p@one,u:p@two:5672", "amqp://u:***@two:5672"),
            ("amqp://u:a/b@c@host", "amqp://u:***@host"),
            ("https://token@host/", "https://***@host/"),
            (
                "postgres://host/db?user=u&password=p&sslmode=require",
                "postgres://host/db?user=u&password=***&sslmode=require",
            ),
            ("postgres://host:5432/db", "postgres://host:5432/db"),
            ("embedded:", "embedded:"),
            ("someone@example.org", "someone@example.org"),
        ] {
            assert_eq!(mask_url(text), masked);
        }
    }
}
