//! Secret texts, and the limit of what error messages may quote.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub const MASK: &str = "***";

/// Longest text that may be quoted, in bytes: the longest word of any closed list, with room for typing errors.
const LONGEST_WORD: usize = 20;

/// The text, if an error message may quote it as an unexpected word. A longer text may be a misplaced secret, and error
/// messages are widely visible.
pub fn quotable(text: &str) -> Option<&str> {
    (text.len() <= LONGEST_WORD).then_some(text)
}

/// A secret text. `Debug`, `Display` and `Serialize` give [`MASK`], so that it never enters a log, an error or an
/// answer by accident; only [`Secret::reveal`] gives the text. Its memory is not wiped: an attacker who can read it can
/// also read the configuration.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Secret(String);

/// The error for an empty secret, such as an empty variable, which must not be accepted as a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret must not be empty")]
pub struct EmptySecret;

impl Secret {
    pub fn not_empty(text: impl Into<String>) -> Result<Self, EmptySecret> {
        let text = text.into();
        if text.is_empty() { Err(EmptySecret) } else { Ok(Self(text)) }
    }

    /// Deserializes a non-empty secret, for `#[serde(deserialize_with)]` on a configuration key.
    pub fn deserialize_not_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(Self::not_empty).transpose().map_err(de::Error::custom)
    }

    /// The text itself. Only the code that sends or compares it may use it.
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

impl fmt::Display for Secret {
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

    /// A text. In a request it is not empty, and is marked as what no answer shows.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        if generator.contract().is_deserialize() {
            json_schema!({"type": "string", "minLength": 1, "writeOnly": true})
        } else {
            json_schema!({"type": "string"})
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_by_nothing_but_reveal() {
        let secret = Secret::not_empty("hunter2").unwrap();
        let shown = format!("{secret} {secret:?} {}", serde_json::to_string(&secret).unwrap());
        assert_eq!((shown.as_str(), secret.reveal()), (r#"*** *** "***""#, "hunter2"));
    }

    #[test]
    fn an_empty_secret_is_refused_where_it_must_not_be_empty() {
        assert_eq!(Secret::not_empty(""), Err(EmptySecret));
        assert!(Secret::deserialize_not_empty(serde_json::json!("")).is_err());
        assert_eq!(Secret::deserialize_not_empty(serde_json::json!(null)).unwrap(), None);
    }
}
