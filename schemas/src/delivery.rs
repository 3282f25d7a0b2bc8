//! An event, or a part of it, owed to one endpoint.

use std::{borrow::Cow, fmt};

use uuid::Uuid;

use crate::{Attempt, EventId, EventType, id::uuid_of};

/// Which of an event's bodies. The event itself renders to one or two; a transfer to a queue may add the shot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The only, or the first.
    First,
    /// Whaticket's `fila-data`, after `start`.
    Second,
    /// The last received message, at once on a transfer to a queue.
    Shot,
    /// Its second Whaticket body.
    SecondShot,
}

impl Part {
    /// As it stands in headers and ids; empty for the first.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "",
            Self::Second => "2",
            Self::Shot => "shot",
            Self::SecondShot => "shot_2",
        }
    }

    /// From a header.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::First, Self::Second, Self::Shot, Self::SecondShot].into_iter().find(|part| part.as_str() == text)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Everything about a delivery but its body, which is the message's body: the very bytes to be POSTed. Never a URL or
/// a secret: these are looked up at attempt time.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// UUIDv5(tenant, event id, endpoint id, part): a repeat is recognisable.
    pub id: Uuid,
    /// Whose it is.
    pub tenant: String,
    /// The event.
    pub event_id: EventId,
    /// The event's type.
    pub event_type: EventType,
    /// Where it goes.
    pub endpoint_id: String,
    /// Which body of the event.
    pub part: Part,
    /// Unix ms of the event's `occurred_at`.
    pub event_time: u64,
    /// Unix ms: the start of its age.
    pub accepted_at: u64,
    /// The subscriptions that matched, at most [`MAX_SUBSCRIPTIONS`], for explanation only.
    pub subscriptions: Vec<String>,
    /// The snapshot that decided.
    pub revision: u64,
    /// 1-based: the attempt that is next.
    pub attempt: u32,
    /// Unix ms: not before; none on a first attempt.
    pub due: Option<u64>,
    /// Unix ms of the first attempt.
    pub first_at: Option<u64>,
    /// The last attempt.
    pub last: Option<Attempt>,
    /// How often the delivery was deferred by limits.
    pub deferrals: u32,
    /// The replay it belongs to.
    pub replay: Option<String>,
    /// Whether the test button made it: it is attempted once, whatever the endpoint's state, and nothing is kept of it.
    pub is_test: bool,
    /// W3C `traceparent`.
    pub traceparent: Option<String>,
    /// W3C `tracestate`.
    pub tracestate: Option<String>,
}

/// How many subscription ids travel along: headers must stay below 4 KiB.
pub const MAX_SUBSCRIPTIONS: usize = 20;

/// The id of the delivery of a part of an event to an endpoint.
pub fn delivery_id(tenant: &str, event_id: &EventId, endpoint_id: &str, part: Part) -> Uuid {
    uuid_of(&[tenant.as_bytes(), event_id.as_str().as_bytes(), endpoint_id.as_bytes(), part.as_str().as_bytes()])
}

impl Delivery {
    /// What is owed to an endpoint of an event accepted at a time (unix ms), before its first attempt. The event
    /// occurred then, no snapshot or subscription is named, and nobody traces it, until that is said.
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
            subscriptions: Vec::new(),
            revision: 0,
            attempt: 1,
            due: None,
            first_at: None,
            last: None,
            deferrals: 0,
            replay: None,
            is_test: false,
            traceparent: None,
            tracestate: None,
        }
    }

    /// The receiver's key for deduplication, the same on every attempt and replay (Standard Webhooks 1.0): the event's
    /// id, then `_` and the part for every body but the first.
    pub fn webhook_id(&self) -> Cow<'_, str> {
        match self.part {
            Part::First => Cow::Borrowed(self.event_id.as_str()),
            part => Cow::Owned(format!("{}_{part}", self.event_id)),
        }
    }
}

#[cfg(test)]
mod tests;
