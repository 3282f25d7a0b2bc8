//! An event, or a part of it, owed to one endpoint.

use std::{borrow::Cow, fmt};

use uuid::Uuid;

use crate::{Attempt, EventId, EventType, id::uuid_of, wire};

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
    /// Text of the ticket's id.
    pub ticket: Option<String>,
    /// 1-based: the attempt that is next.
    pub attempt: u32,
    /// Unix ms: not before; none on a first attempt.
    pub due: Option<u64>,
    /// Unix ms of the first attempt.
    pub first_at: Option<u64>,
    /// The last attempt.
    pub last: Option<Attempt>,
    /// How often it was put aside by limits.
    pub parks: u32,
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

/// Together these leave room for the other headers in 4 KiB; 20 ids of the usual grammar are 1,279 bytes.
const MAX_SUBSCRIPTIONS_BYTES: usize = 1_400;
/// W3C Trace Context 3.3.1.5: "vendors SHOULD propagate at least 512 characters"; longer ones are left out.
const MAX_TRACESTATE_BYTES: usize = 512;
/// A `traceparent` has 55 bytes, a replay's id 36. A platform's ticket id may be any text: a longer one orders by its
/// hash.
const MAX_SHORT_BYTES: usize = 128;

/// The id of the delivery of a part of an event to an endpoint.
pub fn delivery_id(tenant: &str, event_id: &EventId, endpoint_id: &str, part: Part) -> Uuid {
    uuid_of(&[tenant.as_bytes(), event_id.as_str().as_bytes(), endpoint_id.as_bytes(), part.as_str().as_bytes()])
}

/// A header that a delivery must have is missing or unreadable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header {0} is missing or unreadable")]
pub struct BadHeader(pub &'static str);

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
            ticket: None,
            attempt: 1,
            due: None,
            first_at: None,
            last: None,
            parks: 0,
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

    /// Its whole-number headers.
    pub fn ints(&self) -> impl Iterator<Item = (&'static str, i64)> {
        let ms = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
        [
            Some((wire::SCHEMA, wire::SCHEMA_VERSION)),
            Some((wire::ACCEPTED_AT, ms(self.accepted_at))),
            Some((wire::EVENT_TIME, ms(self.event_time))),
            Some((wire::REVISION, ms(self.revision))),
            Some((wire::ATTEMPT, i64::from(self.attempt))),
            self.first_at.map(|at| (wire::FIRST_AT, ms(at))),
            (self.parks > 0).then_some((wire::PARKS, i64::from(self.parks))),
            self.is_test.then_some((wire::TEST, 1)),
        ]
        .into_iter()
        .flatten()
    }

    /// Its text headers. `carteiro-due` is not among them: the broker sets it from the due time.
    pub fn texts(&self) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
        let subscriptions = self.subscriptions_header();
        [
            Some((wire::TENANT, Cow::Borrowed(self.tenant.as_str()))),
            Some((wire::DELIVERY_ID, Cow::Owned(self.id.to_string()))),
            Some((wire::ENDPOINT, Cow::Borrowed(self.endpoint_id.as_str()))),
            Some((wire::PART, Cow::Borrowed(self.part.as_str()))),
            (!subscriptions.is_empty()).then_some((wire::SUBSCRIPTIONS, Cow::Owned(subscriptions))),
            self.ticket.as_deref().map(|ticket| (wire::TICKET, ordering_key(ticket))),
            self.last.as_ref().map(|last| (wire::LAST, Cow::Owned(last.to_header()))),
            bounded(wire::REPLAY, self.replay.as_deref(), MAX_SHORT_BYTES),
            bounded(wire::TRACEPARENT, self.traceparent.as_deref(), MAX_SHORT_BYTES),
            bounded(wire::TRACESTATE, self.tracestate.as_deref(), MAX_TRACESTATE_BYTES),
        ]
        .into_iter()
        .flatten()
    }

    fn subscriptions_header(&self) -> String {
        let mut header = String::new();
        for id in self.subscriptions.iter().take(MAX_SUBSCRIPTIONS) {
            if header.len() + id.len() >= MAX_SUBSCRIPTIONS_BYTES {
                break;
            }
            if !header.is_empty() {
                header.push(',');
            }
            header.push_str(id);
        }
        header
    }

    /// Reads a delivery back: `event_id` and `event_type` are the message's properties, `int` and `text` find headers.
    ///
    /// # Errors
    /// The first header that is missing or unreadable.
    pub fn read<'a>(
        event_id: &str,
        event_type: &str,
        int: impl Fn(&str) -> Option<i64>,
        text: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Self, BadHeader> {
        if int(wire::SCHEMA) != Some(wire::SCHEMA_VERSION) {
            return Err(BadHeader(wire::SCHEMA));
        }
        let number = |name: &'static str| int(name).and_then(|value| u64::try_from(value).ok());
        let small = |name: &'static str| int(name).and_then(|value| u32::try_from(value).ok());
        let owned = |name: &'static str| text(name).map(str::to_owned);
        Ok(Self {
            id: text(wire::DELIVERY_ID).and_then(|id| id.parse().ok()).ok_or(BadHeader(wire::DELIVERY_ID))?,
            tenant: owned(wire::TENANT).ok_or(BadHeader(wire::TENANT))?,
            event_id: EventId::try_from(event_id.to_owned()).map_err(|_| BadHeader("message_id"))?,
            event_type: EventType::try_from(event_type.to_owned()).map_err(|_| BadHeader("type"))?,
            endpoint_id: owned(wire::ENDPOINT).ok_or(BadHeader(wire::ENDPOINT))?,
            part: text(wire::PART).and_then(Part::parse).ok_or(BadHeader(wire::PART))?,
            event_time: number(wire::EVENT_TIME).ok_or(BadHeader(wire::EVENT_TIME))?,
            accepted_at: number(wire::ACCEPTED_AT).ok_or(BadHeader(wire::ACCEPTED_AT))?,
            subscriptions: text(wire::SUBSCRIPTIONS)
                .map_or_else(Vec::new, |ids| ids.split(',').map(Into::into).collect()),
            revision: number(wire::REVISION).unwrap_or_default(),
            ticket: owned(wire::TICKET),
            attempt: small(wire::ATTEMPT).filter(|attempt| *attempt > 0).ok_or(BadHeader(wire::ATTEMPT))?,
            due: number(wire::DUE),
            first_at: number(wire::FIRST_AT),
            last: text(wire::LAST).and_then(Attempt::from_header),
            parks: small(wire::PARKS).unwrap_or_default(),
            replay: owned(wire::REPLAY),
            is_test: int(wire::TEST) == Some(1),
            traceparent: owned(wire::TRACEPARENT),
            tracestate: owned(wire::TRACESTATE),
        })
    }
}

fn bounded<'a>(name: &'static str, text: Option<&'a str>, max: usize) -> Option<(&'static str, Cow<'a, str>)> {
    text.filter(|text| text.len() <= max).map(|text| (name, Cow::Borrowed(text)))
}

fn ordering_key(ticket: &str) -> Cow<'_, str> {
    if ticket.len() <= MAX_SHORT_BYTES {
        return Cow::Borrowed(ticket);
    }
    Cow::Owned(uuid_of(&[ticket.as_bytes()]).to_string())
}

#[cfg(test)]
mod tests;
