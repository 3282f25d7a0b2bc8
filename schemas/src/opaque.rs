//! JSON that is passed on unparsed: key order and the spelling of numbers are kept.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// Any JSON, as its compact text. A missing field and `null` are both none.
#[derive(Clone, Debug)]
pub struct Opaque(Box<RawValue>);

impl Opaque {
    /// Compacts a JSON text. Fails when it is not JSON.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        let compact = crate::json_text::compact(text).into_owned();
        RawValue::from_string(compact).map(Self)
    }

    pub fn json(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for Opaque {
    fn eq(&self, other: &Self) -> bool {
        self.json() == other.json()
    }
}

impl<'de> Deserialize<'de> for Opaque {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        match crate::json_text::compact(raw.get()) {
            Cow::Borrowed(_) => Ok(Self(raw)),
            Cow::Owned(text) => RawValue::from_string(text).map(Self).map_err(serde::de::Error::custom),
        }
    }
}

impl Serialize for Opaque {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl JsonSchema for Opaque {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Opaque".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!(true)
    }
}
