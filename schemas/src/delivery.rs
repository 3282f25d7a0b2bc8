//! A delivery: an event, or a part of it, for one endpoint.

use std::{borrow::Cow, fmt};

use uuid::Uuid;

use crate::{
    Attempt, EventId, EventType,
    id::uuid_of,
    signature::{ID_HEADER, TIMESTAMP_HEADER},
    time::rfc3339,
    wire::HOPS,
};

/// The body of an event that a delivery carries. An event renders to one or two bodies, and a transfer to a queue may
/// add the shot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    First,
    /// Whaticket's `fila-data`, which follows `start`.
    Second,
    /// The last received message, sent at once on a transfer to a queue.
    Shot,
    /// Second Whaticket body of the shot.
    SecondShot,
}

impl Part {
    /// Text in headers and ids; empty for the first body.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "",
            Self::Second => "2",
            Self::Shot => "shot",
            Self::SecondShot => "shot_2",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::First, Self::Second, Self::Shot, Self::SecondShot].into_iter().find(|part| part.as_str() == text)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A delivery without its body, which is the body of its message: the exact bytes to be posted. It never holds a URL or
/// a secret; each attempt looks these up.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// UUIDv5 of tenant, event id, endpoint id and part, so that a repeat has the same id.
    pub id: Uuid,
    pub tenant: String,
    pub event_id: EventId,
    pub event_type: EventType,
    pub endpoint_id: String,
    pub part: Part,
    /// The event's `occurred_at`, in unix milliseconds.
    pub event_time: u64,
    /// Time of acceptance, in unix milliseconds; the delivery's age counts from it.
    pub accepted_at: u64,
    /// Time of the event's first acceptance, in unix milliseconds, where a replay or a resend has reset `accepted_at`.
    pub first_accepted_at: Option<u64>,
    /// Ids of the subscriptions that matched, at most [`MAX_SUBSCRIPTIONS`]; for explanation only.
    pub subscriptions: Vec<String>,
    /// Revision of the configuration in which the endpoint was chosen; 0 where revisions cannot be compared.
    pub revision: u64,
    /// Number of the next attempt, counted from 1.
    pub attempt: u32,
    /// Earliest time of the next attempt, in unix milliseconds; none on a first attempt.
    pub due: Option<u64>,
    /// Time of the first attempt, in unix milliseconds.
    pub first_at: Option<u64>,
    pub last: Option<Attempt>,
    /// How often limits deferred the delivery.
    pub deferrals: u32,
    /// How often the delivery was published again after it was parked, since its last attempt.
    pub requeued: u32,
    /// How often the delivery found its endpoint paused, since its last attempt. Until it is attempted, no limit ends it
    /// for its age then.
    pub found_paused: u32,
    pub replay: Option<String>,
    /// True for a delivery of the test button: it is attempted once, whatever the endpoint's state, and leaves no
    /// record.
    pub is_test: bool,
    /// Through how many deliveries the event has come.
    pub hops: u32,
    /// Id of the event's ticket, where the tenant is told how deliveries end.
    pub ticket_id: Option<String>,
    /// Id of the event's message, likewise.
    pub message_id: Option<String>,
    pub traceparent: Option<String>,
    pub tracestate: Option<String>,
}

/// Largest number of subscription ids in a delivery: headers must stay below 4 KiB.
pub const MAX_SUBSCRIPTIONS: usize = 20;

pub fn delivery_id(tenant: &str, event_id: &EventId, endpoint_id: &str, part: Part) -> Uuid {
    uuid_of(&[tenant.as_bytes(), event_id.as_str().as_bytes(), endpoint_id.as_bytes(), part.as_str().as_bytes()])
}

impl Delivery {
    /// A delivery before its first attempt, of an event that was accepted at a time in unix milliseconds. The event
    /// time is the same. Revision, subscriptions, hops and trace context are empty until they are set.
    pub fn owed(
        tenant: &str,
        event_id: &EventId,
        event_type: EventType,
        endpoint_id: &str,
        part: Part,
        accepted_at: u64,
    ) -> Self {
        Self {
            id: delivery_id(tenant, event_id, endpoint_id, part),
            tenant: tenant.to_owned(),
            event_id: event_id.clone(),
            event_type,
            endpoint_id: endpoint_id.to_owned(),
            part,
            event_time: accepted_at,
            accepted_at,
            first_accepted_at: None,
            subscriptions: Vec::new(),
            revision: 0,
            attempt: 1,
            due: None,
            first_at: None,
            last: None,
            deferrals: 0,
            requeued: 0,
            found_paused: 0,
            replay: None,
            is_test: false,
            hops: 0,
            ticket_id: None,
            message_id: None,
            traceparent: None,
            tracestate: None,
        }
    }

    /// The receiver's key for deduplication, equal on every attempt and replay (Standard Webhooks 1.0): the event's id,
    /// followed by `_` and the part for every body but the first.
    pub fn webhook_id(&self) -> Cow<'_, str> {
        match self.part {
            Part::First => Cow::Borrowed(self.event_id.as_str()),
            part => Cow::Owned(format!("{}_{part}", self.event_id)),
        }
    }

    /// The headers that tell a receiver of an attempt at `now` (unix milliseconds) what it gets, without the signature.
    pub fn request_headers(&self, now: u64) -> [(&'static str, Cow<'_, str>); 7] {
        [
            (ID_HEADER, self.webhook_id()),
            (TIMESTAMP_HEADER, (now / 1_000).to_string().into()),
            ("carteiro-event-type", self.event_type.as_str().into()),
            ("carteiro-event-time", rfc3339(self.event_time).into()),
            ("carteiro-delivery-id", self.id.to_string().into()),
            ("carteiro-attempt", self.attempt.to_string().into()),
            (HOPS, self.hops.saturating_add(1).to_string().into()),
        ]
    }
}

#[cfg(test)]
mod tests;
