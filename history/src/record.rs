//! What routers and deliverers record: one record for each event, and one for each attempt or end without an attempt.

use bytes::Bytes;
use schemas::{DeadReason, Delivery, EventId, EventType, OutcomeClass, Part};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Record {
    Event(Box<EventRecord>),
    Attempt(Box<AttemptRecord>),
    Run(Box<RunRecord>),
}

/// The tenant of a record: its id and the revision that created it, so that another one that is made under the id later
/// begins without history. A store without revisions has 0.
pub fn tenant_scope(id: &str, created: u64) -> String {
    format!("{id}@{created}")
}

/// The id in a [`tenant_scope`].
pub fn tenant_of_scope(scope: &str) -> &str {
    scope.split_once('@').map_or(scope, |(id, _)| id)
}

impl Record {
    pub fn tenant(&self) -> &str {
        match self {
            Self::Event(event) => &event.tenant,
            Self::Attempt(attempt) => &attempt.delivery.tenant,
            Self::Run(run) => &run.delivery.tenant,
        }
    }

    /// First acceptance of the event, in unix milliseconds: its day is where the record is kept.
    pub fn accepted_at(&self) -> u64 {
        match self {
            Self::Event(event) => event.accepted_at,
            Self::Attempt(attempt) => attempt.delivery.accepted_at,
            Self::Run(run) => run.delivery.accepted_at,
        }
    }

    /// Bytes of the record, roughly: what a queue of records counts.
    pub fn size(&self) -> usize {
        match self {
            Self::Event(event) => {
                let bodies: usize = event.bodies.iter().map(Bytes::len).sum();
                300 + bodies + event.deliveries.len() * 200 + event.unmatched.len() * 100
            }
            Self::Attempt(attempt) => {
                let post = attempt.post.as_ref().map_or(0, Post::size);
                300 + post
            }
            Self::Run(run) => 300 + run.body.as_ref().map_or(0, Bytes::len),
        }
    }
}

/// An event, and what the router made of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventRecord {
    /// A [`tenant_scope`].
    pub tenant: String,
    pub id: EventId,
    pub event_type: EventType,
    /// The platform that the event comes from.
    pub source: String,
    /// First acceptance, in unix milliseconds.
    pub accepted_at: u64,
    /// In unix milliseconds.
    pub occurred_at: u64,
    pub channel_id: Option<String>,
    pub queue_id: Option<String>,
    pub ticket_id: Option<String>,
    pub protocol: Option<String>,
    /// Number of the contact, otherwise its id. Only a token of it is kept.
    pub contact: Option<String>,
    pub deliveries: Vec<OwedDelivery>,
    /// Subscriptions that made no delivery, at most [`MAX_UNMATCHED`].
    pub unmatched: Vec<Unmatched>,
    /// The event's body, and then each rendered one once. An empty one was left out.
    pub bodies: Vec<Bytes>,
}

/// Most subscriptions of an event for which it is recorded why they made no delivery.
pub const MAX_UNMATCHED: usize = 20;

/// A delivery that an event makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OwedDelivery {
    pub id: Uuid,
    pub endpoint_id: String,
    /// The text of the part, as in headers.
    pub part: String,
    /// Ids of the subscriptions that matched.
    pub subscriptions: Vec<String>,
    /// Place of its body in the event's bodies.
    pub body: usize,
    /// Unix milliseconds at which this life of the delivery began: the first acceptance, or that of a resend.
    pub run_began: u64,
}

/// Why a subscription made no delivery: a word of `explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmatched {
    pub subscription_id: String,
    pub endpoint_id: String,
    pub reason: String,
}

/// The delivery that a record is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedDelivery {
    pub id: Uuid,
    /// A [`tenant_scope`].
    pub tenant: String,
    pub event_id: EventId,
    pub event_type: EventType,
    pub endpoint_id: String,
    pub part: String,
    /// First acceptance of the event, in unix milliseconds.
    pub accepted_at: u64,
    /// Unix milliseconds at which this life of the delivery began. It names the life: a resend or a replay begins another.
    pub run_began: u64,
    /// Ids of the subscriptions that matched.
    pub subscriptions: Vec<String>,
}

/// An attempt, or the end of a delivery without one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptRecord {
    pub delivery: RecordedDelivery,
    /// Number of the attempt in this life, counted from 1. An end without an attempt has the number that the next one would
    /// have had.
    pub number: u32,
    /// Unix milliseconds at which the attempt began, or the delivery ended.
    pub at: u64,
    /// None for an end without an attempt.
    pub post: Option<Post>,
    pub verdict: RecordedVerdict,
    /// How often limits deferred the delivery before.
    pub deferrals: u32,
}

impl AttemptRecord {
    /// The end of a delivery that is not attempted. `at` is in unix milliseconds.
    pub fn without_attempt(delivery: &Delivery, tenant_created: u64, reason: DeadReason, at: u64) -> Self {
        Self {
            delivery: RecordedDelivery::of(delivery, tenant_created),
            number: delivery.attempt,
            at,
            post: None,
            verdict: RecordedVerdict::Dead(reason),
            deferrals: delivery.deferrals,
        }
    }
}

/// Another life of a delivery begins: it was replayed, or sent again, and waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    pub delivery: RecordedDelivery,
    /// Its body, where the event did not make it.
    pub body: Option<Bytes>,
}

/// What follows from an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordedVerdict {
    Delivered,
    /// Unix milliseconds of the next attempt.
    Retry(u64),
    Dead(DeadReason),
}

/// A POST and its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Post {
    pub outcome: OutcomeClass,
    pub status: Option<u16>,
    /// Milliseconds until the end of the answer.
    pub duration_ms: u64,
    pub timing: Timing,
    /// The address that was connected to, with its port.
    pub remote_address: Option<String>,
    /// True when the connection had served an earlier request.
    pub reused: bool,
    /// Names and values, secrets masked.
    pub request_headers: Vec<(String, String)>,
    /// Names and values of those that are on the list of what is kept.
    pub response_headers: Vec<(String, String)>,
    /// First 4 KiB of the answer, or why there was none.
    pub response_excerpt: String,
}

impl Post {
    fn size(&self) -> usize {
        let of =
            |headers: &[(String, String)]| headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        of(&self.request_headers) + of(&self.response_headers) + self.response_excerpt.len()
    }
}

/// Parts of an attempt's duration, in milliseconds. None where a part did not happen, as over a connection that was reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    pub dns_ms: Option<u64>,
    pub connect_ms: Option<u64>,
    pub tls_ms: Option<u64>,
    /// From the request on until the head of the answer.
    pub first_byte_ms: Option<u64>,
}

impl RecordedDelivery {
    /// What a record says of a delivery in hand, of the tenant that was created at a revision.
    pub fn of(delivery: &Delivery, tenant_created: u64) -> Self {
        Self {
            id: delivery.id,
            tenant: tenant_scope(&delivery.tenant, tenant_created),
            event_id: delivery.event_id.clone(),
            event_type: delivery.event_type.clone(),
            endpoint_id: delivery.endpoint_id.clone(),
            part: delivery.part.as_str().to_owned(),
            accepted_at: delivery.first_accepted_at.unwrap_or(delivery.accepted_at),
            run_began: delivery.accepted_at,
            subscriptions: delivery.subscriptions.clone(),
        }
    }

    pub fn part(&self) -> Option<Part> {
        Part::parse(&self.part)
    }
}
