//! Why a value could not be read as what it should be. Repeats keys and words, never values: one may be a secret.

use std::fmt;

use serde::de::{self, Expected, Unexpected};
use service::suggest::suggestion;

use super::document::Position;
use crate::problem::{FieldPath, PathSegment};

/// What is wrong with a value, and where it stands.
#[derive(Debug)]
pub(crate) struct DecodeError {
    /// Told by the innermost reading that knows it.
    pub(super) place: Option<Position>,
    /// From the inside out, while it is on its way up.
    steps: Vec<PathSegment>,
    /// The key that is not there, where that is what is wrong.
    pub(crate) lacks: Option<&'static str>,
    /// What is wrong.
    pub(crate) message: String,
}

impl DecodeError {
    /// At a place yet to be told.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { place: None, steps: Vec::new(), lacks: None, message: message.into() }
    }

    /// At this place, unless it was told from further inside.
    pub(super) fn at(mut self, place: Position) -> Self {
        self.place.get_or_insert(place);
        self
    }

    /// Within this.
    pub(crate) fn under(mut self, step: PathSegment) -> Self {
        self.steps.push(step);
        self
    }

    /// From the outside in.
    pub(crate) fn path(&self) -> FieldPath {
        FieldPath(self.steps.iter().rev().cloned().collect())
    }

    /// A key that nothing knows.
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
        Self::new(format!("expected {}, found {}", wanted(expected), kind(&found)))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {}", wanted(expected)))
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        let word = schemas::quotable(variant).map_or(String::new(), |word| format!(" `{}`", word.escape_debug()));
        Self::new(format!("unknown word{word}, {}", suggestion(variant, known)))
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self::unknown_key(field, known)
    }

    fn missing_field(field: &'static str) -> Self {
        Self { lacks: Some(field), ..Self::new(format!("{field} is missing")) }
    }
}

/// serde's names of Rust's types, as YAML's.
fn wanted(expected: &dyn Expected) -> String {
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

fn kind(found: &Unexpected<'_>) -> &'static str {
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
