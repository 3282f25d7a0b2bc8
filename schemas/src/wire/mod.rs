//! What travels on the broker: a [`Message`], the names of its headers, and how a [`Delivery`](crate::Delivery) becomes a
//! message and a message a delivery. Each of these is written down here and nowhere else.

mod delivery;
mod message;

pub use delivery::BadHeader;
pub use message::{HeaderValue, Headers, Message};

/// Version of the headers, 1.
pub const SCHEMA: &str = "carteiro-schema";
/// Whose event it is.
pub const TENANT: &str = "carteiro-tenant";
/// Unix ms: the start of every age; only a replay resets it.
pub const ACCEPTED_AT: &str = "carteiro-accepted-at";
/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// W3C trace context.
pub const TRACESTATE: &str = "tracestate";
/// UUIDv5(tenant, event id, endpoint id, part).
pub const DELIVERY_ID: &str = "carteiro-delivery-id";
/// The endpoint's id.
pub const ENDPOINT: &str = "carteiro-endpoint";
/// Empty, `2`, `shot`, `shot_2`.
pub const PART: &str = "carteiro-part";
/// Unix ms of `occurred_at`.
pub const EVENT_TIME: &str = "carteiro-event-time";
/// Up to 20 ids of the subscriptions that matched, separated by commas.
pub const SUBSCRIPTIONS: &str = "carteiro-subscriptions";
/// Revision of the snapshot that decided.
pub const REVISION: &str = "carteiro-revision";
/// 1-based: the attempt this message is for.
pub const ATTEMPT: &str = "carteiro-attempt";
/// Unix ms: not before. Set by the broker from the due time.
pub const DUE: &str = "carteiro-due";
/// Unix ms of the first attempt.
pub const FIRST_AT: &str = "carteiro-first-at";
/// The last attempt, as JSON without the answer's excerpt.
pub const LAST: &str = "carteiro-last";
/// How often the delivery was deferred by limits.
pub const DEFERRALS: &str = "carteiro-parks";
/// The replay's id.
pub const REPLAY: &str = "carteiro-replay";
/// 1 on a delivery of the test button: one attempt, of which control is told, and nothing else follows.
pub const TEST: &str = "carteiro-test";
/// On a canary of the deliverers, which is no delivery: the way it takes (`fast`, `30s`). Nothing follows from it.
pub const CANARY: &str = "carteiro-canary";
/// Dead and parked: every field of the record but the body, as JSON.
pub const RECORD: &str = "carteiro-record";

/// The version of these headers.
pub const SCHEMA_VERSION: i64 = 1;
