//! Deliveries that ended without a 2xx, and messages we could not process: both closed lists of reasons.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{Attempt, Delivery, time::rfc3339};

/// An enum of names: spelt once, for headers, metrics and JSON alike.
macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// By its name.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.as_str() == text)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

names! {
    /// Why a delivery ended without a 2xx.
    DeadReason {
        /// Its schedule has no further step.
        Exhausted = "exhausted",
        /// The next attempt would lie beyond its maximum age.
        Expired = "expired",
        /// The receiver said it is gone for good (410).
        Permanent = "permanent",
        /// Its endpoint is disabled.
        EndpointDisabled = "endpoint_disabled",
        /// Its endpoint was deleted.
        EndpointGone = "endpoint_gone",
        /// Its endpoint has too many waiting.
        Overflow = "overflow",
        /// Too large for the broker.
        TooLarge = "too_large",
        /// An operator cancelled it.
        Cancelled = "cancelled",
    }
}

names! {
    /// Why a message was parked: nothing of ours could be done with it.
    ParkReason {
        /// Not JSON, or not an object.
        Decode = "decode",
        /// A key of the wrong type, or an unknown version.
        Schema = "schema",
        /// Its id is missing or contradicted, or its tenant is.
        Identity = "identity",
        /// No such tenant.
        Tenant = "tenant",
        /// Larger than an event may be.
        TooLarge = "too_large",
        /// No queue was bound for it.
        Unroutable = "unroutable",
        /// It was handed out too often.
        DeliveryLimit = "delivery_limit",
        /// Handling it panicked.
        Panic = "panic",
        /// It would make too many deliveries.
        FanoutLimit = "fanout_limit",
    }
}

/// A dead letter, as listed and shown. On the broker: `carteiro-record` has all but the body, which is the message's.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetter {
    /// Its place in the dead log; empty on the broker, where the log gives it.
    #[serde(default)]
    pub id: String,
    /// The delivery.
    pub delivery_id: Uuid,
    /// The event.
    pub event_id: String,
    /// The event's type.
    pub event_type: String,
    /// Whose it is.
    pub tenant: String,
    /// Where it was to go.
    pub endpoint_id: String,
    /// Which body of the event.
    #[serde(default)]
    pub part: String,
    /// Why it ended.
    pub reason: DeadReason,
    /// How many attempts were made.
    pub attempts: u32,
    /// The last of them.
    pub last: Option<Attempt>,
    /// RFC 3339.
    pub accepted_at: String,
    /// RFC 3339.
    pub dead_at: String,
    /// Its body was not kept, so that it cannot be replayed: it is too large for the broker, or the tenant has more
    /// dead letters than its quota.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub body_withheld: bool,
    /// The body, when it was asked for: as JSON where it is JSON, else as a string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub body: Option<Box<RawValue>>,
}

impl DeadLetter {
    /// Of a delivery that ended after `attempts` attempts, at unix ms `now`.
    pub fn of(delivery: &Delivery, reason: DeadReason, attempts: u32, last: Option<Attempt>, now: u64) -> Self {
        Self {
            id: String::new(),
            delivery_id: delivery.id,
            event_id: delivery.event_id.to_string(),
            event_type: delivery.event_type.to_string(),
            tenant: delivery.tenant.clone(),
            endpoint_id: delivery.endpoint_id.clone(),
            part: delivery.part.to_string(),
            reason,
            attempts,
            last,
            accepted_at: rfc3339(delivery.accepted_at),
            dead_at: rfc3339(now),
            body_withheld: false,
            body: None,
        }
    }

    /// The same, saying that its body was not kept.
    #[must_use]
    pub fn without_body(self) -> Self {
        Self { body_withheld: true, ..self }
    }

    /// The key it is appended to the log with: `<reason>.<tenant>`.
    pub fn key(&self) -> String {
        format!("{}.{}", self.reason, self.tenant)
    }
}

/// A tenant's id: `[a-z0-9][a-z0-9_-]{0,62}`.
const MAX_TENANT_BYTES: usize = 63;

/// What was parked, as listed and shown. On the broker: `carteiro-record` has all but the body.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Parked {
    /// Its place in the log; empty on the broker.
    #[serde(default)]
    pub id: String,
    /// Why.
    pub reason: ParkReason,
    /// What exactly was wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Whose it would have been, as far as that is known.
    pub tenant: Option<String>,
    /// The event's id, as far as it has one.
    pub event_id: Option<String>,
    /// The routing key it came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing_key: Option<String>,
    /// RFC 3339.
    pub parked_at: Option<String>,
    /// The body, when it was asked for: as JSON where it is JSON, else as a string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub body: Option<Box<RawValue>>,
}

impl Parked {
    /// The key it is appended to the log with: `<reason>.<tenant>`, and `-` for a name that no tenant can have. The
    /// name is a stranger's, and a key longer than 255 bytes would be taken by no broker.
    pub fn key(&self) -> String {
        let tenant = self.tenant.as_deref().filter(|tenant| tenant.len() <= MAX_TENANT_BYTES);
        format!("{}.{}", self.reason, tenant.unwrap_or("-"))
    }
}

/// A body as a JSON value on one line: itself where it is JSON, else a string (UTF-8, lossy).
pub fn body_as_json(body: &[u8]) -> Option<Box<RawValue>> {
    let verbatim = std::str::from_utf8(body).ok().filter(|text| serde_json::from_str::<&RawValue>(text).is_ok());
    let text = match verbatim {
        // Raw line breaks stand between tokens only: no string has any. What prints one object a line relies on it.
        Some(text) => text.trim().replace(['\r', '\n'], " "),
        None => serde_json::to_string(&String::from_utf8_lossy(body)).ok()?,
    };
    RawValue::from_string(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_tenant_can_have_is_not_in_the_key() {
        let key = |tenant: &str| {
            let json = serde_json::json!({"reason": "tenant", "tenant": tenant, "event_id": null, "parked_at": null});
            serde_json::from_value::<Parked>(json).unwrap().key()
        };
        assert_eq!(key("acme"), "tenant.acme");
        assert_eq!(key(&"x".repeat(250)), "tenant.-");
    }

    #[test]
    fn a_body_is_shown_on_one_line_and_otherwise_as_it_is() {
        let shown = |body: &[u8]| body_as_json(body).map(|json| json.get().to_owned());
        assert_eq!(shown(br#"{"b":1.50, "a":"\u00e1\n"}"#).as_deref(), Some(r#"{"b":1.50, "a":"\u00e1\n"}"#));
        assert_eq!(shown(b"\n{\r\n\"b\":1,\n\"a\":2}\n").as_deref(), Some(r#"{  "b":1, "a":2}"#));
        assert_eq!(shown(b"no\njson \xff").as_deref(), Some("\"no\\njson \u{fffd}\""));
    }
}
