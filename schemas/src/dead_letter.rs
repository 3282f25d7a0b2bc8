//! Records of deliveries that ended without a 2xx and of messages that could not be processed, with their reasons.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{Attempt, Delivery, Message, time::rfc3339, wire};

/// Declares an enum whose variants have one name for headers, metrics and JSON.
macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)* }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

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
        /// The retry schedule has no further step.
        Exhausted = "exhausted",
        /// The next attempt would lie beyond the maximum age.
        Expired = "expired",
        /// The receiver answered 410 Gone.
        Permanent = "permanent",
        /// The endpoint is disabled.
        EndpointDisabled = "endpoint_disabled",
        /// The endpoint was deleted.
        EndpointGone = "endpoint_gone",
        /// The endpoint has too many waiting deliveries.
        Overflow = "overflow",
        /// The body is too large for the broker.
        TooLarge = "too_large",
        /// The delivery was cancelled.
        Cancelled = "cancelled",
    }
}

names! {
    /// Why a message was parked: it could not be processed.
    ParkReason {
        /// The body is not a JSON object.
        Decode = "decode",
        /// A key has the wrong type, or the version is unknown.
        Schema = "schema",
        /// The id or the tenant is missing or contradictory.
        Identity = "identity",
        /// The tenant does not exist.
        Tenant = "tenant",
        /// The body is larger than an event may be.
        TooLarge = "too_large",
        /// No queue is bound for it.
        Unroutable = "unroutable",
        /// The broker handed it out too often.
        DeliveryLimit = "delivery_limit",
        /// Handling it panicked.
        Panic = "panic",
        /// The event would make too many deliveries.
        FanoutLimit = "fanout_limit",
    }
}

/// A dead letter, as lists and answers show it. On the broker, the header `carteiro-record` holds all but the body, which
/// is the message's.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetter {
    /// Position in the dead log; empty on the broker, where the log assigns it.
    #[serde(default)]
    pub id: String,
    /// Id of the delivery.
    pub delivery_id: Uuid,
    /// Id of the event.
    pub event_id: String,
    /// Type of the event.
    pub event_type: String,
    /// Id of the tenant.
    pub tenant: String,
    /// Id of the endpoint.
    pub endpoint_id: String,
    /// Which body of the event; empty for the first.
    #[serde(default)]
    pub part: String,
    /// Why the delivery ended.
    pub reason: DeadReason,
    /// Number of attempts made.
    pub attempts: u32,
    /// The last attempt.
    pub last: Option<Attempt>,
    /// Time of acceptance, RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub accepted_at: String,
    /// Time of the end, RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub dead_at: String,
    /// Id of the replay from which the delivery came back: it was a dead letter before, under the same `delivery_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_id: Option<String>,
    /// True when the body was not kept, so that a replay is impossible: it is too large for the broker, or the tenant has
    /// more dead letters than its quota allows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub body_withheld: bool,
    /// The body, when it was asked for: as JSON if it is JSON, otherwise as a string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub body: Option<Box<RawValue>>,
}

impl DeadLetter {
    /// The dead letter of a delivery that ended after `attempts` attempts. `now` is in unix milliseconds.
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
            // On the broker, the message itself has it.
            replay_id: None,
            body_withheld: false,
            body: None,
        }
    }

    /// The dead letter of a delivery whose next attempt is not made.
    pub fn without_attempt(delivery: &Delivery, reason: DeadReason, now: u64) -> Self {
        Self::of(delivery, reason, delivery.attempt - 1, delivery.last.clone(), now)
    }

    #[must_use]
    pub fn without_body(self) -> Self {
        Self { body_withheld: true, ..self }
    }

    /// Key in the dead log: `<reason>.<tenant>`.
    pub fn key(&self) -> String {
        format!("{}.{}", self.reason, self.tenant)
    }
}

/// How much of a tenant's dead letters is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterRetention {
    #[default]
    Bodies,
    /// Records without bodies, once the tenant has as many dead letters as its quota allows, or as many bytes of them.
    Records,
    /// Counts only, once the tenant has ten times as many, or twice the bytes.
    Counts,
}

impl DeadLetterRetention {
    /// The retention for a tenant with this many dead letters, `with_bodies` and `in_all`. Without a quota, everything
    /// is kept.
    pub fn of(with_bodies: u64, in_all: u64, quota: Option<u64>) -> Self {
        match quota {
            Some(quota) if in_all >= quota.saturating_mul(10) => Self::Counts,
            Some(quota) if with_bodies >= quota => Self::Records,
            _ => Self::Bodies,
        }
    }

    /// The retention for a tenant that has `used` bytes of a log, and may use `most` for records with their bodies.
    pub fn of_bytes(used: u64, most: u64) -> Self {
        match used {
            _ if used >= most.saturating_mul(2) => Self::Counts,
            _ if used >= most => Self::Records,
            _ => Self::Bodies,
        }
    }
}

/// How much of all tenants' records is kept in a log, as control announces it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionLevels {
    /// The tenants of which not everything is kept.
    #[serde(rename = "levels")]
    pub by_tenant: BTreeMap<String, DeadLetterRetention>,
    /// Bytes of a tenant's records that a process keeps with their bodies before the next announcement. Without it, any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowance: Option<u64>,
    /// The allowances of tenants that have another one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub allowances: BTreeMap<String, u64>,
}

impl From<BTreeMap<String, DeadLetterRetention>> for RetentionLevels {
    fn from(by_tenant: BTreeMap<String, DeadLetterRetention>) -> Self {
        Self { by_tenant, ..Self::default() }
    }
}

/// Longest id of a tenant, in bytes: `[a-z0-9][a-z0-9_-]{0,62}`.
pub const MAX_TENANT_BYTES: usize = 63;

/// A parked message, as lists and answers show it. On the broker, the header `carteiro-record` holds all but the body.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Parked {
    /// Position in the parked log; empty on the broker.
    #[serde(default)]
    pub id: String,
    /// Why the message was parked.
    pub reason: ParkReason,
    /// What exactly is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Id of the tenant, if the message names one.
    pub tenant: Option<String>,
    /// Id of the event, if the message has one.
    pub event_id: Option<String>,
    /// Routing key of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing_key: Option<String>,
    /// Time of parking, RFC 3339. What the broker itself has parked has none.
    #[schemars(extend("format" = "date-time"))]
    pub parked_at: Option<String>,
    /// Time of acceptance, RFC 3339, if the message says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub accepted_at: Option<String>,
    /// How often the delivery was published again before, after it had been parked.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub requeued: u32,
    /// The body, when it was asked for: as JSON if it is JSON, otherwise as a string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub body: Option<Box<RawValue>>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Parked {
    /// The record of a message, with the tenant and event that it names.
    pub fn of(message: &Message, reason: ParkReason) -> Self {
        Self {
            id: String::new(),
            reason,
            detail: None,
            tenant: message.headers.text(wire::TENANT).map(str::to_owned),
            event_id: Some(message.id.clone()).filter(|id| !id.is_empty()),
            routing_key: None,
            parked_at: None,
            accepted_at: None,
            requeued: 0,
            body: None,
        }
    }

    /// Key in the parked log: `<reason>.<tenant>`, with `-` instead of an invalid tenant's name. A
    /// foreign producer chose the name, and brokers refuse keys of more than 255 bytes.
    pub fn key(&self) -> String {
        let tenant = self.tenant.as_deref().filter(|tenant| tenant.len() <= MAX_TENANT_BYTES);
        format!("{}.{}", self.reason, tenant.unwrap_or("-"))
    }
}

/// A body as a JSON value on one line: itself if it is JSON, otherwise a string (UTF-8, lossy).
pub fn body_as_json(body: &[u8]) -> Option<Box<RawValue>> {
    let verbatim = std::str::from_utf8(body).ok().filter(|text| serde_json::from_str::<&RawValue>(text).is_ok());
    let text = match verbatim {
        // Raw line breaks occur only between tokens, never in strings. Output of one object per line relies on this.
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

    #[test]
    fn bodies_are_kept_up_to_the_quota_and_records_up_to_ten_times_that() {
        use DeadLetterRetention::{Bodies, Counts, Records};
        let table = [(99, 99, Bodies), (100, 100, Records), (100, 999, Records), (99, 999, Bodies), (0, 1_000, Counts)];
        for (with_bodies, in_all, level) in table {
            assert_eq!(DeadLetterRetention::of(with_bodies, in_all, Some(100)), level, "{with_bodies} of {in_all}");
            assert_eq!(DeadLetterRetention::of(with_bodies, in_all, None), Bodies);
        }
        assert_eq!(DeadLetterRetention::of(0, 0, Some(0)), Counts, "none may be kept");
        for (used, level) in [(0, Bodies), (99, Bodies), (100, Records), (199, Records), (200, Counts)] {
            assert_eq!(DeadLetterRetention::of_bytes(used, 100), level, "{used} bytes");
        }
        assert_eq!(DeadLetterRetention::of_bytes(0, 0), Counts);
    }
}
