//! The keys that can be configured: read from the JSON Schema of the configuration's struct.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use figment::{
    providers::{Format, Toml},
    value::{Dict, Value},
};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value as Json;

use super::error::ConfigError;
use crate::suggest;

pub(super) struct Keys {
    kinds: BTreeMap<String, ValueKind>,
    secrets: BTreeSet<String>,
}

impl Keys {
    pub(super) fn of<C: JsonSchema>() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
        let schema = settings.into_generator().into_root_schema_for::<C>();
        let mut keys = Self { kinds: BTreeMap::new(), secrets: BTreeSet::new() };
        keys.collect("", schema.as_value());
        keys
    }

    /// Properties that have properties themselves are sections; all others are keys.
    fn collect(&mut self, prefix: &str, schema: &Json) {
        for (name, property) in properties(schema).into_iter().flatten() {
            let key = join(prefix, name);
            let below = std::iter::once(property).chain(alternatives(property));
            match below.into_iter().find(|schema| properties(schema).is_some()) {
                Some(section) => self.collect(&key, section),
                None => {
                    if is_secret(property) {
                        self.secrets.insert(key.clone());
                    }
                    self.kinds.insert(key, ValueKind::of(property));
                }
            }
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.kinds.contains_key(key)
    }

    pub(super) fn is_secret(&self, key: &str) -> bool {
        self.secrets.contains(key)
    }

    /// The kind of value that `key` holds. A name below a map holds text.
    pub(super) fn kind(&self, key: &str) -> Option<ValueKind> {
        let is_in_map = || parents(key).any(|parent| self.kinds.get(parent) == Some(&ValueKind::Map));
        self.kinds.get(key).copied().or_else(|| is_in_map().then_some(ValueKind::Text))
    }

    /// Returns an error for each key in `values` that does not exist, and removes it.
    pub(super) fn take_unknown(&self, values: &mut Dict) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        self.take_unknown_below("", values, &mut errors);
        errors
    }

    fn take_unknown_below(&self, prefix: &str, values: &mut Dict, errors: &mut Vec<ConfigError>) {
        values.retain(|name, value| {
            let key = join(prefix, name);
            match value {
                _ if self.has(&key) => return true,
                Value::Dict(_, below) if self.is_section(&key) => {
                    self.take_unknown_below(&key, below, errors);
                    return true;
                }
                _ if self.is_section(&key) => errors.push(ConfigError::new(key, "is a section, not a value")),
                _ => errors.push(self.unknown(&key)),
            }
            false
        });
    }

    /// The variable of the key that `variable` probably means: the names are alike but for the number of underscores, or
    /// nearly alike. `variable` is without the prefix, and is no key's.
    pub(super) fn meant_by(&self, variable: &str) -> Option<String> {
        let flat = |key: &str| key.replace('.', "_");
        let given = variable.to_lowercase().replace("__", "_");
        let names: Vec<_> = self.all().map(flat).collect();
        let near = suggest::nearest(&given, names.iter().map(String::as_str))?;
        let key = self.all().find(|key| flat(key) == near)?;
        Some(key.to_uppercase().replace('.', "__"))
    }

    pub(super) fn unknown(&self, key: &str) -> ConfigError {
        match self.nearest(key) {
            Some(near) => ConfigError::new(key, format_args!("unknown key, did you mean {near}?")),
            None => ConfigError::new(key, "unknown key"),
        }
    }

    /// The known key or section at the smallest edit distance, or the key of the same name in another section.
    fn nearest(&self, key: &str) -> Option<&str> {
        let sections: BTreeSet<&str> = self.all().flat_map(parents).collect();
        let candidates = self.all().chain(sections);
        let same_name = || self.all().find(|known| last(known) == last(key));
        suggest::nearest(key, candidates).or_else(same_name)
    }

    fn is_section(&self, key: &str) -> bool {
        self.all().any(|known| parents(known).any(|parent| parent == key))
    }
}

fn properties(schema: &Json) -> Option<&serde_json::Map<String, Json>> {
    schema.get("properties")?.as_object()
}

/// The alternatives of a schema: `Option<T>` is one of `T` and null.
fn alternatives(schema: &Json) -> impl Iterator<Item = &Json> {
    ["anyOf", "oneOf"].into_iter().filter_map(|name| schema.get(name)?.as_array()).flatten()
}

/// True when a schema, or that of its items or alternatives, is `writeOnly`.
fn is_secret(schema: &Json) -> bool {
    let is_write_only = schema.get("writeOnly").and_then(Json::as_bool) == Some(true);
    is_write_only || schema.get("items").is_some_and(is_secret) || alternatives(schema).any(is_secret)
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

/// Kind of a key's value, for parsing text from the environment and the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueKind {
    /// Text that is never converted: `12345` stays text.
    Text,
    Integer,
    Number,
    Bool,
    /// A list of texts: `["a","b"]` or `a,b`.
    Texts,
    /// A list of numbers: `[1,2]` or `1,2`.
    Numbers,
    /// Free names below this key, each with a text as its value.
    Map,
}

impl ValueKind {
    fn of(schema: &Json) -> Self {
        let types = match schema.get("type") {
            Some(Json::String(one)) => vec![one.as_str()],
            Some(Json::Array(several)) => several.iter().filter_map(Json::as_str).collect(),
            _ => return alternatives(schema).next().map_or(Self::Text, Self::of),
        };
        match types.into_iter().find(|name| *name != "null") {
            Some("integer") => Self::Integer,
            Some("number") => Self::Number,
            Some("boolean") => Self::Bool,
            Some("object") => Self::Map,
            Some("array") => match schema.get("items").map(Self::of) {
                Some(Self::Integer | Self::Number) => Self::Numbers,
                _ => Self::Texts,
            },
            _ => Self::Text,
        }
    }

    /// Parses `text` as a value of this kind. The error names the expected form.
    pub(super) fn parse(self, text: &str) -> Result<Value, String> {
        match self {
            Self::Text => Ok(text.into()),
            Self::Integer => scalar::<i64>(text, "a whole number").map(Into::into),
            Self::Number => scalar::<f64>(text, "a number").map(Into::into),
            Self::Bool => scalar::<bool>(text, "true or false").map(Into::into),
            Self::Texts => list(text).map(Into::into),
            Self::Numbers => {
                let items = list(text)?;
                items.iter().map(|item| integer_or_number(item)).collect::<Result<Vec<_>, _>>().map(Into::into)
            }
            Self::Map => Err("expected names below this key, each with a text".to_owned()),
        }
    }
}

fn scalar<T: FromStr>(text: &str, expected: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("expected {expected}, found `{text}`"))
}

/// Whole numbers stay whole: a list of numbers may be one of ports.
fn integer_or_number(text: &str) -> Result<Value, String> {
    scalar::<i64>(text, "").map(Into::into).or_else(|_| scalar::<f64>(text, "a number").map(Into::into))
}

/// Parses `["a","b"]` or `a,b`. Numbers in brackets become texts again.
fn list(text: &str) -> Result<Vec<String>, String> {
    let text = text.trim();
    if !text.starts_with('[') {
        return Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect());
    }
    let bad = || r#"expected a list, as ["a","b"] or a,b"#.to_owned();
    let parsed: Dict = Toml::from_str(&format!("list = {text}")).map_err(|_| bad())?;
    let items = parsed.get("list").and_then(Value::as_array).ok_or_else(bad)?;
    items.iter().map(|item| as_text(item).ok_or_else(bad)).collect()
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text.clone()),
        Value::Bool(_, truth) => Some(truth.to_string()),
        Value::Num(_, number) => {
            let whole = number.to_i128().map(|whole| whole.to_string());
            whole.or_else(|| number.to_f64().map(|fraction| fraction.to_string()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is read")]
    struct Example {
        whole: Option<u16>,
        share: f64,
        on: bool,
        mode: Mode,
        token: Option<schemas::Secret>,
        old_tokens: Vec<schemas::Secret>,
        ports: Vec<u16>,
        labels: BTreeMap<String, String>,
        below: Option<Below>,
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is read")]
    struct Below {
        file: Option<std::path::PathBuf>,
    }

    /// Variants with comments of their own have schemas of their own.
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is read")]
    enum Mode {
        /// The first.
        First,
        /// The second.
        Second,
    }

    #[test]
    fn keys_their_kinds_and_secrets_are_those_of_the_schema() {
        let keys = Keys::of::<Example>();
        let kinds: Vec<_> = keys.kinds.iter().map(|(key, kind)| (key.as_str(), *kind)).collect();
        let expected = [
            ("below.file", ValueKind::Text),
            ("labels", ValueKind::Map),
            ("mode", ValueKind::Text),
            ("old_tokens", ValueKind::Texts),
            ("on", ValueKind::Bool),
            ("ports", ValueKind::Numbers),
            ("share", ValueKind::Number),
            ("token", ValueKind::Text),
            ("whole", ValueKind::Integer),
        ];
        assert_eq!(kinds, expected);
        assert_eq!(keys.secrets.iter().collect::<Vec<_>>(), ["old_tokens", "token"]);
    }

    #[test]
    fn text_stays_text_whatever_it_looks_like() {
        for text in ["12345", "true", "[1]", "", " padded "] {
            assert_eq!(ValueKind::Text.parse(text).unwrap().as_str(), Some(text));
        }
    }

    #[test]
    fn lists_are_written_in_brackets_or_with_commas() {
        let expected: Value = vec!["10.0.0.0/8", "5"].into();
        assert_eq!(ValueKind::Texts.parse(r#"["10.0.0.0/8", 5]"#).unwrap(), expected);
        assert_eq!(ValueKind::Texts.parse("10.0.0.0/8, 5,").unwrap(), expected);
        assert_eq!(ValueKind::Texts.parse("").unwrap(), Vec::<String>::new().into());
        assert_eq!(ValueKind::Numbers.parse("0.5,1").unwrap(), vec![Value::from(0.5), Value::from(1_i64)].into());
    }

    #[test]
    fn text_of_another_kind_is_refused_with_what_was_expected() {
        assert_eq!(ValueKind::Integer.parse("ten").unwrap_err(), "expected a whole number, found `ten`");
        assert_eq!(ValueKind::Bool.parse("yes").unwrap_err(), "expected true or false, found `yes`");
        assert_eq!(ValueKind::Texts.parse("[a").unwrap_err(), r#"expected a list, as ["a","b"] or a,b"#);
    }
}
