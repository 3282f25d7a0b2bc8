//! An event as accepted: decoded, with what it lacked filled in, and the text it came in.
//!
//! Two formats are made from that text and not from [`Event`]: `canonical` keeps unknown keys, their order and the
//! spelling of numbers; `original` is what the platform itself sent.

use crate::{Event, EventId};

/// An event as accepted.
#[derive(Debug)]
pub struct Envelope<'a> {
    /// Decoded; `id` and `occurred_at` are filled in, the secrets of `api_config` are gone.
    pub event: Event,
    /// Its id.
    pub id: EventId,
    /// Unix ms of `occurred_at`.
    pub occurred_at_ms: u64,
    text: &'a str,
    original: Original,
}

/// What the envelope's key `original` says.
#[derive(Debug)]
enum Original {
    /// It has no such key: it came in canonical form, and the envelope is the original.
    Envelope,
    /// The vendor's body.
    Body(String),
    /// A vendor's body was not kept (the source's `keep_original: false`).
    Withheld,
}
