//! Errors of values that could not be decoded as their type. A message repeats keys and words, never values, because
//! one may be a secret.

use std::fmt;

use serde::de::{self, Expected, Unexpected};
use service::suggest::suggestion;

use crate::invalid_field::{FieldPath, PathSegment};

/// Line and column in a file, from 1; 0 where they are not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

#[derive(Debug)]
pub(crate) struct DecodeError {
    /// Set by the innermost deserializer that knows the position.
    pub(crate) position: Option<Position>,
    /// Segments from the inside out: each deserializer adds its own on the way up.
    segments: Vec<PathSegment>,
    /// The missing key, if the error is about one.
    pub(crate) missing: Option<&'static str>,
    pub(crate) message: String,
}

impl DecodeError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { position: None, segments: Vec::new(), missing: None, message: message.into() }
    }

    /// Sets the position, unless a deserializer further inside has set one.
    pub(crate) fn at(mut self, position: Position) -> Self {
        self.position.get_or_insert(position);
        self
    }

    /// Adds the segment of the next outer level to the path.
    pub(crate) fn under(mut self, segment: PathSegment) -> Self {
        self.segments.push(segment);
        self
    }

    pub(crate) fn path(&self) -> FieldPath {
        FieldPath(self.segments.iter().rev().cloned().collect())
    }

    pub(crate) fn unknown_key(key: &str, known: &[&str]) -> Self {
        Self::new(format!("unknown key, {}", suggestion(key, known)))
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {}, found {}", yaml_type(expected), yaml_kind(&found)))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {}", yaml_type(expected)))
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        let word = schemas::quotable(variant).map_or(String::new(), |word| format!(" `{}`", word.escape_debug()));
        Self::new(format!("unknown word{word}, {}", suggestion(variant, known)))
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self::unknown_key(field, known)
    }

    fn missing_field(field: &'static str) -> Self {
        Self { missing: Some(field), ..Self::new(format!("{field} is missing")) }
    }
}

/// Says what serde expected in the words of YAML instead of Rust.
fn yaml_type(expected: &dyn Expected) -> String {
    match expected.to_string().as_str() {
        "a string" => "a text".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "u32" | "u64" => "a whole number, 0 or more".to_owned(),
        "f64" => "a number".to_owned(),
        "a map" => "keys and values".to_owned(),
        other if other.starts_with("struct ") => "keys and values".to_owned(),
        other => other.to_owned(),
    }
}

fn yaml_kind(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "true or false",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
        Unexpected::Float(_) => "a number",
        Unexpected::Str(_) | Unexpected::Char(_) => "a text",
        Unexpected::Unit | Unexpected::Option => "nothing",
        Unexpected::Seq => "a list",
        Unexpected::Map => "keys and values",
        _ => "something else",
    }
}
