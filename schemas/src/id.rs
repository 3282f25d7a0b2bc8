//! Identifiers of platforms, kept unchanged, and of events and deliveries.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::value::RawValue;
use uuid::Uuid;

/// An id of a platform: an integer of any size or a string, kept unchanged. Ids are compared by their texts, so that
/// `7` and `"7"` are the same channel.
#[derive(Clone, Debug)]
pub struct Id {
    text: Box<str>,
    is_integer: bool,
}

impl Id {
    pub fn from_text(text: impl Into<Box<str>>) -> Self {
        Self { text: text.into(), is_integer: false }
    }

    /// Reads the JSON text of an integer or of a non-empty string.
    pub(crate) fn from_json(json: &str) -> Option<Self> {
        if json.starts_with('"') {
            let text = serde_json::from_str::<Box<str>>(json).ok()?;
            return (!text.is_empty()).then_some(Self { text, is_integer: false });
        }
        let digits = json.strip_prefix('-').unwrap_or(json);
        let is_integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_integer.then(|| Self { text: json.into(), is_integer })
    }

    /// The text that ids are compared by.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// True when the id is a JSON integer.
    #[cfg(test)]
    pub(crate) fn is_integer(&self) -> bool {
        self.is_integer
    }
}

impl From<i64> for Id {
    fn from(value: i64) -> Self {
        Self { text: value.to_string().into(), is_integer: true }
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Id {}

impl<'de> Deserialize<'de> for Id {
    /// Reads the raw JSON text, because the digits of an integer are kept.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        Self::from_json(raw).ok_or_else(|| D::Error::custom("expected an integer or a string that is not empty"))
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.is_integer {
            return serializer.serialize_str(&self.text);
        }
        match self.text.parse::<i64>() {
            // Zero may be spelt `-0`, which a number forgets.
            Ok(number) if number != 0 => serializer.serialize_i64(number),
            _ => RawValue::from_string(self.text.to_string()).map_err(serde::ser::Error::custom)?.serialize(serializer),
        }
    }
}

impl JsonSchema for Id {
    fn schema_name() -> Cow<'static, str> {
        "Id".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "oneOf": [{"type": "integer"}, {"type": "string", "minLength": 1}],
            "description": "Kept as it is, and compared by its text."
        })
    }
}

/// An event's id: `[A-Za-z0-9-]{1,64}`, a UUIDv7 unless the producer gives one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct EventId(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event id is 1 to 64 letters, digits or hyphens")]
pub struct InvalidEventId;

/// Namespace of carteiro's UUIDv5s.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1d_6f4c_3f0a_5c0e_9a53_0c61_7274_6569);

impl EventId {
    /// A fresh UUIDv7 (RFC 9562) from a time (unix ms) and ten random bytes.
    pub fn fresh(now: u64, chance: [u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(now, &chance).into_uuid().to_string())
    }

    /// The id of a vendor's body that identifies itself: a retry of the vendor has the same bytes and so the same id.
    /// The tenant is part of the id, because two tenants may use the same name for a source.
    pub fn of_body(tenant: &str, source: &str, body: &[u8]) -> Self {
        Self(uuid_of(&[tenant.as_bytes(), source.as_bytes(), body]).to_string())
    }

    /// The id of a unique occurrence, made of its distinguishing parts: a repeated report has the same id.
    pub(crate) fn of_happening(parts: &[&str]) -> Self {
        Self(uuid_of(&parts.iter().map(|part| part.as_bytes()).collect::<Vec<_>>()).to_string())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for EventId {
    type Error = InvalidEventId;

    fn try_from(text: String) -> Result<Self, InvalidEventId> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) { Ok(Self(text)) } else { Err(InvalidEventId) }
    }
}

impl From<EventId> for String {
    fn from(id: EventId) -> Self {
        id.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// UUIDv5 of several parts. Each is preceded by its length, so that different lists never have the same input.
pub(crate) fn uuid_of(parts: &[&[u8]]) -> Uuid {
    let mut name = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part);
    }
    Uuid::new_v5(&NAMESPACE, &name)
}

#[cfg(test)]
mod tests;
