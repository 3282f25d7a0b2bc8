//! What cannot be routed, as the parked log keeps it: the body as it came, and why. It carries nothing of a producer's
//! but what our own headers are, and nothing whose length a stranger decides.

use broker::Incoming;
use schemas::{Headers, Message, ParkReason, Parked, tenant_of, time::rfc3339, wire};
use sha2::{Digest as _, Sha256};

/// `carteiro-record` may have 16 KiB, and escaping makes six bytes of one at worst.
const MAX_DETAIL_BYTES: usize = 1024;
/// W3C Trace Context 3.3.1.5: "vendors SHOULD propagate at least 512 characters".
const MAX_HEADER_BYTES: usize = 512;
/// What is too large is kept whole up to this: a foreign producer's giant must not fill the log.
const MAX_GIANT_BYTES: usize = 1 << 20;
/// Of anything larger: enough to recognise whose it is.
const KEPT_OF_A_GIANT: usize = 4 * 1024;

/// Why a message is no event of anybody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unroutable {
    pub(crate) reason: ParkReason,
    pub(crate) detail: String,
}

impl Unroutable {
    pub(crate) fn new(reason: ParkReason, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        // A detail may name a key of the body, which may be of any length.
        let end =
            detail.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= MAX_DETAIL_BYTES).last();
        detail.truncate(end.unwrap_or(0));
        Self { reason, detail }
    }

    /// Of a body larger than anything that is published.
    pub(crate) fn too_large(body: &[u8]) -> Self {
        let detail = if body.len() > MAX_GIANT_BYTES {
            let digest = Sha256::digest(body).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
            format!("{} bytes, sha256:{digest}; the first {KEPT_OF_A_GIANT} are kept", body.len())
        } else {
            format!("{} bytes", body.len())
        };
        Self::new(ParkReason::TooLarge, detail)
    }
}

/// The record of a message that cannot be routed, and what is kept of the message. `now` is unix ms.
pub(crate) fn parked(incoming: &Incoming, why: Unroutable, now: u64) -> (Parked, Message) {
    let Message { id, kind, headers, body } = &incoming.message;
    let is_giant = why.reason == ParkReason::TooLarge && body.len() > MAX_GIANT_BYTES;
    let record = Parked {
        id: String::new(),
        reason: why.reason,
        detail: Some(why.detail),
        tenant: tenant_of(&incoming.key),
        event_id: Some(id.clone()).filter(|id| !id.is_empty()),
        routing_key: Some(incoming.key.clone()),
        parked_at: Some(rfc3339(now)),
        body: None,
    };
    // A copy, or the few bytes would hold the giant's memory.
    let body = if is_giant { body[..KEPT_OF_A_GIANT].to_vec().into() } else { body.clone() };
    (record, Message { id: id.clone(), kind: kind.clone(), headers: kept(headers), body })
}

/// The headers that an event may have: with these a parked one can be published again.
fn kept(headers: &Headers) -> Headers {
    let ints = [wire::SCHEMA, wire::ACCEPTED_AT].into_iter().filter_map(|name| Some((name, headers.int(name)?)));
    let texts = [wire::TENANT, wire::TRACEPARENT, wire::TRACESTATE].into_iter();
    let texts = texts.filter_map(|name| Some((name, headers.text(name)?)));
    let texts = texts.filter(|(_, text)| text.len() <= MAX_HEADER_BYTES);
    Headers::new(ints, texts.map(|(name, text)| (name, text.into())))
}
