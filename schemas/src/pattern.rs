//! How event types are named in a filter.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::EventType;

/// A type, all actions of an entity (`ticket.*`), or everything (`*`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TypePattern {
    /// `*`
    Any,
    /// `<entity>.*`
    Entity(String),
    /// `<entity>.<action>`
    Type(EventType),
}

impl TypePattern {
    /// Whether a type is meant.
    pub fn matches(&self, event_type: &EventType) -> bool {
        match self {
            Self::Any => true,
            Self::Entity(entity) => event_type.entity() == entity,
            Self::Type(wanted) => wanted == event_type,
        }
    }
}

impl TryFrom<String> for TypePattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let probe = text.strip_suffix(".*").map(|entity| format!("{entity}.any"));
        let is_entity = probe.is_some();
        match EventType::try_from(probe.unwrap_or(text.clone())) {
            Ok(event_type) if is_entity => Ok(Self::Entity(event_type.entity().to_owned())),
            Ok(event_type) => Ok(Self::Type(event_type)),
            Err(_) => {
                let shown = crate::repeatable(&text).map_or("this".to_owned(), |text| format!("{text:?}"));
                Err(format!("{shown} is no event type: write `<entity>.<action>`, `<entity>.*` or `*`"))
            }
        }
    }
}

impl From<TypePattern> for String {
    fn from(pattern: TypePattern) -> Self {
        match pattern {
            TypePattern::Any => "*".to_owned(),
            TypePattern::Entity(entity) => format!("{entity}.*"),
            TypePattern::Type(event_type) => event_type.into(),
        }
    }
}

impl JsonSchema for TypePattern {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "TypePattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^(\\*|[a-z][a-z0-9_]*\\.(\\*|[a-z][a-z0-9_]*))$"})
    }
}
