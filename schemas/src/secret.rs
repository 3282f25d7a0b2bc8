//! Texts that must not be seen.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};

/// What is shown instead of a secret.
pub const MASK: &str = "***";

/// The longest word of any closed list, and a few slips of the pen.
const LONGEST_WORD: usize = 20;

/// What may be repeated in a message about a value that is none of those expected: a word, not what is longer. That may
/// be a secret in a wrong place, and messages are shown to many.
pub fn repeatable(text: &str) -> Option<&str> {
    (text.len() <= LONGEST_WORD).then_some(text)
}

/// A secret text: shown and serialized masked, so that it enters no log, error or answer by accident.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Secret(String);

impl Secret {
    /// The text itself; for the place that needs it, and no other.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

impl JsonSchema for Secret {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "writeOnly": true})
    }
}
