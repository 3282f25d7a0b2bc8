//! Text that must not be read over anyone's shoulder.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What is shown in place of a secret.
pub const MASK: &str = "***";

/// A secret text. `Debug`, `Display` and `Serialize` give [`MASK`]; only [`Secret::reveal`] gives the text.
///
/// It is never empty. It does not wipe its memory: who reads that, reads the configuration file too.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// An empty secret: a variable that was set to nothing, which must not pass for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret must not be empty")]
pub struct EmptySecret;

impl Secret {
    /// Keeps `text`, unless it is empty.
    pub fn new(text: impl Into<String>) -> Result<Self, EmptySecret> {
        let text = text.into();
        if text.is_empty() { Err(EmptySecret) } else { Ok(Self(text)) }
    }

    /// The text itself. For comparing and sending, never for logging.
    pub fn reveal(&self) -> &str {
        &self.0
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

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Secret::new(String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_itself_only_when_asked() {
        let secret = Secret::new("hunter2").unwrap();
        assert_eq!(format!("{secret:?} {secret} {}", serde_json::to_string(&secret).unwrap()), "*** *** \"***\"");
        assert_eq!(secret.reveal(), "hunter2");
    }

    #[test]
    fn an_empty_secret_is_refused() {
        assert_eq!(Secret::new(""), Err(EmptySecret));
        assert!(serde_json::from_str::<Secret>("\"\"").is_err());
    }
}
