//! The error of a configuration, in one line.

use std::fmt;

use figment::error::{Actual, Kind};

/// All keys of a configuration that cannot be used, at least one. The process exits with 78.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(Vec<ConfigError>);

impl From<Vec<ConfigError>> for ConfigErrors {
    fn from(errors: Vec<ConfigError>) -> Self {
        Self(errors)
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for ConfigErrors {
    /// Writes one line for each error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// A key that cannot be used, why, and where it was set. The process exits with 78.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    key: String,
    reason: String,
    origin: Option<String>,
}

impl ConfigError {
    /// `key` is dotted. `reason` must not quote a secret.
    pub fn new(key: impl Into<String>, reason: impl fmt::Display) -> Self {
        let reason = reason.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        Self { key: key.into(), reason, origin: None }
    }

    #[must_use]
    pub fn in_source(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    /// Converts an error of figment, without the values of secret keys.
    pub(super) fn from_figment(error: figment::Error, is_secret: impl Fn(&str) -> bool) -> Self {
        let mut path = error.path.clone();
        if let Kind::MissingField(name) = &error.kind {
            path.push(name.to_string());
        }
        let key = path.join(".");
        let reason = describe(&error.kind, is_secret(&key));
        let origin = error.metadata.map(|metadata| metadata.name.into_owned());
        Self { origin, ..Self::new(key, reason) }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.reason)?;
        self.origin.as_ref().map_or(Ok(()), |origin| write!(f, " (in {origin})"))
    }
}

fn describe(kind: &Kind, secret: bool) -> String {
    match kind {
        Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
            format!("expected {}, found {}", expected_in_words(expected), found_in_words(found, secret))
        }
        Kind::UnknownVariant(found, expected) => format!("expected one of {}, found `{found}`", expected.join(", ")),
        Kind::MissingField(_) => "is required".to_owned(),
        Kind::UnknownField(name, _) => format!("unknown key `{name}`"),
        Kind::Message(message) => message.clone(),
        other => other.to_string(),
    }
}

/// Translates the name that serde gives to a type.
fn expected_in_words(expected: &str) -> String {
    match expected {
        "a string" | "string" | "a borrowed string" => "text".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" => "a whole number from 0 to 4294967295".to_owned(),
        "u64" | "usize" => "a whole number from 0 on".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        other => other.to_owned(),
    }
}

/// Describes the value that was found. Numbers are shown. Texts are not, because they may be URLs that hold passwords.
fn found_in_words(found: &Actual, secret: bool) -> String {
    match found {
        Actual::Str(_) | Actual::Char(_) => "text".to_owned(),
        Actual::Seq => "a list".to_owned(),
        Actual::Map => "a section".to_owned(),
        _ if secret => "something else".to_owned(),
        Actual::Bool(value) => value.to_string(),
        Actual::Unsigned(value) => value.to_string(),
        Actual::Signed(value) => value.to_string(),
        Actual::Float(value) => value.to_string(),
        _ => "something else".to_owned(),
    }
}
