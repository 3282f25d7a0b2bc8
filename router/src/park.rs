//! Builds parked messages: the unchanged body of a message that cannot be routed, and the reason. Of a foreign
//! producer's message, only the headers that events have are kept, and no text of unbounded length.

use broker::{
    Incoming,
    records::{described_excerpt, excerpt},
};
use schemas::{Message, ParkReason, Parked, Refusal, tenant_of, time::rfc3339, wire::event_headers};

/// Longest detail, in bytes. The header `carteiro-record` may have 16 KiB, and escaping makes at most six bytes of one.
const MAX_DETAIL_BYTES: usize = 1024;
/// Largest oversized body that is kept whole, in bytes, so that a foreign producer cannot fill the log.
const MAX_WHOLE_BYTES: usize = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unroutable {
    pub(crate) reason: ParkReason,
    pub(crate) detail: String,
}

impl Unroutable {
    pub(crate) fn new(reason: ParkReason, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        // A detail may name a key of the body, which has any length.
        let end =
            detail.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= MAX_DETAIL_BYTES).last();
        detail.truncate(end.unwrap_or(0));
        Self { reason, detail }
    }

    /// The refusal of an event under the id of another one.
    pub(crate) fn id_taken() -> Self {
        Self::new(ParkReason::Identity, "message_id: another event came under this id lately, with other bytes")
    }

    /// The refusal of a body that is larger than any published one.
    pub(crate) fn too_large(body: &[u8]) -> Self {
        let detail =
            if body.len() > MAX_WHOLE_BYTES { described_excerpt(body) } else { format!("{} bytes", body.len()) };
        Self::new(ParkReason::TooLarge, detail)
    }
}

impl From<Refusal> for Unroutable {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.kind.park_reason(), refusal.to_string())
    }
}

/// True for what no publisher can bring about as often as it likes. All else is kept as far as the share of its `owner`
/// allows, which is empty where there is no such tenant.
pub(crate) fn is_kept_whole(reason: ParkReason, owner: &str) -> bool {
    use ParkReason::{Decode, FanoutLimit, Identity, Schema, Tenant, TooLarge};
    match reason {
        Decode | Identity | Schema | TooLarge | FanoutLimit => false,
        Tenant => !owner.is_empty(),
        _ => true,
    }
}

/// The record of a message that cannot be routed, and the kept message. `now` is in unix milliseconds.
pub(crate) fn parked(incoming: &Incoming, why: Unroutable, now: u64) -> (Parked, Message) {
    let Message { id, kind, headers, body } = &incoming.message;
    let is_cut = why.reason == ParkReason::TooLarge && body.len() > MAX_WHOLE_BYTES;
    let record = Parked {
        detail: Some(why.detail),
        // A foreign producer may have set the header of the tenant.
        tenant: tenant_of(&incoming.key),
        routing_key: Some(incoming.key.clone()),
        parked_at: Some(rfc3339(now)),
        ..Parked::of(&incoming.message, why.reason)
    };
    let body = if is_cut { excerpt(body) } else { body.clone() };
    (record, Message { id: id.clone(), kind: kind.clone(), headers: event_headers(headers), body })
}
