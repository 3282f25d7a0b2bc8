//! What is answered.

use bytes::Bytes;
use schemas::{DeadReason, OutcomeClass};
use uuid::Uuid;

use crate::{Cursor, DeliveryState, Gap, Post, Unmatched};

/// One page, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// At most as many as asked for. Fewer, or none, where a rare filter has looked at many others: `next` goes on there.
    pub items: Vec<T>,
    /// Where the next page begins; none on the last one.
    pub next: Option<Cursor>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct EventItem {
    pub tenant: String,
    pub id: String,
    pub event_type: String,
    pub source: String,
    /// Unix milliseconds, as the next.
    pub accepted_at: u64,
    pub occurred_at: u64,
    pub channel_id: Option<String>,
    pub queue_id: Option<String>,
    pub ticket_id: Option<String>,
    pub protocol: Option<String>,
    /// True when it made a delivery.
    pub matched: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct EventStory {
    pub event: EventItem,
    /// The event's body; none once it is too old, was left out or erased.
    pub body: Option<Bytes>,
    pub unmatched: Vec<Unmatched>,
    pub deliveries: Vec<DeliveryItem>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryItem {
    pub tenant: String,
    pub id: Uuid,
    pub event_id: String,
    pub event_type: String,
    pub endpoint_id: String,
    pub part: String,
    pub state: DeliveryState,
    /// Why it is dead.
    pub reason: Option<DeadReason>,
    /// First acceptance, in unix milliseconds.
    pub accepted_at: u64,
    /// POSTs of all lives.
    pub attempt_count: u32,
    /// Number of its present life, counted from 1.
    pub run: u32,
    pub last: Option<AttemptItem>,
    /// Unix milliseconds of the next attempt, while one is scheduled.
    pub next_due: Option<u64>,
    pub channel_id: Option<String>,
    pub queue_id: Option<String>,
    pub ticket_id: Option<String>,
    pub protocol: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryStory {
    pub delivery: DeliveryItem,
    /// In the order in which they were made.
    pub attempts: Vec<AttemptItem>,
    /// The body that was POSTed; none once it is too old, was left out or erased.
    pub body: Option<Bytes>,
    /// Headers of the last request.
    pub request_headers: Vec<(String, String)>,
    /// Ids of the subscriptions that matched.
    pub matched_by: Vec<String>,
    /// True when its contact was erased.
    pub erased: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct AttemptItem {
    /// Number of the delivery's life, counted from 1.
    pub run: u32,
    pub number: u32,
    /// Unix milliseconds.
    pub at: u64,
    pub post: Post,
    /// Unix milliseconds of the attempt that was to follow.
    pub next_due: Option<u64>,
    pub deferrals: u32,
}

/// Counts of an hour or a day.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatsPoint {
    /// Its beginning, in unix milliseconds.
    pub at: u64,
    pub events: u64,
    pub delivered: u64,
    pub failed_attempts: u64,
    pub dead: u64,
    /// Median of the attempts' durations, in milliseconds; none without attempts.
    pub p50_ms: Option<u64>,
    pub p95_ms: Option<u64>,
    /// Attempts by the class of their outcome.
    pub outcomes: Vec<(OutcomeClass, u64)>,
}

/// What a write did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Records that are new.
    pub records: u64,
    /// Records that had been written before.
    pub repeated: u64,
    /// Records of days that are dropped already.
    pub too_old: u64,
    /// Records that were left out, or kept without their bodies, since their tenant has more than its share.
    pub over_share: u64,
}

/// Until when records are complete, and where they are not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Gaps that touch the time that was asked for.
    pub gaps: Vec<Gap>,
    /// Unix milliseconds until which every process that has not ended has handed over its records; none without a process.
    pub covered_until: Option<u64>,
}

/// What an erasure removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    pub events: u64,
    pub deliveries: u64,
}

/// What was removed for its age or its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    pub days: u64,
    pub days_of_bodies: u64,
}

/// What is kept, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    pub bytes: u64,
    /// The first day that has records, as `2026-11-30`.
    pub oldest_day: Option<String>,
}
