//! What travels on the broker: a [`Message`], the names of its headers, and the codecs of the two things that messages
//! carry, accepted events ([`Acceptance`]) and deliveries ([`Delivery`](crate::Delivery)). All of it is written once, here.

mod delivery;
mod event;
mod message;

pub use delivery::BadHeader;
pub use event::{Acceptance, TraceContext, event_headers};
pub use message::{HeaderValue, Headers, Message};

/// Version of the headers: [`SCHEMA_VERSION`].
pub const SCHEMA: &str = "carteiro-schema";
pub const TENANT: &str = "carteiro-tenant";
/// Time of acceptance, in unix milliseconds: every age counts from it, and only a replay resets it.
pub const ACCEPTED_AT: &str = "carteiro-accepted-at";
/// W3C trace context: the caller's span.
pub const TRACEPARENT: &str = "traceparent";
/// W3C trace context: what vendors add.
pub const TRACESTATE: &str = "tracestate";
/// Id of the delivery: UUIDv5 of tenant, event id, endpoint id and part.
pub const DELIVERY_ID: &str = "carteiro-delivery-id";
pub const ENDPOINT: &str = "carteiro-endpoint";
/// Which body of the event: empty, `2`, `shot` or `shot_2`.
pub const PART: &str = "carteiro-part";
/// The event's `occurred_at`, in unix milliseconds.
pub const EVENT_TIME: &str = "carteiro-event-time";
/// Ids of the subscriptions that matched, separated by commas, 20 at most.
pub const SUBSCRIPTIONS: &str = "carteiro-subscriptions";
/// Revision of the snapshot that decided.
pub const REVISION: &str = "carteiro-revision";
/// Number of the attempt that this message is for, counted from 1.
pub const ATTEMPT: &str = "carteiro-attempt";
/// Earliest time of the attempt, in unix milliseconds. The broker sets it from the due time.
pub const DUE: &str = "carteiro-due";
/// Time of the first attempt, in unix milliseconds.
pub const FIRST_AT: &str = "carteiro-first-at";
/// The last attempt, as JSON without the excerpt of its answer.
pub const LAST: &str = "carteiro-last";
/// How often limits deferred the delivery.
pub const DEFERRALS: &str = "carteiro-parks";
/// Id of the replay that the delivery belongs to.
pub const REPLAY: &str = "carteiro-replay";
/// 1 on a delivery of the test button: it is attempted once, the control role hears of it, and nothing else follows.
pub const TEST: &str = "carteiro-test";
/// Marks a canary of the deliverers, which is no delivery, with the route it takes (`fast`, `30s`). Nothing follows from it.
pub const CANARY: &str = "carteiro-canary";
/// On dead and parked messages: every field of the record but the body, as JSON.
pub const RECORD: &str = "carteiro-record";

/// Version of these headers.
pub const SCHEMA_VERSION: i64 = 1;

/// Longest `tracestate` that is passed on, in bytes. W3C Trace Context 3.3.1.5: "vendors SHOULD propagate at least 512
/// characters"; longer ones are left out.
const MAX_TRACESTATE_BYTES: usize = 512;

/// A time or a revision as headers carry it.
fn ms(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
