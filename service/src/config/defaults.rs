//! Checks of a `default.toml` for tests: its keys, the keys without a default, and the keys without an explanation.

use figment::value::{Dict, Value};
use schemars::JsonSchema;

use super::{error::ConfigError, keys::Keys, loader::values_of};

/// The dotted keys of a TOML text, sorted. A list is one key; so is an empty table.
pub fn keys_of(toml: &str) -> Result<Vec<String>, ConfigError> {
    let values = values_of(toml).map_err(|(line, why)| ConfigError::new(format!("toml:{line}"), why))?;
    let mut keys = Vec::new();
    collect("", &values, &mut keys);
    keys.sort();
    Ok(keys)
}

pub fn optional_keys<C: JsonSchema>(toml: &str) -> Result<Vec<String>, ConfigError> {
    let defaults = keys_of(toml)?;
    let keys = Keys::of::<C>();
    Ok(keys.all().filter(|key| !defaults.iter().any(|known| known == key)).map(str::to_owned).collect())
}

fn collect(prefix: &str, values: &Dict, keys: &mut Vec<String>) {
    for (name, value) in values {
        let key = format!("{prefix}{name}");
        match value {
            Value::Dict(_, below) if !below.is_empty() => collect(&format!("{key}."), below, keys),
            _ => keys.push(key),
        }
    }
}

/// The keys of a TOML text that have no comment on the line above. Each key must be on a line of its own.
pub fn uncommented(toml: &str) -> Vec<String> {
    let (mut section, mut explained, mut keys) = (String::new(), false, Vec::new());
    for line in toml.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = format!("{header}.");
        } else if let Some(name) = key_in(line).filter(|_| !explained) {
            keys.push(format!("{section}{name}"));
        }
        explained = line.starts_with('#');
    }
    keys
}

fn key_in(line: &str) -> Option<&str> {
    let name = line.split_once('=')?.0.trim();
    let bare = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    (!name.is_empty() && name.chars().all(bare)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = r#"
# Where files go.
data_dir = "./data"

[deliverer]
# How many at once.
slots = 64
proxy = ""

# Pauses between attempts.
schedule = [
    "5s",
]
[deliverer.limits]
body_bytes = 1
"#;

    #[test]
    fn keys_are_dotted_and_sorted() {
        let expected =
            ["data_dir", "deliverer.limits.body_bytes", "deliverer.proxy", "deliverer.schedule", "deliverer.slots"];
        assert_eq!(keys_of(TOML).unwrap(), expected);
    }

    #[test]
    fn keys_without_a_comment_above_are_found() {
        assert_eq!(uncommented(TOML), ["deliverer.proxy", "deliverer.limits.body_bytes"]);
    }
}
