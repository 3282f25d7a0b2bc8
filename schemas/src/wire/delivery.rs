//! The codec between a [`Delivery`] and its [`Message`]. The message's body is the delivery's body, the exact bytes to
//! be posted; all other fields are properties and headers.

use std::borrow::Cow;

use bytes::Bytes;

use super::{
    ACCEPTED_AT, ATTEMPT, DEFERRALS, DELIVERY_ID, DUE, ENDPOINT, EVENT_TIME, FIRST_ACCEPTED_AT, FIRST_AT, FOUND_PAUSED,
    HOPS, Headers, LAST, MAX_TRACESTATE_BYTES, MESSAGE, Message, PART, REPLAY, REQUEUED, REVISION, SCHEMA,
    SCHEMA_VERSION, SUBSCRIPTIONS, TENANT, TEST, TICKET, TRACEPARENT, TRACESTATE, hops, ms,
};
use crate::{Attempt, Delivery, EventId, EventType, MAX_SUBSCRIPTIONS, Part};

/// Longest value of the header `carteiro-subscriptions`, in bytes. It leaves room for all other headers in 4 KiB; 20 ids
/// of the usual grammar take 1,279 bytes.
const MAX_SUBSCRIPTIONS_BYTES: usize = 1_400;
/// Longest value of the headers that have a fixed form, in bytes: a `traceparent` has 55, a replay's id 36.
const MAX_SHORT_BYTES: usize = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header {0} is missing or unreadable")]
pub struct BadHeader(pub &'static str);

impl Delivery {
    /// The message of this delivery with its body. The broker adds the header `carteiro-due` from the due time.
    pub fn to_message(&self, body: Bytes) -> Message {
        let subscriptions = subscriptions_header(&self.subscriptions);
        let ints = [
            Some((SCHEMA, SCHEMA_VERSION)),
            Some((ACCEPTED_AT, ms(self.accepted_at))),
            Some((EVENT_TIME, ms(self.event_time))),
            Some((REVISION, ms(self.revision))),
            Some((ATTEMPT, i64::from(self.attempt))),
            self.first_accepted_at.map(|at| (FIRST_ACCEPTED_AT, ms(at))),
            self.first_at.map(|at| (FIRST_AT, ms(at))),
            (self.deferrals > 0).then_some((DEFERRALS, i64::from(self.deferrals))),
            (self.requeued > 0).then_some((REQUEUED, i64::from(self.requeued))),
            (self.found_paused > 0).then_some((FOUND_PAUSED, i64::from(self.found_paused))),
            self.is_test.then_some((TEST, 1)),
            (self.hops > 0).then_some((HOPS, i64::from(self.hops))),
        ];
        let texts = [
            Some((TENANT, Cow::Borrowed(self.tenant.as_str()))),
            Some((DELIVERY_ID, Cow::Owned(self.id.to_string()))),
            Some((ENDPOINT, Cow::Borrowed(self.endpoint_id.as_str()))),
            Some((PART, Cow::Borrowed(self.part.as_str()))),
            (!subscriptions.is_empty()).then_some((SUBSCRIPTIONS, Cow::Owned(subscriptions))),
            self.last.as_ref().map(|last| (LAST, Cow::Owned(last.to_header()))),
            bounded(REPLAY, self.replay.as_deref(), MAX_SHORT_BYTES),
            bounded(TICKET, self.ticket_id.as_deref(), MAX_SHORT_BYTES),
            bounded(MESSAGE, self.message_id.as_deref(), MAX_SHORT_BYTES),
            bounded(TRACEPARENT, self.traceparent.as_deref(), MAX_SHORT_BYTES),
            bounded(TRACESTATE, self.tracestate.as_deref(), MAX_TRACESTATE_BYTES),
        ];
        Message {
            id: self.event_id.to_string(),
            kind: self.event_type.to_string(),
            headers: Headers::new(ints.into_iter().flatten(), texts.into_iter().flatten()),
            body,
        }
    }

    /// Reads a delivery, whose body is the message's. Fails for the first header that is missing or unreadable.
    pub fn from_message(message: &Message) -> Result<Self, BadHeader> {
        let headers = &message.headers;
        if headers.int(SCHEMA) != Some(SCHEMA_VERSION) {
            return Err(BadHeader(SCHEMA));
        }
        let number = |name: &'static str| headers.int(name).and_then(|value| u64::try_from(value).ok());
        let small = |name: &'static str| headers.int(name).and_then(|value| u32::try_from(value).ok());
        let owned = |name: &'static str| headers.text(name).map(str::to_owned);
        Ok(Self {
            id: headers.text(DELIVERY_ID).and_then(|id| id.parse().ok()).ok_or(BadHeader(DELIVERY_ID))?,
            tenant: owned(TENANT).ok_or(BadHeader(TENANT))?,
            event_id: EventId::try_from(message.id.clone()).map_err(|_| BadHeader("message_id"))?,
            event_type: EventType::try_from(message.kind.clone()).map_err(|_| BadHeader("type"))?,
            endpoint_id: owned(ENDPOINT).ok_or(BadHeader(ENDPOINT))?,
            part: headers.text(PART).and_then(Part::parse).ok_or(BadHeader(PART))?,
            event_time: number(EVENT_TIME).ok_or(BadHeader(EVENT_TIME))?,
            accepted_at: number(ACCEPTED_AT).ok_or(BadHeader(ACCEPTED_AT))?,
            first_accepted_at: number(FIRST_ACCEPTED_AT),
            subscriptions: headers.text(SUBSCRIPTIONS).map_or_else(Vec::new, subscription_ids),
            revision: number(REVISION).unwrap_or_default(),
            attempt: small(ATTEMPT).filter(|attempt| *attempt > 0).ok_or(BadHeader(ATTEMPT))?,
            due: number(DUE),
            first_at: number(FIRST_AT),
            last: headers.text(LAST).and_then(Attempt::from_header),
            deferrals: small(DEFERRALS).unwrap_or_default(),
            requeued: small(REQUEUED).unwrap_or_default(),
            found_paused: small(FOUND_PAUSED).unwrap_or_default(),
            replay: owned(REPLAY),
            is_test: headers.int(TEST) == Some(1),
            hops: hops(headers),
            ticket_id: owned(TICKET),
            message_id: owned(MESSAGE),
            traceparent: owned(TRACEPARENT),
            tracestate: owned(TRACESTATE),
        })
    }
}

fn bounded<'a>(name: &'static str, text: Option<&'a str>, max: usize) -> Option<(&'static str, Cow<'a, str>)> {
    text.filter(|text| text.len() <= max).map(|text| (name, Cow::Borrowed(text)))
}

fn subscriptions_header(ids: &[String]) -> String {
    let mut header = String::new();
    for id in ids.iter().take(MAX_SUBSCRIPTIONS) {
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

fn subscription_ids(header: &str) -> Vec<String> {
    header.split(',').map(Into::into).collect()
}

#[cfg(test)]
mod tests;
