//! Events, deliveries and attempts as answers show them.

use std::collections::BTreeMap;

use bytes::Bytes;
use history::{
    AttemptItem, DeliveryItem, DeliveryState, DeliveryStory, EventItem, EventStory, Timing, Unmatched, tenant_of_scope,
};
use schemars::JsonSchema;
use schemas::{DeadReason, OutcomeClass, time::rfc3339};
use serde::Serialize;

/// An attempt to deliver.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RecordedAttempt")]
pub(super) struct ShownAttempt {
    /// Life of the delivery: 1 at first, one more with each resend or replay.
    run: u32,
    /// Number of the attempt in its run, counted from 1.
    number: u32,
    /// Begin of the attempt.
    #[schemars(extend("format" = "date-time"))]
    at: String,
    /// Class of the outcome.
    outcome: OutcomeClass,
    /// HTTP status of the answer, if there was one.
    status: Option<u16>,
    /// Duration until the end of the answer, in milliseconds.
    duration_ms: u64,
    /// Parts of the duration.
    timing: ShownTiming,
    /// The address that was connected to, with its port.
    remote_address: Option<String>,
    /// True when the connection had served an earlier request.
    reused: bool,
    /// Headers of the answer, as far as they are kept.
    response_headers: BTreeMap<String, String>,
    /// First 4 KiB of the answer, or why there was none.
    response_excerpt: Option<String>,
    /// Time of the attempt that was to follow; none when none was.
    #[schemars(extend("format" = "date-time"))]
    next_due: Option<String>,
    /// How often limits of the endpoint had deferred the delivery by then.
    deferrals: u32,
}

/// Parts of an attempt's duration, in milliseconds; null where a part did not happen, as over a connection that was reused.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AttemptTiming")]
struct ShownTiming {
    /// Looking the name up.
    dns_ms: Option<u64>,
    /// Connecting.
    connect_ms: Option<u64>,
    /// The TLS handshake.
    tls_ms: Option<u64>,
    /// From the request on until the head of the answer.
    first_byte_ms: Option<u64>,
}

/// A delivery as history has it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RecordedDelivery")]
pub(super) struct ShownDelivery {
    /// The tenant; only in answers about all tenants.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    /// Id of the delivery.
    id: String,
    /// Id of the event.
    event_id: String,
    /// Type of the event.
    event_type: String,
    /// Where it goes.
    endpoint_id: String,
    /// Which body of the event: empty, `2`, `shot` or `shot_2`.
    part: String,
    /// How it is.
    state: DeliveryState,
    /// Why it is dead.
    reason: Option<DeadReason>,
    /// First acceptance of the event.
    #[schemars(extend("format" = "date-time"))]
    accepted_at: String,
    /// Number of attempts, of all runs.
    attempt_count: u32,
    /// Life of the delivery: 1 at first, one more with each resend or replay.
    run: u32,
    /// The last attempt.
    last: Option<ShownAttempt>,
    /// Time of the next attempt, while one is scheduled.
    #[schemars(extend("format" = "date-time"))]
    next_due: Option<String>,
    /// The event's channel.
    channel_id: Option<String>,
    /// The queue of the event's ticket.
    queue_id: Option<String>,
    /// The event's ticket.
    ticket_id: Option<String>,
    /// The ticket's protocol.
    protocol: Option<String>,
}

/// A delivery with all that happened to it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RecordedDeliveryStory")]
pub(super) struct ShownDeliveryStory {
    #[serde(flatten)]
    delivery: ShownDelivery,
    /// In the order in which they were made.
    attempts: Vec<ShownAttempt>,
    /// The body that was POSTed; null once it is too old, was left out or erased.
    body: Option<String>,
    /// Headers of the last request, secrets masked.
    request_headers: BTreeMap<String, String>,
    /// Ids of the subscriptions that matched.
    matched_by: Vec<String>,
    /// True when the contact of the event was erased.
    erased: bool,
}

/// An event as history has it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RecordedEvent")]
pub(super) struct ShownEvent {
    /// The tenant; only in answers about all tenants.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    /// Id of the event.
    id: String,
    /// Type of the event.
    #[serde(rename = "type")]
    event_type: String,
    /// The platform that it comes from.
    source: String,
    /// First acceptance.
    #[schemars(extend("format" = "date-time"))]
    accepted_at: String,
    /// When it happened.
    #[schemars(extend("format" = "date-time"))]
    occurred_at: String,
    /// Its channel.
    channel_id: Option<String>,
    /// The queue of its ticket.
    queue_id: Option<String>,
    /// Its ticket.
    ticket_id: Option<String>,
    /// The ticket's protocol.
    protocol: Option<String>,
    /// True when it made a delivery.
    matched: bool,
}

/// An event with what became of it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RecordedEventStory")]
pub(super) struct ShownEventStory {
    #[serde(flatten)]
    event: ShownEvent,
    /// Its body; null once it is too old, was left out or erased.
    body: Option<String>,
    /// Subscriptions that made no delivery, at most 20, with the reason: a word of `explain`.
    unmatched: Vec<ShownUnmatched>,
    /// The deliveries that it made.
    deliveries: Vec<ShownDelivery>,
}

/// A subscription that made no delivery.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "UnmatchedSubscription")]
struct ShownUnmatched {
    /// Id of the subscription.
    subscription_id: String,
    /// Where it would have gone.
    endpoint_id: String,
    /// The first dimension that did not match, `no_last_message`, `disabled` or `format_has_no_such_event`.
    reason: String,
}

impl From<AttemptItem> for ShownAttempt {
    fn from(attempt: AttemptItem) -> Self {
        let AttemptItem { run, number, at, post, next_due, deferrals } = attempt;
        let Timing { dns_ms, connect_ms, tls_ms, first_byte_ms } = post.timing;
        Self {
            run,
            number,
            at: rfc3339(at),
            outcome: post.outcome,
            status: post.status,
            duration_ms: post.duration_ms,
            timing: ShownTiming { dns_ms, connect_ms, tls_ms, first_byte_ms },
            remote_address: post.remote_address,
            reused: post.reused,
            response_headers: post.response_headers.into_iter().collect(),
            response_excerpt: Some(post.response_excerpt).filter(|excerpt| !excerpt.is_empty()),
            next_due: next_due.map(rfc3339),
            deferrals,
        }
    }
}

impl ShownDelivery {
    /// `with_tenant` in answers about all tenants.
    pub(super) fn of(delivery: DeliveryItem, with_tenant: bool) -> Self {
        Self {
            tenant: with_tenant.then(|| tenant_of_scope(&delivery.tenant).to_owned()),
            id: delivery.id.to_string(),
            event_id: delivery.event_id,
            event_type: delivery.event_type,
            endpoint_id: delivery.endpoint_id,
            part: delivery.part,
            state: delivery.state,
            reason: delivery.reason,
            accepted_at: rfc3339(delivery.accepted_at),
            attempt_count: delivery.attempt_count,
            run: delivery.run,
            last: delivery.last.map(Into::into),
            next_due: delivery.next_due.map(rfc3339),
            channel_id: delivery.channel_id,
            queue_id: delivery.queue_id,
            ticket_id: delivery.ticket_id,
            protocol: delivery.protocol,
        }
    }
}

impl From<DeliveryStory> for ShownDeliveryStory {
    fn from(story: DeliveryStory) -> Self {
        Self {
            delivery: ShownDelivery::of(story.delivery, false),
            attempts: story.attempts.into_iter().map(Into::into).collect(),
            body: story.body.as_ref().map(text),
            request_headers: story.request_headers.into_iter().collect(),
            matched_by: story.matched_by,
            erased: story.erased,
        }
    }
}

impl ShownEvent {
    /// `with_tenant` in answers about all tenants.
    pub(super) fn of(event: EventItem, with_tenant: bool) -> Self {
        Self {
            tenant: with_tenant.then(|| tenant_of_scope(&event.tenant).to_owned()),
            id: event.id,
            event_type: event.event_type,
            source: event.source,
            accepted_at: rfc3339(event.accepted_at),
            occurred_at: rfc3339(event.occurred_at),
            channel_id: event.channel_id,
            queue_id: event.queue_id,
            ticket_id: event.ticket_id,
            protocol: event.protocol,
            matched: event.matched,
        }
    }
}

impl From<EventStory> for ShownEventStory {
    fn from(story: EventStory) -> Self {
        let unmatched = |Unmatched { subscription_id, endpoint_id, reason }| ShownUnmatched {
            subscription_id,
            endpoint_id,
            reason,
        };
        Self {
            event: ShownEvent::of(story.event, false),
            body: story.body.as_ref().map(text),
            unmatched: story.unmatched.into_iter().map(unmatched).collect(),
            deliveries: story.deliveries.into_iter().map(|one| ShownDelivery::of(one, false)).collect(),
        }
    }
}

/// A body is JSON, and so UTF-8; only a platform's own body may be anything.
pub(super) fn text(body: &Bytes) -> String {
    String::from_utf8_lossy(body).into_owned()
}
