//! The messages on the broker: a [`Message`], the names of its headers, and the codecs of accepted events
//! ([`Acceptance`]) and of deliveries ([`Delivery`](crate::Delivery)). No other code reads or writes them.

mod delivery;
mod event;
mod message;
mod packed;

pub use delivery::BadHeader;
pub use event::{Acceptance, TraceContext, event_headers};
pub use message::{HeaderValue, Headers, Message};
pub use packed::{BadPacked, PACKED_VERSION, put_packed};

pub const SCHEMA: &str = "carteiro-schema";
pub const TENANT: &str = "carteiro-tenant";
/// Time of acceptance, in unix milliseconds: every age counts from it, and only a replay resets it.
pub const ACCEPTED_AT: &str = "carteiro-accepted-at";
/// Time of the first acceptance, in unix milliseconds; only on a delivery that was replayed or sent again.
pub const FIRST_ACCEPTED_AT: &str = "carteiro-first-accepted-at";
/// W3C trace context: the caller's span.
pub const TRACEPARENT: &str = "traceparent";
/// W3C trace context: vendors' additions.
pub const TRACESTATE: &str = "tracestate";
/// UUIDv5 of tenant, event id, endpoint id and part.
pub const DELIVERY_ID: &str = "carteiro-delivery-id";
pub const ENDPOINT: &str = "carteiro-endpoint";
/// Body of the event: empty, `2`, `shot` or `shot_2`.
pub const PART: &str = "carteiro-part";
/// `occurred_at` of the event, in unix milliseconds.
pub const EVENT_TIME: &str = "carteiro-event-time";
/// Ids of the matching subscriptions, separated by commas, at most 20.
pub const SUBSCRIPTIONS: &str = "carteiro-subscriptions";
/// Revision of the snapshot that decided: the producer's on an event, the router's on a delivery.
pub const REVISION: &str = "carteiro-revision";
/// Through how many deliveries an event has come: a delivery that comes back in as an event. Absent for 0. A delivery has
/// that of its event, and its POST one more.
pub const HOPS: &str = "carteiro-hops";
/// Number of the attempt that this message is for, counted from 1.
pub const ATTEMPT: &str = "carteiro-attempt";
/// Earliest time of the attempt, in unix milliseconds. The broker sets it from the due time.
pub const DUE: &str = "carteiro-due";
/// Time of the first attempt, in unix milliseconds.
pub const FIRST_AT: &str = "carteiro-first-at";
/// The last attempt, as JSON without the excerpt of its answer.
pub const LAST: &str = "carteiro-last";
/// Number of deferrals by limits.
pub const DEFERRALS: &str = "carteiro-parks";
/// How often a parked delivery was published again, as an integer; only on such a message, until its next attempt. A
/// deferral keeps it.
pub const REQUEUED: &str = "carteiro-requeued";
/// How often a delivery found its endpoint paused, as an integer; only on such a message, until its next attempt. Packed
/// headers write the name out, because a process of an earlier version knows no key for it.
pub const FOUND_PAUSED: &str = "carteiro-found-paused";
pub const REPLAY: &str = "carteiro-replay";
/// Id of the event's ticket, on deliveries whose end the tenant is told of. Packed headers write this name and the next out,
/// because a process of an earlier version knows no key for them.
pub const TICKET: &str = "carteiro-ticket";
/// Id of the event's message, likewise.
pub const MESSAGE: &str = "carteiro-message";
/// 1 on a delivery of the test button: it is attempted once, the control role receives the outcome, and no other
/// message follows.
pub const TEST: &str = "carteiro-test";
/// Route (`fast`, `30s`) of a deliverer's canary, which is not a delivery and has no consequences.
pub const CANARY: &str = "carteiro-canary";
/// JSON record of a dead or parked message, without its body.
pub const RECORD: &str = "carteiro-record";

pub const SCHEMA_VERSION: i64 = 1;

/// Most deliveries that an event may have come through. An event that has come through more goes round in a loop.
pub const MAX_HOPS: u32 = 3;

/// Longest `tracestate` that is passed on, in bytes. W3C Trace Context 3.3.1.5: "vendors SHOULD propagate at least 512
/// characters"; longer ones are dropped.
pub const MAX_TRACESTATE_BYTES: usize = 512;

fn ms(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The header [`HOPS`] of an event or a delivery. One that is missing, unreadable or negative is 0.
fn hops(headers: &Headers) -> u32 {
    headers.int(HOPS).map_or(0, |hops| u32::try_from(hops.max(0)).unwrap_or(u32::MAX))
}
