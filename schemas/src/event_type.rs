//! The types of events, `<entity>.<action>`, and the patterns that name several of them.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// An event's type: `<entity>.<action>`, each `[a-z][a-z0-9_]*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventType(Cow<'static, str>);

/// Longest event type, in bytes: it is the property `type` of a message, a short string of AMQP 0-9-1.
const MAX_BYTES: usize = 255;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an event type is `<entity>.<action>`, each a lower-case letter followed by lower-case letters, digits or `_`, of at \
     most {MAX_BYTES} bytes in all"
)]
pub struct InvalidEventType;

impl EventType {
    pub const TICKET_CREATED: Self = Self(Cow::Borrowed("ticket.created"));
    /// An attendant began to work on a ticket.
    pub const TICKET_OPENED: Self = Self(Cow::Borrowed("ticket.opened"));
    pub const TICKET_TRANSFERRED: Self = Self(Cow::Borrowed("ticket.transferred"));
    pub const TICKET_CLOSED: Self = Self(Cow::Borrowed("ticket.closed"));
    pub const TICKET_TAGS_CHANGED: Self = Self(Cow::Borrowed("ticket.tags_changed"));
    pub const MESSAGE_RECEIVED: Self = Self(Cow::Borrowed("message.received"));
    pub const MESSAGE_SENT: Self = Self(Cow::Borrowed("message.sent"));
    /// A message to the contact was sent, delivered or read.
    pub const MESSAGE_STATUS_CHANGED: Self = Self(Cow::Borrowed("message.status_changed"));
    pub const WEBHOOK_TEST: Self = Self(Cow::Borrowed("webhook.test"));
    pub const ENDPOINT_DISABLED: Self = Self(Cow::Borrowed("endpoint.disabled"));
    pub const ENDPOINT_FAILING: Self = Self(Cow::Borrowed("endpoint.failing"));
    pub const ENDPOINT_RECOVERED: Self = Self(Cow::Borrowed("endpoint.recovered"));
    pub const DELIVERY_DELIVERED: Self = Self(Cow::Borrowed("delivery.delivered"));
    pub const DELIVERY_DEAD: Self = Self(Cow::Borrowed("delivery.dead"));
    pub const QUOTA_REACHED: Self = Self(Cow::Borrowed("quota.reached"));
    /// Deliveries came back in as events again and again.
    pub const EVENT_LOOP: Self = Self(Cow::Borrowed("event.loop"));
    /// A vendor's body of an unknown kind. It is delivered only to endpoints of format `original`.
    pub const VENDOR_UNKNOWN: Self = Self(Cow::Borrowed("vendor.unknown"));

    /// The types that platforms, vendors' bodies and carteiro itself make. A producer may publish any other one, too.
    pub const KNOWN: [Self; 17] = [
        Self::TICKET_CREATED,
        Self::TICKET_OPENED,
        Self::TICKET_TRANSFERRED,
        Self::TICKET_CLOSED,
        Self::TICKET_TAGS_CHANGED,
        Self::MESSAGE_RECEIVED,
        Self::MESSAGE_SENT,
        Self::MESSAGE_STATUS_CHANGED,
        Self::WEBHOOK_TEST,
        Self::ENDPOINT_DISABLED,
        Self::ENDPOINT_FAILING,
        Self::ENDPOINT_RECOVERED,
        Self::DELIVERY_DELIVERED,
        Self::DELIVERY_DEAD,
        Self::QUOTA_REACHED,
        Self::EVENT_LOOP,
        Self::VENDOR_UNKNOWN,
    ];

    /// The types that only a subscription which names them or their entity receives: the pattern `*` does not match them.
    pub const OPT_IN: [Self; 4] =
        [Self::ENDPOINT_FAILING, Self::ENDPOINT_RECOVERED, Self::DELIVERY_DELIVERED, Self::DELIVERY_DEAD];

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_opt_in(&self) -> bool {
        Self::OPT_IN.contains(self)
    }

    /// True for the types that carteiro itself makes. Their deliveries make no events, so that none goes round in a loop.
    pub fn is_operational(&self) -> bool {
        self.is_opt_in() || [Self::ENDPOINT_DISABLED, Self::QUOTA_REACHED, Self::EVENT_LOOP].contains(self)
    }

    pub fn entity(&self) -> &str {
        self.0.split_once('.').map_or(&*self.0, |(entity, _)| entity)
    }

    pub fn action(&self) -> &str {
        self.0.split_once('.').map_or("", |(_, action)| action)
    }

    pub fn is_message(&self) -> bool {
        self.entity() == "message"
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

impl TryFrom<String> for EventType {
    type Error = InvalidEventType;

    fn try_from(text: String) -> Result<Self, InvalidEventType> {
        match text.split_once('.') {
            _ if text.len() > MAX_BYTES => Err(InvalidEventType),
            Some((entity, action)) if is_word(entity) && is_word(action) => Ok(Self(Cow::Owned(text))),
            _ => Err(InvalidEventType),
        }
    }
}

impl From<EventType> for String {
    fn from(event_type: EventType) -> Self {
        event_type.0.into_owned()
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for EventType {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "EventType".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": MAX_BYTES, "pattern": "^[a-z][a-z0-9_]*\\.[a-z][a-z0-9_]*$"})
    }
}

/// A pattern of event types in a subscription: one type, all actions of an entity (`ticket.*`), or all (`*`)
/// but those that are [opt-in](EventType::OPT_IN).
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
    pub fn matches(&self, event_type: &EventType) -> bool {
        match self {
            Self::Any => !event_type.is_opt_in(),
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
        let probe = text.strip_suffix(".*").map(|entity| format!("{entity}.x"));
        let is_entity = probe.is_some();
        match EventType::try_from(probe.unwrap_or(text.clone())) {
            Ok(event_type) if is_entity => Ok(Self::Entity(event_type.entity().to_owned())),
            Ok(event_type) => Ok(Self::Type(event_type)),
            Err(_) => {
                let shown = crate::quotable(&text).map_or("this".to_owned(), |text| format!("{text:?}"));
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
        json_schema!({"type": "string", "maxLength": MAX_BYTES, "pattern": "^(\\*|[a-z][a-z0-9_]*\\.(\\*|[a-z][a-z0-9_]*))$"})
    }
}
